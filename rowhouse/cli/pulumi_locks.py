"""Who holds the CLI's lock on a stack, and whether it may be released.

The CLI's lock is a file with the holder's name, without any sign of life: one that was killed leaves it behind for
ever, and `pulumi cancel` removes it even from a holder that lives. We release it unasked in one case only, where nobody
can be hurt: the state lies in a local folder (so every holder of this host's name runs on this machine) and the process
named in the lock does not exist, or is younger than the lock. Everywhere else the holder is named, and a person decides.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from datetime import datetime

import psutil

__all__ = ["Holder", "LockProblem", "lock_problem"]

# As the CLI words it (3.260); the bucket's own address stands before the colon.
_LOCKED = "currently locked by"
_HOLDER = re.compile(r"^\s*(?P<file>\S+): created by (?P<user>.+)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<since>\S+)", re.MULTILINE)
_BUSY = re.compile(r"\[409\]|another update is currently in progress", re.IGNORECASE)  # Pulumi Cloud


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock, or did when it was killed."""

    user: str
    host: str
    pid: int
    since: str
    local: bool
    """Whether the lock is a file of this machine."""

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since}"

    @property
    def gone(self) -> bool:
        """Whether the process has certainly ended."""
        if not self.local or self.host != socket.gethostname():
            return False
        try:
            started = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False
        # A process that began after the lock was made only inherited the number; a second covers the clock's granularity.
        return (made := _seconds(self.since)) is not None and started > made + 1.0


@dataclass(frozen=True)
class LockProblem:
    """A stack that is locked."""

    stack: str
    holders: tuple[Holder, ...]

    @property
    def stale(self) -> bool:
        """Whether all holders have certainly ended."""
        return bool(self.holders) and all(holder.gone for holder in self.holders)

    def __str__(self) -> str:
        named = "; ".join(map(str, self.holders)) or "another update"
        return (
            f"the stack {self.stack} is locked by {named}. Wait until that run has ended. If you know that it ended without releasing the "
            f"lock (killed, or its machine is gone), release it with `pulumi cancel --stack {self.stack}` and run again."
        )


def lock_problem(stack: str, said: str) -> LockProblem | None:
    """The lock that the CLI speaks of; None when it speaks of something else."""
    if _LOCKED in said:
        holders = [
            Holder(found["user"], found["host"], int(found["pid"]), found["since"], found["file"].startswith("file://"))
            for found in _HOLDER.finditer(said)
        ]
        return LockProblem(stack, tuple(holders))
    return LockProblem(stack, ()) if _BUSY.search(said) else None


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()
    except ValueError:
        return None
