"""Doing one thing to many, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

__all__ = ["each"]

_AT_ONCE: Final = 32

T = TypeVar("T")


async def each(things: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int = _AT_ONCE) -> None:
    """Do work on each thing, so many at a time, taking them from the iterable only as they are begun.

    Raises: what the first failing work raised, itself and not as one of a group, so that its words reach a person.
    """
    waiting = iter(things)

    async def worker() -> None:
        for thing in waiting:
            await work(thing)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
