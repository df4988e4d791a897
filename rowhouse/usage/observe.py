"""One look at everything: each source in a task of its own, none able to lose, spoil or delay another's observations.

Does: bound each source's time, put in order what they tell, and take the pass's time from the vendors' own clocks. Does not: know any
vendor, write to the ledger, or use this machine's clock for a fact: where the vendors' clocks are far apart it only says whose to take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from rowhouse.errors import RowhouseError
from rowhouse.usage.entries import Entry, line_of
from rowhouse.usage.observations import Finding, Observations, Part, Source, Told, VendorTime
from rowhouse.usage.previous import Previous

__all__ = ["PATIENCE_S", "observe"]

PATIENCE_S: Final = 300.0
"""What one source may take; a first pass asks each of 10,000 machines for its events."""
_APART_MS: Final = 300_000
"""Vendors whose clocks differ by more than five minutes are not both right."""


async def observe(sources: Sequence[Source], previous: Previous, *, patience_s: float = PATIENCE_S) -> Observations:
    """Ask every source once.

    Shapes: entries by the ledger's source; a source that fails keeps what it had told before. Never raises for a source's fault.
    """
    time = VendorTime()
    clocks = {source.name: VendorTime(time) for source in sources}
    told = {source.name: Told() for source in sources}
    calls_before = {source.name: source.calls for source in sources}
    telling = {source.name for source in sources if source.tells_time}
    if not telling:
        time.silent()

    async def ask(source: Source) -> None:
        try:
            async with asyncio.timeout(patience_s):
                await source.observe(told[source.name], previous, clocks[source.name])
        except TimeoutError:
            pass  # the parts that were not finished say so
        except RowhouseError as error:
            told[source.name].part("all").fail(str(error))
        except Exception as error:  # noqa: BLE001 - whatever one source stumbles over, the others are heard
            told[source.name].part("all").fail(
                f"it could not be read ({type(error).__name__}); this is an error in Rowhouse, please report it"
            )
        finally:
            telling.discard(source.name)
            if not telling:
                time.silent()

    async with asyncio.TaskGroup() as group:
        for source in sources:
            group.create_task(ask(source))

    findings = [finding for one in told.values() for part in one.parts.values() for finding in part.findings]
    ahead = {source.name: source.ahead_s for source in sources if source.ahead_s is not None and clocks[source.name].latest is not None}
    now = time.latest
    judged: str | None = None
    if ahead and _are_apart(ahead):  # of three clocks that of this machine is the judge, and no more: the time is a vendor's
        judged = min(ahead, key=lambda name: (abs(ahead[name]), name))
        now = clocks[judged].latest
    findings += _disagreement(ahead)
    return Observations(
        now=now,
        entries={name: _ordered(one.parts) for name, one in told.items()},
        completeness={name: one.completeness(patience_s) for name, one in told.items()},
        findings=tuple(sorted(set(findings), key=lambda finding: (finding.rule, finding.subject, finding.message))),
        machine_clock_off_s=ahead[judged] if judged is not None else next(iter(ahead.values()), None),
        calls={source.name: source.calls - calls_before[source.name] for source in sources},
    )


def _ordered(parts: Mapping[str, Part]) -> tuple[Entry, ...]:
    """Each entry once, in an order that does not depend on which answer came first."""
    lines = {line_of(entry): entry for part in parts.values() for entry in part.entries}
    return tuple(lines[line] for line in sorted(lines))


def _are_apart(ahead: Mapping[str, float]) -> bool:
    return (max(ahead.values()) - min(ahead.values())) * 1000 > _APART_MS


def _disagreement(ahead: Mapping[str, float]) -> list[Finding]:
    """Vendors whose clocks are far apart. Args: ahead: by how much this machine's clock is ahead of each."""
    if not ahead or not _are_apart(ahead):
        return []
    first, last = min(ahead, key=lambda name: (ahead[name], name)), max(ahead, key=lambda name: (ahead[name], name))
    message = (
        f"the clocks of {first} and {last} are {ahead[last] - ahead[first]:.0f} s apart; times of one of them are wrong. The pass goes by "
        f"the one that is nearer to this machine's. Look at their status pages."
    )
    return [Finding("vendors.clocks-apart", f"{first}/{last}", message)]
