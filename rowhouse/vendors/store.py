"""Small objects that several processes share: routes, holds, notes of activity, reports.

Does: get, put (plain, only-if-absent, only-if-unchanged), delete and list, on a local folder or on S3-compatible storage.
Does not: rename, append, stream. Objects are small and written whole, so that a reader sees the old one or the new one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from rowhouse.errors import RowhouseError

__all__ = ["Blob", "Conflict", "Store", "StoreError", "check_key", "check_prefix", "default_store_url", "open_store"]

MAX_KEY_BYTES = 1024  # S3: object key names are at most 1,024 bytes of UTF-8
MAX_SEGMENT_BYTES = 255  # Linux: NAME_MAX


class StoreError(RowhouseError):
    """The object store refused, failed or was not reachable; it never carries a credential."""


class Conflict(StoreError):  # noqa: N818  the word of the vendors' own protocol
    """A conditional write lost: the object exists already, or is not the one that was read."""


@dataclass(frozen=True)
class Blob:
    """One object as it was read."""

    data: bytes
    etag: str
    """Opaque mark of this content; pass it to `put(if_match=...)`."""


class Store(Protocol):
    """Shared small objects.

    Transitions: `put` creates or replaces the whole object; with `if_none_match` it only creates, with `if_match` it only
    replaces that very version, and raises Conflict otherwise. `delete` of nothing succeeds. `get` of nothing is None.
    `list` gives (key, etag) sorted by key, of all keys that start with the prefix. Every verb blocks: call it in a thread.
    """

    def get(self, key: str) -> Blob | None: ...

    def put(self, key: str, data: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str: ...

    def delete(self, key: str) -> None: ...

    def list(self, prefix: str) -> list[tuple[str, str]]: ...


def check_key(key: str) -> str:
    """Return the key when it is safe as an S3 key and as a relative file path; raise StoreError otherwise.

    Segments that start with a dot are refused: they are `..`, or the file store's own folders.
    """
    segments = key.split("/")
    if (
        not key
        or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES
        or not key.isprintable()
        or "\\" in key
        or any(not s or s.startswith(".") or len(s.encode("utf-8", "surrogatepass")) > MAX_SEGMENT_BYTES for s in segments)
    ):
        raise StoreError(
            f"object key {key[:80]!r} is not allowed: use printable segments joined by '/', none empty, "
            f"none starting with a dot, at most {MAX_KEY_BYTES} bytes. Choose another key."
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return the prefix when it is empty or could start a valid key; raise StoreError otherwise."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def default_store_url() -> str:
    """`ROWHOUSE_STORE_URL`, else the folder `.rowhouse/store` of the nearest parent with a Pulumi.yaml."""
    url = os.environ.get("ROWHOUSE_STORE_URL")
    if url:
        return url
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "Pulumi.yaml").is_file():
            return (folder / ".rowhouse" / "store").as_uri()
    raise StoreError(f"{here}: no Pulumi.yaml here or above, so there is no default store. Run inside a project or set ROWHOUSE_STORE_URL.")


def open_store(url: str) -> Store:
    """Open `file:///abs/dir` or `s3://bucket/prefix?endpoint=https://...&region=...`; nothing is contacted yet."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        # The URL may hold a password, so it is not shown.
        raise StoreError("the store URL has credentials in it. Remove them; they are read from the environment.")
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and len(parts.path) > 1 and not parts.query:
        from rowhouse.vendors.store_file import FileStore

        return FileStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        options = dict(parse_qsl(parts.query))
        unknown = set(options) - {"endpoint", "region"}
        if unknown:
            raise StoreError(f"store URL: unknown option {min(unknown)!r}. Options: endpoint, region. Remove it.")
        from rowhouse.vendors.store_s3 import S3Store

        return S3Store(parts.netloc, parts.path.strip("/"), endpoint=options.get("endpoint"), region=options.get("region"))
    shown = f"{parts.scheme}://..." if parts.scheme else "(no scheme)"
    raise StoreError(
        f"store URL {shown} is not usable. Allowed: file:///absolute/folder or s3://bucket/prefix?endpoint=URL. Set ROWHOUSE_STORE_URL."
    )
