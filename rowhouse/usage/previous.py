"""What earlier passes knew, as far as the next one needs it: the last mark of each machine and volume, watermarks.

Does: read it off the ledger's entries, in any order, doubled or not. Does not: ask anybody, or decide what a mark means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from rowhouse.usage.entries import COLUMNS, Entry

if TYPE_CHECKING:
    import duckdb

__all__ = ["GONE", "MachineMark", "Previous", "VolumeMark"]

GONE: Final = "gone"
"""The state of what does not exist any more."""


@dataclass(slots=True)
class MachineMark:
    """What was last known of one machine."""

    tenant: str
    instance: str | None
    app: str = ""
    state: str = "unknown"
    version: str = ""
    updated_at: int = 0
    seen_at: int = -1
    """When an organisation list last told of it."""
    asked: tuple[str, int] | None = None
    """Version and time of change for which its events were last had; None when they never were."""
    covered_to: int | None = None
    """Up to when its events prove its states."""
    last_event: tuple[int, str] | None = None
    """Time and id of its newest event."""
    doubtful: set[str] = field(default_factory=set)
    """Ids of events whose times cannot be trusted."""


@dataclass(slots=True)
class VolumeMark:
    """What was last known of one volume."""

    tenant: str
    instance: str | None
    app: str = ""
    state: str = ""
    size_gb: str = ""
    seen_at: int = -1


@dataclass(slots=True)
class Previous:
    """What is known before a pass begins."""

    machines: dict[str, MachineMark] = field(default_factory=dict)
    volumes: dict[str, VolumeMark] = field(default_factory=dict)
    logins_to: int | None = None
    """Up to when logins are known to have been heard."""
    notes: set[tuple[str, str]] = field(default_factory=set)
    """Key and etag of each object of notes that was read; notes only grow, so an etag never comes back."""
    at: int | None = None
    """When the last pass was."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Previous:
        """What these entries say: those of the months that a pass may read, `opening` entries included."""
        found = cls()
        for entry in entries:
            found.add(entry)
        return found

    def add(self, entry: Entry) -> None:
        """Take one entry in; the order does not matter."""
        data: Mapping[str, Any] = entry.data or {}
        if entry.kind == "machine" and entry.subject and entry.tenant:
            mark = self._machine(entry)
            if entry.at >= mark.seen_at:
                mark.tenant, mark.instance = entry.tenant, entry.instance
                mark.app, mark.state = str(data.get("app") or mark.app), entry.state or "unknown"
                mark.version, mark.updated_at, mark.seen_at = entry.id or "", int(data.get("updated_at") or 0), entry.at
        elif entry.kind == "events" and entry.subject and entry.tenant:
            mark = self._machine(entry)
            if entry.asof is not None and (mark.covered_to is None or entry.asof >= mark.covered_to):
                mark.covered_to = entry.asof
                if "updated_at" in data:
                    mark.asked = (str(data.get("version") or ""), int(data["updated_at"]))
            mark.app = mark.app or str(data.get("app") or "")
        elif entry.kind == "event" and entry.subject and entry.tenant and entry.id:
            mark = self._machine(entry)
            if data.get("marks"):
                mark.doubtful.add(entry.id)
            elif mark.last_event is None or (entry.at, entry.id) > mark.last_event:
                mark.last_event = (entry.at, entry.id)
        elif entry.kind == "volume" and entry.subject and entry.tenant:
            volume = self.volumes.setdefault(entry.subject, VolumeMark(entry.tenant, entry.instance))
            if entry.at >= volume.seen_at:
                volume.tenant, volume.instance, volume.seen_at = entry.tenant, entry.instance, entry.at
                volume.app, volume.state, volume.size_gb = str(data.get("app") or volume.app), entry.state or "", entry.value or ""
        elif entry.kind in {"activity", "counter"} and "object" in data and "etag" in data:
            self.notes.add((str(data["object"]), str(data["etag"])))
        elif entry.kind == "pass":
            self.at = entry.at if self.at is None else max(self.at, entry.at)
            heard = (data.get("sources") or {}).get("cloudflare") or {}
            if heard.get("asof") is not None:
                self.logins_to = max(int(heard["asof"]), self.logins_to or 0)

    @classmethod
    def from_table(cls, connection: duckdb.DuckDBPyConnection, name: str = "entries") -> Self:
        """The same from a table as `Ledger.table` makes it, reading no more rows into Python than there are marks."""
        found = cls()
        for query in _LAST:
            columns = ", ".join(f'"{column}"' for column in COLUMNS)  # `at` is a word of SQL
            for row in connection.execute(query.format(columns=columns, name=name)).fetchall():
                values = dict(zip(COLUMNS, row, strict=True))
                values["data"] = json.loads(values["data"]) if values["data"] else None
                found.add(Entry(**values))
        return found

    def _machine(self, entry: Entry) -> MachineMark:
        assert entry.subject is not None
        assert entry.tenant is not None
        return self.machines.setdefault(entry.subject, MachineMark(entry.tenant, entry.instance))


_NEWEST: Final = "QUALIFY row_number() OVER (PARTITION BY subject ORDER BY {order}) = 1"
_TEXT: Final = "json_extract_string(data, '$.{}')".format
_LAST: Final = (
    "SELECT {columns} FROM {name} WHERE kind = 'machine' " + _NEWEST.replace("{order}", '"at" DESC'),
    "SELECT {columns} FROM {name} WHERE kind = 'events' " + _NEWEST.replace("{order}", '"asof" DESC'),
    f"SELECT {{columns}} FROM {{name}} WHERE kind = 'event' AND {_TEXT('marks')} IS NULL "
    + _NEWEST.replace("{order}", '"at" DESC, id DESC'),
    f"SELECT {{columns}} FROM {{name}} WHERE kind = 'event' AND {_TEXT('marks')} IS NOT NULL",
    "SELECT {columns} FROM {name} WHERE kind = 'volume' " + _NEWEST.replace("{order}", '"at" DESC'),
    (
        f"SELECT {{columns}} FROM {{name}} WHERE kind IN ('activity', 'counter') AND {_TEXT('etag')} IS NOT NULL "
        'AND "at" >= (SELECT max("at") FROM {name}) - 345600000 '
        f'QUALIFY row_number() OVER (PARTITION BY {_TEXT("object")}, {_TEXT("etag")} ORDER BY "at") = 1'
    ),
    (
        "SELECT {columns} FROM {name} WHERE kind = 'pass' QUALIFY row_number() OVER (ORDER BY \"at\" DESC) = 1 OR "
        f"row_number() OVER (ORDER BY CAST({_TEXT('sources.cloudflare.asof')} AS BIGINT) DESC NULLS LAST) = 1"
    ),
)
