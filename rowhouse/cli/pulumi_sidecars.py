"""What a killed CLI leaves half written beside its state in a local folder.

The CLI writes each object of its state to a temporary name and moves it, so that the object itself is whole whenever it was killed. The
attributes beside it (`<object>.attrs`, content type and checksum) it writes in place: killed just then it leaves an empty or torn file, and
from then on reads no object whose attributes are not JSON (`failed to load checkpoint: EOF`, CLI 3.260). Attributes are optional: without
the file the object is read.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["folder_of", "mend_sidecars"]


def folder_of(url: str) -> Path | None:
    """The folder of a backend's address as `pulumi whoami --json` tells it; None where the state is not in a local folder."""
    return Path(url.removeprefix("file://")).expanduser() if url.startswith("file://") else None


def mend_sidecars(backend: Path) -> int:
    """Remove attributes that cannot be read, of stacks and locks alone; how many there were.

    A living CLI that is just writing one goes on writing to a file without a name, and its object is read without attributes.
    """
    count = 0
    for part in ("stacks", "locks"):
        for file in (backend / ".pulumi" / part).rglob("*.attrs"):
            try:
                json.loads(file.read_bytes())
            except ValueError:
                file.unlink(missing_ok=True)
                count += 1
    return count
