"""What time it is for a gateway: this machine's clock, or in a local cloud that clock plus what was skipped.

Does: read the seconds to add from a file at every look, so that a request right after a leap is noted in its hour. Does not: ask anybody
for the time; vendor_clock.py does. Whether a gateway may follow a file at all is settled in settings.py: one with a real store may not.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rowhouse.edge.settings import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FileClock", "clock_for"]


class FileClock:
    """Seconds since the epoch: the real ones plus those that a file holds as one decimal number."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Read the file once.

        Raises: GatewayError when it cannot be read or holds no number.
        """
        self._path = path
        self._clock = clock
        try:
            self._offset = float(path.read_bytes())
        except (OSError, ValueError) as exc:
            raise GatewayError(
                f"ROWHOUSE_CLOCK_FILE: {path} cannot be used as a clock ({type(exc).__name__}). It holds the seconds by which a local "
                "cloud's time is ahead, and the local cloud writes it. Leave the variable out anywhere else."
            ) from exc

    def __call__(self) -> float:
        """Now. A file that was lost or spoilt leaves the clock where it was."""
        with contextlib.suppress(OSError, ValueError):
            self._offset = float(self._path.read_bytes())
        return self._clock() + self._offset


def clock_for(path: Path | None) -> Callable[[], float]:
    """The clock of a gateway that was told this file, or none.

    Raises: GatewayError when the file is no clock.
    """
    return time.time if path is None else FileClock(path)
