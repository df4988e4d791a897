"""What one pass has seen, source by source, and how much of it each source vouches for.

Does: collect entries, findings and faults; tell the vendors' time to those who have none of their own. Does not: ask anybody.
A fault never empties a collection: what was seen before it stands, and only the completeness is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from rowhouse.errors import RowhouseError
from rowhouse.usage.entries import Entry

if TYPE_CHECKING:
    from rowhouse.usage.previous import Previous

__all__ = ["Completeness", "Finding", "Observations", "Part", "Source", "Told", "VendorTime", "guarded"]

_REASONS_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that a person should know; `rule` and `subject` together are its identity from pass to pass."""

    rule: str
    subject: str
    message: str
    tenant: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether a source (or a part of one) was heard out."""

    complete: bool
    asof: int | None
    """Up to when it is vouched for, in milliseconds UTC; None where nothing was heard."""
    reason: str
    """Empty when complete; else what was not heard and why, in the vendor's words."""
    parts: Mapping[str, Completeness] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As a `pass` entry holds it."""
        plain: dict[str, Any] = {"complete": self.complete, "asof": self.asof, "reason": self.reason}
        return plain | ({"parts": {name: part.document() for name, part in self.parts.items()}} if self.parts else {})


class Part:
    """What one part of a source has collected so far."""

    def __init__(self) -> None:
        """Begin with nothing, and unfinished."""
        self.entries: list[Entry] = []
        self.findings: list[Finding] = []
        self.asof: int | None = None
        self.is_done = False
        self._faults: list[str] = []

    def fail(self, reason: str) -> None:
        """Note why this part is not complete."""
        self._faults.append(reason)

    def vouch(self, asof: int | None) -> None:
        """Lower the time up to which this part is vouched for."""
        if asof is not None:
            self.asof = asof if self.asof is None else min(self.asof, asof)

    def completeness(self, patience_s: float) -> Completeness:
        """How much it is worth; `patience_s` is told where it did not come to its end."""
        faults = list(self._faults)
        if not self.is_done:
            faults.append(f"it was not heard out within {patience_s:g} s")
        shown = "; ".join(faults[:_REASONS_SHOWN])
        if len(faults) > _REASONS_SHOWN:
            shown += f"; and {len(faults) - _REASONS_SHOWN} more"
        return Completeness(not faults, self.asof, shown)


class Told:
    """The parts of one source."""

    def __init__(self) -> None:
        """Begin without any."""
        self.parts: dict[str, Part] = {}

    def part(self, name: str) -> Part:
        """The part of that name, made when it is first named: one that is never finished is not complete."""
        return self.parts.setdefault(name, Part())

    def completeness(self, patience_s: float) -> Completeness:
        """That of all parts together."""
        parts = {name: part.completeness(patience_s) for name, part in self.parts.items()}
        known = [part.asof for part in parts.values() if part.asof is not None]
        reasons = [f"{name}: {part.reason}" for name, part in parts.items() if part.reason]
        complete = bool(parts) and all(part.complete for part in parts.values())
        return Completeness(complete, min(known, default=None), "; ".join(reasons) if parts else "it was not asked", parts)


class VendorTime:
    """What time it is by the vendors' own clocks, for sources whose answers do not say."""

    def __init__(self, told_to: VendorTime | None = None) -> None:
        """Begin not knowing. Args: told_to: the clock of all vendors, which hears what this one's says and answers for it."""
        self._at: int | None = None
        self._known = asyncio.Event()
        self._all = told_to

    def heard(self, at: int | None) -> None:
        """A vendor's answer had this `Date`."""
        if at is not None:
            self._at = at if self._at is None else max(self._at, at)
            self._known.set()
            if self._all is not None:
                self._all.heard(at)

    def silent(self) -> None:
        """No vendor will say any more: nobody need wait."""
        self._known.set()

    async def now(self) -> int | None:
        """The latest `Date` heard, waiting for the first one; None when no vendor told."""
        if self._all is not None:
            return await self._all.now()
        await self._known.wait()
        return self._at

    @property
    def latest(self) -> int | None:
        """The latest `Date` heard so far."""
        return self._at


class Source(Protocol):
    """Somebody who can be asked what was."""

    @property
    def name(self) -> str:
        """The ledger's source that its entries go to."""
        ...

    @property
    def tells_time(self) -> bool:
        """Whether its answers carry a vendor's `Date`."""
        ...

    @property
    def calls(self) -> int:
        """Requests sent so far, repeated ones included."""
        ...

    @property
    def ahead_s(self) -> float | None:
        """By how much this machine's clock is ahead of the vendor's; None where no answer told."""
        ...

    async def observe(self, told: Told, previous: Previous, time: VendorTime) -> None:
        """Ask, and put what was heard into `told` as it comes; called once. May raise: what was told stands."""
        ...


@dataclass(frozen=True, slots=True)
class Observations:
    """What one pass has seen."""

    now: int | None
    """The pass's time: the latest `Date` of any vendor whose clock is right, in milliseconds UTC; None when no vendor answered."""
    entries: Mapping[str, tuple[Entry, ...]]
    """By the ledger's source, in an order that depends on nothing but the entries."""
    completeness: Mapping[str, Completeness]
    """By the ledger's source."""
    findings: tuple[Finding, ...]
    machine_clock_off_s: float | None
    """By how many seconds this machine's clock was ahead of the vendors'; never used for a fact."""
    calls: Mapping[str, int]

    @property
    def complete(self) -> bool:
        """Whether every source was heard out."""
        return all(source.complete for source in self.completeness.values())


async def guarded(part: Part, work: Awaitable[None]) -> None:
    """Do a part's work; what goes wrong there is the part's own fault and nobody else's."""
    try:
        await work
    except RowhouseError as error:
        part.fail(str(error))
    except Exception as error:  # noqa: BLE001 - whatever one part stumbles over, the others are heard
        # The class alone: the text of a foreign exception may hold what must not be told.
        part.fail(f"it could not be read ({type(error).__name__}); this is an error in Rowhouse, please report it")
    part.is_done = True
