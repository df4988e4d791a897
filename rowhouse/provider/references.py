"""An app's secrets: references resolved where they are needed, remembered only as keyed hashes.

Does: `env:NAME` and `file:PATH`, salted fingerprints. Does not: write a value anywhere but to the host.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rowhouse.wire.contract import Refused

__all__ = ["fingerprint", "is_reference", "matches", "project_root", "resolve"]

_LARGEST: Final = 64 * 1024
"""Bytes; a file that is longer is not a secret but a mistake."""


def is_reference(value: str) -> bool:
    """Whether the text says where a secret is, instead of being one."""
    return value.startswith(("env:", "file:"))


def resolve(name: str, value: str, environment: Mapping[str, str]) -> str:
    """The secret's value; a literal is itself.

    A file is read without its last line break; a relative path starts at the project's root.
    Raises: Refused with what to set; the text never holds a value.
    """
    if value.startswith("env:"):
        variable = value[4:]
        found = environment.get(variable)
        if not found:
            raise Refused(f"the secret {name} is env:{variable}, but {variable} is not set in the environment of this process. Set it.")
        return found
    if value.startswith("file:"):
        path = Path(value[5:]).expanduser()
        path = path if path.is_absolute() else project_root() / path
        try:
            if path.stat().st_size > _LARGEST:
                raise Refused(f"the secret {name} is {value}, but that file is larger than {_LARGEST // 1024} KB. Name the right file.")
            return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except OSError as error:
            raise Refused(f"the secret {name} is {value}, but that file cannot be read: {error.strerror}. Put it there.") from None
        except UnicodeDecodeError:
            raise Refused(f"the secret {name} is {value}, but that file is not text in UTF-8. Name the right file.") from None
    return value


def fingerprint(value: str, salt: str = "") -> str:
    """`salt$hash`: tells whether a value changed, without telling the value; equal values look different."""
    salt = salt or secrets.token_hex(16)
    return f"{salt}${hmac.new(bytes.fromhex(salt), value.encode(), hashlib.sha256).hexdigest()}"


def matches(value: str, known: str) -> bool:
    """Whether this is the value that was fingerprinted."""
    salt, _, _ = known.partition("$")
    try:
        return hmac.compare_digest(fingerprint(value, salt), known)
    except ValueError:
        return False


def project_root() -> Path:
    """The nearest folder from the working directory upwards that has a `Pulumi.yaml`, else the working directory."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "Pulumi.yaml").is_file()), here)
