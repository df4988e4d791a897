"""Quiet builders of a ledger's rows: one tenant on one plan, one machine; each test says what it heard, in hours after the period's start."""

from rowhouse.usage.model import HOUR_MS, Window
from tests.usage.metering import metered

NOVEMBER = Window.month("2026-11")
START = NOVEMBER.start
HOUR = HOUR_MS
MINUTE = 60_000
SETTLE = 10 * MINUTE


def at(hours):
    """That many hours after the period's start, in milliseconds."""
    return START + round(hours * HOUR)


def plan(ref="aether/pro", hours=-24, *, state="active", tenant="acme"):
    return {"kind": "plan", "tenant": tenant, "subject": ref, "at": at(hours), "state": state}


def poll(hours, state, updated, *, machine="m1", version="v1", instance="main", created=0, settle=SETTLE):
    """What a list that was asked at that hour says, vouched for up to ten minutes before."""
    data = {"created_at": at(created), "updated_at": None if updated is None else at(updated)}
    about = {"kind": "machine", "tenant": "acme", "instance": instance, "subject": machine}
    return {**about, "at": at(hours), "asof": at(hours) - settle, "state": state, "id": version, "data": data}


def event(hours, state, *, machine="m1", instance="main", name=None, **columns):
    name = name or f"{machine}-{at(hours):016}"
    about = {"kind": "event", "tenant": "acme", "instance": instance, "subject": machine, "at": at(hours), "state": state, "id": name}
    return {**about, "data": {"type": "start" if state == "running" else "exit", "status": state}, **columns}


def heard(first, last, count, *, machine="m1", instance="main"):
    """An event list that speaks of the time from `first` to `last`."""
    about = {"kind": "events", "tenant": "acme", "instance": instance, "subject": machine}
    return {**about, "at": at(first), "asof": at(last), "value": str(count)}


def ran(start, end, *, machine="m1", instance="main"):
    """A machine that is known through and through, from its making at the period's start to half an hour after it stopped."""
    about = {"machine": machine, "instance": instance}
    return [
        event(0, "stopped", **about),
        event(start, "running", **about),
        event(end, "stopped", **about),
        heard(0, end + 0.5, 3, **about),
        poll(end + 1, "stopped", end, **about),
    ]


def spans(rows, *, period=NOVEMBER, table="spans"):
    """What became of the rows: (class, start, end) in hours."""
    connection, _ = metered(rows, period)
    found = connection.execute(f"SELECT class, start_ms, end_ms FROM {table} ORDER BY start_ms, class").fetchall()
    return [(name, hours_of(start), hours_of(end)) for name, start, end in found]


def hours_of(moment):
    return round((moment - START) / HOUR, 6)


def used(rows, period=NOVEMBER):
    """The usage of acme's segments."""
    return metered(rows, period)[1]
