"""A tenant's file on the disk: taken as it is, and replaced as a whole or not at all.

Does: refuse links, notice what somebody else wrote meanwhile, keep permissions and a byte-order mark, and survive a kill at any moment.
Does not: keep further hard links to a file, or hold off an editor in the instant between its last look and the renaming.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.spec.problem import Problem, did_you_mean, listed
from rowhouse.spec.slug import is_slug, show, why_not_slug
from rowhouse.spec.source import MAX_FILE_BYTES, Source, read_file, text_of

__all__ = ["FileChangedError", "tenant_file", "write_tenant_file"]

_BOM: Final = b"\xef\xbb\xbf"
_PATIENCE_S: Final = 10.0
"""How long another command may hold the folder; it does for some milliseconds."""
_NAP_S: Final = 0.05


class FileChangedError(EnvironmentProblemError):
    """The file is not what the change was made for."""


def tenant_file(root: Path, tenant: str) -> Source:
    """The text of a tenant's file. Raises: EnvironmentProblemError when there is none, or none that may be read."""
    if not is_slug(tenant):
        raise EnvironmentProblemError(f"{show(tenant)} is no tenant: {why_not_slug(tenant)}. Name a file in tenants/ without `.yaml`.")
    file = f"tenants/{tenant}.yaml"
    path = root / file
    if path.is_symlink():
        raise EnvironmentProblemError(f"{file} is a link. Only regular files are changed. Put the file itself there.")
    if not path.exists():
        there = sorted(each.stem for each in (root / "tenants").glob("*.yaml") if is_slug(each.stem))
        raise EnvironmentProblemError(
            f"{file} does not exist. {did_you_mean(tenant, there)}Tenants: {listed(there) or 'none'}. "
            f"Name one of them, or make it with `rowhouse new {tenant}`."
        )
    taken = read_file(path, tenant, file)
    if isinstance(taken, Problem):
        raise EnvironmentProblemError(str(taken))
    return taken


def write_tenant_file(root: Path, tenant: str, before: str | None, after: str) -> None:
    """Put a new text in the place of the old one, or make the file where `before` is None.

    Raises: FileChangedError when the file is not as it was read; EnvironmentProblemError when it cannot be written. Then it is as it was.
    """
    file = f"tenants/{tenant}.yaml"
    try:
        with _folder(root / "tenants") as folder:
            _swap(folder, tenant, before, after)
            with suppress(OSError):  # the file is whole either way; a power cut may bring the old one back
                os.fsync(folder)
    except OSError as error:
        raise EnvironmentProblemError(
            f"{file} was not written ({error.strerror}); it is as it was. Give the folder tenants/ rights and space, "
            "and run the command again."
        ) from error


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """The folder, held against other commands of ours. Raises: OSError; EnvironmentProblemError when another one does not let go."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise EnvironmentProblemError("tenants/ is held by another command that does not end. End it, and try again.") from None
                time.sleep(_NAP_S)
        yield folder
    finally:
        os.close(folder)


def _swap(folder: int, tenant: str, before: str | None, after: str) -> None:
    name = f"{tenant}.yaml"
    # Readers of the folder skip what starts with `_`, so what a killed command leaves behind is no broken tenant.
    temporary = f"_{tenant}.yaml.new"
    mark, status = (b"", None) if before is None else _unchanged(folder, tenant, before)
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)
        with os.fdopen(handle, "wb") as stream:
            if status is not None:
                _keep_rights(handle, status)
            stream.write(mark + after.encode("utf-8"))
            stream.flush()
            os.fsync(handle)
        if before is None:
            _link(folder, temporary, name)
        else:
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)


def _unchanged(folder: int, tenant: str, before: str) -> tuple[bytes, os.stat_result]:
    """The file's byte-order mark, if it has one, and its rights. Raises: FileChangedError; OSError."""
    name = f"{tenant}.yaml"
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise _changed(tenant, "is gone") from None
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        data = stream.read(MAX_FILE_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
    taken = text_of(data, tenant, f"tenants/{name}")
    if not isinstance(taken, Source) or taken.text != before:
        raise _changed(tenant, "was changed by somebody else")
    return _BOM if data.startswith(_BOM) else b"", status


def _changed(tenant: str, how: str) -> FileChangedError:
    return FileChangedError(
        f"tenants/{tenant}.yaml {how} while this command ran; nothing was written. A change fits only the file that it was made for. "
        "Run the command again."
    )


def _keep_rights(handle: int, status: os.stat_result) -> None:
    own = os.fstat(handle)
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        with suppress(PermissionError):  # a file of a colleague's becomes one's own, as with an editor
            os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, stat.S_IMODE(status.st_mode))


def _link(folder: int, temporary: str, name: str) -> None:
    """Give the new file its name, never taking one that is there already."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise FileChangedError(f"tenants/{name} exists already. Change it with `rowhouse set`, or choose another id.") from None
