"""How the demo tells what it does: titles, times, and promises that end it when they do not hold."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from rowhouse.demo.stage import PromiseBrokenError

__all__ = ["Narrator", "promise"]


def promise(truth: bool, otherwise: str) -> None:
    """Go on when it holds. Raises: PromiseBrokenError with the text when it does not."""
    if not truth:
        raise PromiseBrokenError(otherwise)


class Narrator:
    """Tells on one console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def title(self, title: str, text: str) -> None:
        """Begin a step: what it is, and what is done in it."""
        self.console.print()
        self.console.rule(Text(title, style="bold"), align="left", style="dim")
        self.console.print(text, markup=False, style="dim")

    def say(self, text: str) -> None:
        """One line of what was seen."""
        self.console.print(f"  {text}", markup=False)

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Tell afterwards how long the block took."""
        began = time.monotonic()
        with self.console.status(f"{what} …") if self.console.is_terminal else contextlib.nullcontext():
            yield
        self.console.print(Text(f"  {what}: {time.monotonic() - began:.1f} s", style="dim"))
