"""The local registry: what an image reference starts.

There is nothing to pull: an image is an argument list of this machine. Digests are fixed, so that plans can name them.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["REGISTRY", "Image", "Images", "digest_of", "reference"]

REGISTRY = "registry.localhost"
NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook" / "app.py"

_REFERENCE = re.compile(r"(?P<registry>[^/]+)/(?P<repository>[^@:]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")


@dataclass(frozen=True)
class Image:
    """What a reference starts: a program, and whether it is a cell's edge (cloudflared comes with it)."""

    name: str
    argv: tuple[str, ...]
    kind: Literal["app", "edge"] = "app"
    version: str = "1"
    uses_site: bool = True  # whether it needs the environment's packages

    @property
    def digest(self) -> str:
        """`sha256:` and 64 digits."""
        return digest_of(self.name, self.version)


def digest_of(name: str, version: str = "1") -> str:
    """The digest under which a local image is known."""
    return "sha256:" + hashlib.sha256(f"rowhouse-localcloud/{name}:{version}".encode()).hexdigest()


def reference(name: str, version: str = "1") -> str:
    """The reference of a local image by digest."""
    return f"{REGISTRY}/{name}@{digest_of(name, version)}"


class Images:
    """Images by reference."""

    def __init__(self, images: Sequence[Image] = ()) -> None:
        """Hold the sample notebook and the edge, and `images` beside or instead of them."""
        self._images: dict[str, Image] = {}
        self.add(Image("notebook", (sys.executable, "-I", "-S", str(NOTEBOOK))))
        self.add(Image("edge", (sys.executable, "-m", "rowhouse.edge"), "edge"))
        for image in images:
            self.add(image)

    def add(self, image: Image) -> Image:
        """Publish an image; the newest of a name is its `latest`."""
        self._images[f"{image.name}@{image.digest}"] = image
        self._images[f"{image.name}:{image.version}"] = image
        self._images[f"{image.name}:latest"] = image
        return image

    def find(self, text: str) -> Image | None:
        """The image of a reference; None when there is none."""
        found = _REFERENCE.fullmatch(text)
        if not found or found["registry"] != REGISTRY:
            return None
        if found["digest"]:
            return self._images.get(f"{found['repository']}@{found['digest']}")
        return self._images.get(f"{found['repository']}:{found['tag'] or 'latest'}")

    @staticmethod
    def ref_json(text: str, image: Image) -> dict[str, object]:
        """A machine's `image_ref`."""
        found = _REFERENCE.fullmatch(text)
        tag = found["tag"] if found else None
        return {
            "registry": REGISTRY,
            "repository": image.name,
            "tag": tag or ("" if found and found["digest"] else "latest"),
            "digest": image.digest,
            "labels": {},
        }
