"""The apps' activity counters, as the gateways read them: running totals since an instance's volume was made.

Does: translate the app's words into the counters that its file declares, and put readings of several gateways into one order. Does not:
believe them: whoever has a shell in an instance can write any number, so a counter counts completions and proves nothing about machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rowhouse.usage.entries import Entry
from rowhouse.usage.notes import HOUR_MS, Note, Notes
from rowhouse.usage.observations import Finding, Part, Told, VendorTime, guarded
from rowhouse.usage.previous import GONE, Previous
from rowhouse.vendors.store import Store

__all__ = ["AppSource"]

_SETTLE_MS: Final = 60_000
"""A reading is taken when each gateway has had time to write down what it read before."""
_TOLERANCE_MS: Final = 600_000
"""Within so long a lower total that another gateway read is the order of two clocks, not an app that began again."""
_TOTAL_MAX: Final = 2**53

Owner = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Reading:
    at: int
    gateway: str
    key: str
    totals: Mapping[str, int]


class AppSource:
    """The counters of all apps of one cell."""

    name = "app"
    tells_time = False
    ahead_s = None

    def __init__(self, store: Store, words: Mapping[str, Mapping[str, str]]) -> None:
        """Read the notes in `store`; `words` has for each tenant its app's counters and the word under which the app reports each.

        The words of a tenant that has no file any more are taken as the counters' names.
        """
        self._notes, self._words = Notes(store, "counters"), words

    @property
    def calls(self) -> int:
        """Objects and lists read so far."""
        return self._notes.calls

    async def observe(self, told: Told, previous: Previous, time: VendorTime) -> None:
        """Read what is new."""
        part = told.part("counters")
        await guarded(part, self._counters(part, previous, time))

    async def _counters(self, part: Part, previous: Previous, time: VendorTime) -> None:
        now = await time.now()
        listed = await self._notes.listed(part, previous.at, now)
        changed = {key for key, (etag, _, _) in listed.items() if (key, etag) not in previous.notes}
        hours = {listed[key][1] for key in changed}
        # Order is judged with what the other gateways read in the same hour and the one before it.
        beside = {key for key, (_, hour, _) in listed.items() if hour in hours or hour + HOUR_MS in hours}
        notes = await self._notes.read(part, listed, changed | beside)
        until = None if now is None else now - _SETTLE_MS
        readings: dict[Owner, list[_Reading]] = {}
        for note in notes:
            for owner, reading in _readings(part, note):
                readings.setdefault(owner, []).append(reading)
        early = {reading.key for found in readings.values() for reading in found if until is not None and reading.at > until}
        etags = {note.key: note.etag for note in notes if note.key not in early}
        volumes = {(mark.tenant, mark.instance): key for key, mark in sorted(previous.volumes.items()) if mark.state != GONE}
        for owner, found in sorted(readings.items()):
            self._take(
                part, owner, [reading for reading in found if until is None or reading.at <= until], changed, etags, volumes.get(owner)
            )
        if until is not None:
            part.vouch(until)

    def _take(
        self, part: Part, owner: Owner, readings: list[_Reading], changed: set[str], etags: Mapping[str, str], volume: str | None
    ) -> None:
        declared = self._words.get(owner[0])
        words = declared if declared is not None else {word: word for reading in readings for word in reading.totals}
        for counter, word in sorted(words.items()):
            told = sorted((reading for reading in readings if word in reading.totals), key=lambda reading: (reading.at, reading.gateway))
            if readings and not told:
                message = f"the app of {owner[0]}/{owner[1]} does not report {word!r}, which its file declares as counter {counter!r}."
                part.findings.append(Finding("app.counter-missing", f"{owner[0]}/{owner[1]}/{counter}", message, *owner))
            for reading in _in_order(told, word):
                if reading.key not in changed:
                    continue
                data = {"gateway": reading.gateway, "object": reading.key}
                data |= {"etag": etags[reading.key]} if reading.key in etags else {}
                data |= {"volume": volume} if volume else {}
                part.entries.append(
                    Entry(
                        "counter",
                        reading.at,
                        *owner,
                        counter,
                        value=str(reading.totals[word]),
                        id=f"{reading.gateway}/{reading.at}",
                        data=data,
                    )
                )


def _in_order(readings: Iterable[_Reading], word: str) -> Iterable[_Reading]:
    """The readings without those that only seem to go back, because another gateway's clock is a little ahead."""
    top: _Reading | None = None
    for reading in readings:
        falls = top is not None and reading.totals[word] < top.totals[word]
        if falls and top is not None and reading.gateway != top.gateway and reading.at - top.at < _TOLERANCE_MS:
            continue
        top = reading
        yield reading


def _readings(part: Part, note: Note) -> list[tuple[Owner, _Reading]]:
    found: list[tuple[Owner, _Reading]] = []
    instances = note.content.get("instances")
    for instance in instances if isinstance(instances, list) else ():
        try:
            owner = (_name(instance["tenant"]), _name(instance["instance"]))
            for at, totals in instance["readings"]:
                if not note.hour <= at < note.hour + HOUR_MS:
                    raise ValueError
                good = {_name(name): total for name, total in totals.items() if type(total) is int and 0 <= total < _TOTAL_MAX}
                found.append((owner, _Reading(int(at), note.gateway, note.key, good)))
        except (KeyError, TypeError, ValueError, AttributeError):
            part.fail(f"object {note.key} has an instance that cannot be read")
    return found


def _name(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError
    return value
