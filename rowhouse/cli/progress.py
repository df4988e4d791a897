"""Progress of a run on standard error: a live line in a terminal, one line a few seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.status import Status

__all__ = ["Teller"]

_QUIET_S = 3.0


class Teller:
    """Shows what a run is doing; silent for what takes less than a second."""

    def __init__(self, console: Console, what: str, *, quiet: bool = False) -> None:
        """Tell on `console` about `what` (`previewing`, `applying`)."""
        self.console, self.what, self.quiet = console, what, quiet
        self._status: Status | None = None
        self._said = self._began = time.monotonic()
        self.diagnostics: list[tuple[str, str]] = []
        """Severity and text of what program and plugins said."""

    def __enter__(self) -> Self:
        """Begin."""
        if self.console.is_terminal and not self.quiet:
            self._status = self.console.status(f"{self.what} …")
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the live line."""
        if self._status is not None:
            self._status.stop()

    def pause(self) -> None:
        """Take the live line away while a question is asked."""
        if self._status is not None:
            self._status.stop()

    def resume(self, what: str) -> None:
        """Go on with something else after the question, its time counted from now."""
        self.what, self._began = what, time.monotonic()
        if self._status is not None:
            self._status.update(f"{what} …")
            self._status.start()

    def progress(self, done: int, known: int, running: int) -> None:
        """So many resources are done of so many known; a first run knows only those that the program came to."""
        of = f" of {known}" if known > done else ""
        under_way = f", {running} under way" if running else ""
        text = f"{self.what}: {done}{of} resources done{under_way}, {time.monotonic() - self._began:.0f} s"
        if self._status is not None:
            self._status.update(text)
        elif not self.quiet and time.monotonic() - self._said > _QUIET_S:
            self._said = time.monotonic()
            self.console.print(text, style="dim", markup=False)

    def said(self, severity: str, message: str) -> None:
        """Keep, and for warnings show, what program or plugin said; errors come back as failures."""
        self.diagnostics.append((severity, message))
        if severity == "warning" and not self.quiet:
            self.console.print(f"warning: {message.strip()}", style="yellow", markup=False)

    def on_engine_event(self, event: Any) -> None:
        """Take the embedded engine's events."""
        match type(event).__name__:
            case "Progress":
                self.progress(event.done, event.known, event.running)
            case "Diagnostic" if event.severity != "debug":
                self.said(event.severity, event.message)
