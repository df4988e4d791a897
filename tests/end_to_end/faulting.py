"""Vendor calls that fail once: a rule that strikes at chosen numbers of a run's calls, and what must hold afterwards.

Every kind of fault, at every call. `make test` spoils several calls of one run, so that each kind meets calls of every sort; `make
test-long` spoils each call alone. Calls are numbered in the order in which the vendors see them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rowhouse.localcloud.kernel import Entry, Fault
from tests.end_to_end.world import TENANTS, Ran, World

# Kind, seconds, status. A hang ends by a broken connection well before the clients' own limit of 30 s.
KINDS: dict[str, tuple[float, int]] = {
    "rate_limited": (1.0, 429),
    "error_before": (0.0, 500),
    "error_after": (0.0, 500),
    "drop_before": (0.0, 0),
    "drop_after": (0.0, 0),
    "hang_before": (0.5, 0),
    "hang_after": (0.5, 0),
    "slow": (0.5, 0),
    "partial": (0.0, 0),
    "stale": (0.0, 0),
}


@dataclass
class Spoiled(Fault):
    """Strikes once at each of some numbers of calls, counted from 0."""

    numbers: frozenset[int] = frozenset()
    seen: int = 0
    times: int = -1
    struck: list[int] = field(default_factory=list)

    def matches(self, vendor: str, method: str, path: str) -> bool:
        """Whether the next call is one of the chosen ones."""
        number, self.seen = self.seen, self.seen + 1
        if number in self.numbers:
            self.struck.append(number)
        return number in self.numbers


def spoil(made: World, kind: str, numbers: frozenset[int]) -> Spoiled:
    """Put the rule in force, counting from the next call."""
    made.cloud.journal.clear()
    value, status = KINDS[kind]
    fault = Spoiled(kind, value=value, status=status, numbers=numbers)  # type: ignore[arg-type]
    made.cloud.faults.add(fault)
    return fault


def tenants_in(entry: Entry) -> set[str]:
    """Which tenants a call speaks of; none when it is about what all share."""
    text = f"{entry.path} {entry.query} {entry.body}"
    return {tenant for tenant in TENANTS if tenant in text}


def failed_tenants(ran: Ran) -> set[str]:
    """Tenants that a run says it failed for; empty for what all share."""
    return {failure["tenant"] or "" for failure in ran.document.get("failures", [])}


def assert_told(ran: Ran) -> None:
    """The run succeeded, or it says of every resource that did not work whose it is and why."""
    failures = ran.document.get("failures", [])
    assert ran.code == (1 if failures else 0), ran.failed()
    for failure in failures:
        assert failure["urn"], failure
        assert failure["message"], failure


async def apply_spoiled(made: World, expected: dict[str, object], kind: str, numbers: frozenset[int]) -> None:
    """An apply with spoiled calls, an undisturbed one after it, and then nothing to do."""
    fault = spoil(made, kind, numbers)
    first = await made.up()
    made.cloud.faults.clear()
    assert_told(first)
    if len(fault.struck) == 1 and first.code:
        # One call of one tenant stops no other tenant; a call for what all share may stop anybody who needs it.
        [struck] = fault.struck
        if whose := tenants_in(made.cloud.journal.entries[struck]):
            assert failed_tenants(first) <= whose, first.failed()
    again = await made.up()
    assert again.code == 0, again.failed()
    assert made.kept() == expected["up"]
    looked = await made.preview()
    assert looked.ops == {}, looked.document["changes"]


async def destroy_spoiled(made: World, expected: dict[str, object], kind: str, numbers: frozenset[int]) -> None:
    """A destroy with spoiled calls, and an undisturbed one after it."""
    assert (ran := await made.up()).code == 0, ran.failed()
    spoil(made, kind, numbers)
    first = await made.destroy()
    made.cloud.faults.clear()
    assert_told(first)
    again = await made.destroy()
    assert again.code == 0, again.failed()
    assert made.kept() == expected["destroy"]


def spread(calls: int, step: int, turn: int) -> frozenset[int]:
    """Every `step`-th call, beginning at another one each turn."""
    return frozenset(range(turn % step, calls, step))
