"""One engine at a time on a stack.

A lock is an flock on an open file, so the operating system releases it when the process ends, however it ends; the file's text names the
holder for the one who is refused. Does not: lock across machines that share no file system.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rowhouse.engine.errors import Locked, StateError

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True)
class Holder:
    """Who works on a stack."""

    pid: int
    host: str
    user: str
    since: str
    """RFC 3339, UTC."""
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host} since {self.since} ({self.command})"


class StackLock:
    """The right to change one stack; a context manager."""

    def __init__(self, path: Path, command: str = "") -> None:
        self._path = path
        self._command = command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]])
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock. Raises: Locked, with the holder's name, when another engine has it; StateError where no file can be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(f"{self._path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            holder = read_holder(self._path)
            named = str(holder) if holder else "another process"
            raise Locked(f"the stack is being changed by {named}; wait until it has ended, or end that process") from error
        holder = Holder(os.getpid(), socket.gethostname(), _user(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), self._command)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def read_holder(path: Path) -> Holder | None:
    """Who the lock file says holds the lock; None when it does not say."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
