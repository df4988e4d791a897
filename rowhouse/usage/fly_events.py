"""What a list of a machine's events proves, and what not.

Does: map Fly's words to ours, find stretches that are lost and times that cannot be right, and vouch only for what lies between.
Does not: ask Fly. Pure. Source of the words: Fly's Machines API, states of 2026-08; events seen in the field up to 2026-10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rowhouse.usage.entries import Entry
from rowhouse.usage.observations import Finding
from rowhouse.usage.previous import GONE, MachineMark
from rowhouse.vendors.fly_events import said_in

__all__ = ["Machine", "Reading", "read_events", "state_of"]

State = Literal["running", "stopped", "gone", "unknown"]
RUNNING: Final = "running"

_STATES: Final[Mapping[str, State]] = {
    # Fly bills each second in `started` and no other (2026-08), so that whatever leads there or away is not running.
    "started": "running",
    **dict.fromkeys(("created", "stopped", "suspended", "failed", "launch_failed"), "stopped"),
    **dict.fromkeys(("creating", "starting", "stopping", "restarting", "suspending", "updating", "replacing", "destroying"), "stopped"),
    **dict.fromkeys(("destroyed", "replaced", "migrated"), "gone"),
}
_TYPES: Final = frozenset({"launch", "start", "stop", "exit", "update", "restart", "suspend", "destroy"})
"""Launch, start, exit and update were seen in the field; the others are the actions of the API, whose events are not documented."""
_FUTURE_MS: Final = 5_000
"""Hosts' clocks may differ by so much without anything being wrong; and a `Date` has whole seconds only."""
_SECOND_MS: Final = 1000
_EVENTS_MAX: Final = 50
_KEPT: Final = ("exit_event", "restart_count")
"""Of an event's request: the rest may be a whole configuration, with what it keeps secret."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine as an organisation list told of it."""

    id: str
    app: str
    tenant: str
    instance: str | None
    version: str
    word: str
    """Fly's own state."""
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a list of events came to."""

    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Event:
    id: str
    at: int | None
    kind: str
    word: str
    source: str
    raw: Mapping[str, Any]


def state_of(word: str) -> State:
    """Our word for a state of Fly's; `unknown` for one that is not in its documentation."""
    return _STATES.get(word, "unknown")


def read_events(machine: Machine, items: Sequence[Mapping[str, Any]], *, at: int, asof: int, mark: MachineMark | None) -> Reading:
    """Entries of the events that are new, and of the stretches for which the list vouches.

    Shapes: items as Fly gives them, newest first. An `events` entry says over which span the list speaks and, as its value, how many events
        it had there. `at` is the answer's `Date`, `asof` a time before which it was surely not read.
        `mark` is what earlier passes knew of the machine.
    A time in the future, or before that of an older event, is doubtful. Such an event is kept, marked, with its state unknown from its
    older neighbour on and Fly's own time in its data, and nothing next to it is vouched for: what it ended or began may have been at any
    time between its neighbours.
    """
    events = [_parsed(item) for item in reversed(items)]
    if not events:
        return Reading((), ())
    doubtful = mark.doubtful if mark else set()
    marks = _marks(events, at, doubtful)
    states = _states(events, machine)
    known = mark.last_event[1] if mark and mark.last_event else None
    first_new = next((index + 1 for index, event in enumerate(events) if event.id == known), 0)
    findings = [*_strange(machine, events[first_new:]), *_doubts(machine, events, marks, first_new)]

    entries: list[Entry] = []
    trusted = machine.created_at
    for index, event in enumerate(events):
        if event.at is not None and not marks[index]:
            trusted = event.at
        if index < first_new or event.id in doubtful:
            continue
        data: dict[str, Any] = {"type": event.kind, "status": event.word, "source": event.source}
        data |= {"request": kept} if (kept := _request(event.raw)) else {}
        if marks[index] or event.at is None:
            data |= {"marks": marks[index], "timestamp": event.raw.get("timestamp")}
            entries.append(_entry(machine, "event", at=trusted + 1, asof=asof, state="unknown", id=event.id, data=data))
        else:
            vouched = max(asof, min(event.at, at + _SECOND_MS - 1))
            entries.append(_entry(machine, "event", at=event.at, asof=vouched, state=states[index], id=event.id, data=data))

    lost = _lost(machine, events, marks, mark, first_new)
    if lost:
        findings.append(
            _finding(machine, "fly.events-lost", f"events between {lost['from']} and {lost['to']} (ms) were never seen; they stay unknown.")
        )
    start = max(first_new - 1, 0)
    about = {"app": machine.app, "version": machine.version, "updated_at": machine.updated_at}
    for low, high in _good(marks, start):
        last = high == len(events) - 1
        begin, end = events[low].at, events[high].at
        assert begin is not None
        assert end is not None
        if last:
            end = max(asof, end - 1)
        if low == 0 and not first_new and _is_first(events[0]):
            begin = min(begin, machine.created_at)
        data = about if last else {"app": machine.app}
        data = data | ({"lost": lost} if lost and low == start else {})
        end = max(begin, end)
        held = sum(1 for event, why in zip(events, marks, strict=True) if event.at is not None and not why and begin <= event.at <= end)
        entries.append(_entry(machine, "events", at=begin, asof=end, value=str(held), state=states[high] if last else "unknown", data=data))
    if marks[-1]:  # nothing is vouched for up to now, and still these events were had: without this they were asked for at every pass
        entries.append(_entry(machine, "events", at=asof, asof=asof, value="0", state="unknown", data=about))
    return Reading(tuple(entries), tuple(findings))


