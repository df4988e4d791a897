"""Ledgers for tests: rows of a simulated world, or a quiet month by hand, written through the real one into a folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rowhouse.usage.entries import COLUMNS, Entry
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import DAY_MS, HOUR_MS, Window
from rowhouse.vendors.store import Store
from rowhouse.vendors.store_file import FileStore
from tests.usage.metering import with_terms

SOURCE_OF = {
    **dict.fromkeys(("machine", "events", "event", "volume", "storage"), "fly"),
    "login": "cloudflare",
    "activity": "gateway",
    "counter": "app",
    "pass": "pass",
    **dict.fromkeys(("plan", "purchase", "opening", "correction"), "account"),
    **dict.fromkeys(("push", "close", "invoice"), "billing"),
}
SOURCES = ("fly", "cloudflare", "gateway", "app")
NOVEMBER, DECEMBER = Window.month("2026-11"), Window.month("2026-12")
MINUTE = 60_000


def at(*parts: int) -> int:
    """Milliseconds of a UTC date."""
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc]


def write(store: Store, rows: Iterable[Mapping[str, Any]], *, cell: str = "main", per: int = DAY_MS) -> Ledger:
    """Write rows as passes would: by source, those of each stretch of time in one segment."""
    ledger = Ledger(store, cell)
    batches: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    for row in rows:
        columns = {
            name: value for name, value in (row if "data" in row else with_terms(row)).items() if name in COLUMNS and value is not None
        }
        entry = Entry(**columns)
        batches[entry.at // per, SOURCE_OF[entry.kind]].append(entry)
    for (number, source), entries in sorted(batches.items()):
        window = datetime.fromtimestamp(number * per // 1000, tz=UTC).strftime("%Y%m%dT%H%M%SZ")
        assert ledger.append(source, window, entries).written
    return ledger


def folder(path: Path) -> FileStore:
    return FileStore(path / "store")


def pass_row(
    when: int, *, complete: bool = True, asof: int | None = None, off: float = 0.0, reason: str = "", sources=SOURCES
) -> dict[str, Any]:
    """One pass's own word: every source complete, or fly not."""
    said: dict[str, Any] = {name: {"complete": True, "asof": when if asof is None else asof, "reason": ""} for name in sources}
    if not complete:
        said["fly"] = {"complete": False, "asof": said["fly"]["asof"], "reason": reason or "machines: Fly could not read fra"}
    state = "complete" if complete else "incomplete"
    return {"kind": "pass", "at": when, "state": state, "data": {"sources": said, "machine_clock_off_s": off}}


def plan_row(tenant: str, when: int, ref: str, *, state: str = "active") -> dict[str, Any]:
    return {"kind": "plan", "tenant": tenant, "at": when, "subject": ref, "state": state}


def machine_rows(tenant: str, born: int, ups: Iterable[tuple[int, int]], until: int, *, instance: str = "main") -> list[dict[str, Any]]:
    """A machine with these runs, fully observed: one list of its events as of `until`, and two polls of the list."""
    machine = f"{sum(map(ord, tenant + instance)):014x}"
    about = {"tenant": tenant, "instance": instance, "subject": machine}
    events = [(born, "created", "launch", "stopped")]
    for start, end in ups:
        events += [(start, "started", "start", "running")]
        events += [(end, "stopped", "exit", "stopped")] if end < until else []
    rows: list[dict[str, Any]] = [
        {"kind": "event", **about, "at": moment, "state": state, "id": f"{tenant}-{instance}-{number:03}"}
        | {"data": {"type": kind, "status": status, "source": "flyd"}}
        for number, (moment, status, kind, state) in enumerate(events)
    ]
    last = events[-1]
    rows.append({"kind": "events", **about, "at": born, "asof": until, "value": str(len(events)), "state": last[3]})
    data = {"updated_at": last[0], "created_at": born, "region": "fra", "cpu_kind": "shared", "cpus": 1, "memory_mb": 256}
    rows += [
        {"kind": "machine", **about, "at": moment, "asof": moment, "state": last[3], "id": "v1", "data": data}
        for moment in (until - HOUR_MS, until)
    ]
    return rows


def volume_rows(
    tenant: str, made: int, gb: int, used: str, until: int, *, every: int = DAY_MS, instance: str = "main"
) -> list[dict[str, Any]]:
    """A volume, seen and measured once a day."""
    about = {"tenant": tenant, "instance": instance, "subject": f"vol_{tenant}_{instance}"}
    rows: list[dict[str, Any]] = []
    for moment in [*range(made, until, every), until]:
        rows.append(
            {
                "kind": "volume",
                **about,
                "at": moment,
                "asof": moment,
                "value": str(gb),
                "state": "created",
                "data": {"created_at": made, "region": "fra"},
            }
        )
        rows.append({"kind": "storage", **about, "at": moment, "value": used})
    return rows


def counter_rows(tenant: str, counter: str, totals: Iterable[tuple[int, int]], *, instance: str = "main") -> list[dict[str, Any]]:
    return [
        {"kind": "counter", "tenant": tenant, "instance": instance, "subject": counter, "at": moment, "value": str(total), "data": {}}
        for moment, total in totals
    ]


def purchase_row(tenant: str, when: int, payment: str, **more: Any) -> dict[str, Any]:
    data = {"meter": "generations", "price": "5", "currency": "usd", "expires_at": None} | more
    return {"kind": "purchase", "tenant": tenant, "at": when, "subject": "credits-500", "value": "500", "id": payment, "data": data}
