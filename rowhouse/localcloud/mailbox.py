"""The local mailbox: every mail that the local cloud would have sent, to be read by people and programs."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rowhouse.localcloud.clock import Clock

__all__ = ["Mail", "Mailbox"]

_KEPT = 2000


@dataclass(frozen=True)
class Mail:
    """One mail. `code` is the one-time code in it, if any; `at` the virtual time."""

    number: int
    to: str
    subject: str
    code: str
    at: datetime


class Mailbox:
    """The last mails, in order of sending."""

    def __init__(self, clock: Clock) -> None:
        """Begin empty."""
        self.clock = clock
        self._mails: deque[Mail] = deque(maxlen=_KEPT)
        self._sent = 0

    def send(self, to: str, subject: str, code: str = "") -> Mail:
        """Put a mail into the box."""
        self._sent += 1
        mail = Mail(self._sent, to.lower(), subject, code, self.clock.now())
        self._mails.append(mail)
        return mail

    def mails(self, to: str = "") -> list[Mail]:
        """Mails to an address (to anybody without one), oldest first."""
        return [mail for mail in self._mails if not to or mail.to == to.lower()]

    def as_json(self, to: str = "") -> list[dict[str, Any]]:
        """The same as plain data, `at` in RFC 3339."""
        return [{**asdict(mail), "at": mail.at.isoformat()} for mail in self.mails(to)]