def _parsed(item: Mapping[str, Any]) -> _Event:
    stamp = item.get("timestamp")
    at = stamp if type(stamp) is int and 0 < stamp < 2**52 else None
    kind, word, source = (_text(item.get(name)) for name in ("type", "status", "source"))
    return _Event(_text(item.get("id")) or f"{kind}/{word}/{stamp}", at, kind, word, source, item)


def _text(value: object) -> str:
    text = str(value) if value is not None else ""
    return text if text.isprintable() else ascii(text)


def _marks(events: Sequence[_Event], at: int, doubtful: set[str]) -> list[list[str]]:
    """Why each event's time is not to be trusted; empty for most."""
    marks: list[list[str]] = [[] for _ in events]
    for index, event in enumerate(events):
        if event.at is None:
            marks[index].append("no-time")
        elif event.at > at + _FUTURE_MS:
            marks[index].append("future")
        elif event.id in doubtful:
            marks[index].append("doubted-before")
    orderly = [(index, event.at) for index, event in enumerate(events) if event.at is not None and not marks[index]]
    for place, (index, moment) in enumerate(orderly):
        if any(earlier > moment for _, earlier in orderly[:place]) or any(later < moment for _, later in orderly[place + 1 :]):
            marks[index].append("disorder")
    return marks


def _states(events: Sequence[_Event], machine: Machine) -> list[State]:
    states: list[State] = []
    for index, event in enumerate(events):
        state = state_of(event.word) if event.kind in _TYPES else "unknown"
        if (event.kind, event.word, event.source) == ("launch", "created", "flyd"):
            # A host gave the machine to another host (2026-09). That alone neither starts nor stops it; how it was meanwhile nobody says.
            before: State = states[-1] if states else "unknown"
            newest = index == len(events) - 1
            still = newest and machine.word == "started" and event.at is not None and machine.updated_at >= event.at - _FUTURE_MS
            state = before if before != "running" or still else "unknown"
        states.append(state)
    return states


def _is_first(event: _Event) -> bool:
    return (event.kind, event.word) == ("launch", "created") and event.source != "flyd"


def _good(marks: Sequence[Sequence[str]], start: int) -> list[tuple[int, int]]:
    """Stretches of events, from `start` on, whose times can be trusted: first and last index of each."""
    found: list[tuple[int, int]] = []
    low: int | None = None
    for index in range(start, len(marks)):
        if marks[index]:
            low = None
        elif low is None:
            low = index
            found.append((index, index))
        else:
            found[-1] = (low, index)
    return found


def _lost(
    machine: Machine, events: Sequence[_Event], marks: Sequence[Sequence[str]], mark: MachineMark | None, first_new: int
) -> dict[str, Any] | None:
    """The stretch of which no event is left: the list is full, or of a newer version, and does not reach back to what was known."""
    oldest = events[0]
    if first_new or oldest.at is None or marks[0]:
        return None
    if _is_first(oldest):
        return None
    since = mark.covered_to if mark and mark.covered_to is not None else machine.created_at
    if since >= oldest.at:
        return None
    return {"from": since, "to": oldest.at, "why": "full" if len(events) >= _EVENTS_MAX else "version"}


def _strange(machine: Machine, events: Sequence[_Event]) -> list[Finding]:
    unknown = sorted({(event.kind, event.word) for event in events if event.kind not in _TYPES or event.word not in _STATES})
    return [
        _finding(
            machine,
            "fly.event-unknown",
            f"an event of type {kind!r} with status {word!r} is in no documentation; its time counts as unknown.",
        )
        for kind, word in unknown
    ]


def _doubts(machine: Machine, events: Sequence[_Event], marks: Sequence[Sequence[str]], first_new: int) -> list[Finding]:
    texts = {
        "future": "lies in the future",
        "disorder": "contradicts the order of the list",
        "no-time": "is missing",
        "doubted-before": "was doubtful before",
    }
    return [
        _finding(machine, "fly.event-time", f"the time of event {events[index].id} {texts[why]}; nothing is billed on it.")
        for index, reasons in enumerate(marks)
        for why in reasons
        if index >= first_new and why != "doubted-before"
    ]


def _request(raw: Mapping[str, Any]) -> dict[str, Any]:
    known = said_in(raw)
    return {name: known[name] for name in _KEPT if name in known}


def _entry(machine: Machine, kind: str, **columns: Any) -> Entry:
    return Entry(kind=kind, tenant=machine.tenant, instance=machine.instance, subject=machine.id, **columns)


def _finding(machine: Machine, rule: str, message: str) -> Finding:
    return Finding(rule, machine.id, f"machine {machine.id} of {machine.tenant}: {message}", machine.tenant, machine.instance)


assert GONE in _STATES.values()
