"""An independent world: what machines, volumes, people and apps really did, and what their vendors would have said of it when asked.

Knows nothing of the code that it judges: it imports no module of `rowhouse.usage`. From a seed it makes histories in milliseconds (the
truth), the vendors' answers at each pass (late lists, short lists of events, lost passes and answers, regions that are not heard,
machines that crash, are updated, replaced, destroyed), and a ledger's entries from those answers by a translation of its own.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
SETTLE = 10 * MINUTE
"""By so much an organisation list may be late."""

Row = dict[str, object]
Span = tuple[int, int]

STATES = {  # of an event's status; Fly bills `started` alone
    "started": "running",
    **dict.fromkeys(("created", "stopped", "starting", "stopping", "replacing", "suspending", "suspended", "destroying"), "stopped"),
    "destroyed": "gone",
}


@dataclass(frozen=True)
class Event:
    """What a host noted of a machine."""

    id: str
    at: int
    type: str
    status: str
    version: int


@dataclass
class Machine:
    """One machine's true life."""

    id: str
    born: int
    events: list[Event] = field(default_factory=list)
    touches: list[tuple[int, str, int]] = field(default_factory=list)
    """(when, state, version): each change that moves `updated_at`, in order."""
    ups: list[Span] = field(default_factory=list)
    died: int | None = None

    def overview(self, at: int) -> tuple[int, str, int] | None:
        """The last change at a moment; None before the machine was."""
        index = bisect_right(self.touches, at, key=lambda touch: touch[0])
        return self.touches[index - 1] if index else None

    def listed(self, at: int, limit: int) -> list[Event]:
        """Events that the vendor gives: of the version of that moment, the newest, oldest first."""
        version = max((event.version for event in self.events if event.at <= at), default=0)
        return [event for event in self.events if event.at <= at and event.version == version][-limit:]


@dataclass(frozen=True)
class Faults:
    """How bad this world's days are: each a probability, or a span of time."""

    interval: int = HOUR
    lag: int = SETTLE
    limit: int = 50
    whole_seconds: bool = False
    lost_pass: float = 0.0
    lost_events: float = 0.0
    lost_region: float = 0.0
    lost_segment: float = 0.0
    lost_row: float = 0.0
    doubled: float = 0.0
    silence: Span | None = None
    close: float = 0.0
    """How likely a pass asks right after something happened, within the same second."""
    clipped: bool = False
    """Whether an event list is told from the last known event on, or as far as it goes."""


@dataclass
class World:
    """One tenant's truth and what was written down of it."""

    tenant: str
    start: int
    end: int
    faults: Faults
    machines: dict[str, list[Machine]] = field(default_factory=dict)
    """By instance."""
    plans: list[tuple[int, str]] = field(default_factory=list)
    """(when applied, plan)."""
    logins: list[tuple[int, str]] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    completions: list[int] = field(default_factory=list)
    wiped: int | None = None
    """When the app's volume was made anew, if it was."""
    volumes: list[tuple[str, int, int | None, list[tuple[int, int]]]] = field(default_factory=list)
    """(id, made, gone, [(from, GB)])."""
    used: list[tuple[int, float]] = field(default_factory=list)
    """(from, GB used), never less than before."""
    rows: list[Row] = field(default_factory=list)

    # The truth

    def running(self, a: int, b: int) -> int:
        """Milliseconds of running in [a, b), all instances added up, machines of one instance counted once."""
        return sum(_length(_clip(self.ups(instance), a, b)) for instance in self.machines)

    def ups(self, instance: str) -> list[Span]:
        """When an instance ran."""
        return _union(up for machine in self.machines[instance] for up in machine.ups)

    def life(self, instance: str, until: int) -> list[Span]:
        """When an instance had a machine."""
        return _union((machine.born, machine.died or until) for machine in self.machines[instance])

    def active_hours(self, a: int, b: int) -> set[int]:
        """Clock hours with any running, login or request in [a, b)."""
        spans = [span for instance in self.machines for span in _clip(self.ups(instance), a, b)]
        hours = {hour for x, y in spans for hour in range(x - x % HOUR, y, HOUR)}
        return hours | {at - at % HOUR for at in (*(at for at, _ in self.logins), *self.requests) if a <= at < b}

    def segments(self) -> list[tuple[int, int, str]]:
        """(start, end, plan) within the period."""
        found = []
        for (at, plan), after in zip(self.plans, [*(at for at, _ in self.plans[1:]), self.end], strict=True):
            a, b = max(at, self.start), min(after, self.end)
            if a < b:
                found.append((a, b, plan))
        return found

    def volume_gb_ms(self, a: int, b: int) -> int:
        """Micro-GB times milliseconds provisioned in [a, b)."""
        total = 0
        for _, _, gone, sizes in self.volumes:
            for (at, size), after in zip(sizes, [*(at for at, _ in sizes[1:]), gone or b], strict=True):
                total += size * 1_000_000 * _length(_clip([(at, after)], a, b))
        return total

    def storage_gb_ms(self, a: int, b: int) -> int:
        """Micro-GB times milliseconds used in [a, b)."""
        steps = zip(self.used, [*(at for at, _ in self.used[1:]), b], strict=True)
        return sum(round(gb * 1_000_000) * _length(_clip([(at, after)], a, b)) for (at, gb), after in steps)


def _clip(spans: Iterable[Span], a: int, b: int) -> list[Span]:
    return [(max(x, a), min(y, b)) for x, y in spans if x < b and y > a]


def _length(spans: Iterable[Span]) -> int:
    return sum(y - x for x, y in spans if y > x)


def _union(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for a, b in sorted(spans):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(b, found[-1][1]))
        elif a < b:
            found.append((a, b))
    return found


# Histories


class _Author:
    """Writes one machine's life."""

    def __init__(self, rng: random.Random, machine: Machine) -> None:
        self.rng, self.machine, self.version, self.state, self.count = rng, machine, 0, "created", 0

    def note(self, at: int, kind: str, status: str, *, state: str | None = None) -> int:
        """An event, and the change of state that comes with it."""
        self.count += 1
        if state == "started" and self.state != "started":
            self.machine.ups.append((at, at))
        elif state not in {None, "started"} and self.state == "started":
            self.machine.ups[-1] = (self.machine.ups[-1][0], at)
        self.state = state or self.state
        self.machine.events.append(Event(f"{self.machine.id}-{self.count:06}", at, kind, status, self.version))
        self.machine.touches.append((at, self.state, self.version))
        return at

    def act(self, at: int) -> int:
        """Something happens at a moment; when it is over."""
        chance = self.rng.random()
        if chance < 0.05:  # a word that is in no documentation, and changes nothing
            return self.note(at, "cordon", "cordoned")
        if chance < 0.1:  # labels changed: no event
            self.machine.touches.append((at, self.state, self.version))
            return at
        if chance < 0.17:
            return self.update(at)
        if self.state == "started":
            return self.stop(at) if chance < 0.75 else self.crash(at)
        return self.start(at)

    def start(self, at: int) -> int:
        self.note(at, "start", "starting", state="starting")
        return self.note(at + self.rng.choice((0, 1, 700, 2300)), "start", "started", state="started")

    def stop(self, at: int) -> int:
        self.note(at, "stop", "stopping", state="stopping")
        return self.note(at + self.rng.choice((0, 0, 40, 5000)), "exit", "stopped", state="stopped")

    def crash(self, at: int) -> int:
        self.note(at, "exit", "stopped", state="stopped")
        return self.note(at + self.rng.choice((0, 100, 900)), "start", "started", state="started")

    def update(self, at: int) -> int:
        was_up = self.state == "started"
        self.version += 1
        self.note(at, "update", "replacing", state="replacing")
        if was_up:
            self.note(at, "exit", "stopped", state="stopped")
            return self.note(at + 100, "start", "started", state="started")
        self.state = "stopped"
        self.machine.touches.append((at + 100, "stopped", self.version))
        return at + 100

    def destroy(self, at: int) -> int:
        self.note(at, "destroy", "destroying", state="destroying")
        self.machine.died = at + 200
        return self.note(at + 200, "destroy", "destroyed", state="destroyed")


def _pause(rng: random.Random, pace: str) -> int:
    """How long until something happens again."""
    low, high = {"burst": (0, 40 * SECOND), "brisk": (SECOND, 40 * MINUTE), "calm": (MINUTE, 9 * HOUR), "sleepy": (HOUR, 40 * HOUR)}[pace]
    return rng.choice((rng.randint(low, high), rng.randint(low, high) // SECOND * SECOND))


def _machine(rng: random.Random, name: str, born: int, until: int, died: int | None) -> Machine:
    machine = Machine(name, born)
    author = _Author(rng, machine)
    at = author.note(born, "launch", "created", state="created")
    last = died if died is not None else until
    if rng.random() < 0.8:
        at += rng.choice((1, 200, 6000))
        author.note(at, "start", "started", state="started")
    pace = rng.choice(("brisk", "calm", "calm", "sleepy"))
    while True:
        pause = _pause(rng, "burst" if rng.random() < 0.1 else pace) + 1
        if at + pause + 10 * SECOND > last:
            break
        at = author.act(at + pause)
        if rng.random() < 0.02:  # a crash loop: more events than a list holds
            for _ in range(rng.randint(10, 60)):
                pause = rng.randint(1, 20 * SECOND)
                if at + pause + 10 * SECOND > last:
                    break
                at = author.act(at + pause)
    if died is not None:
        author.destroy(max(died, at + 1))
    if author.state == "started":
        machine.ups[-1] = (machine.ups[-1][0], until)
    return machine


def _instance(rng: random.Random, world: World, name: str, begin: int, until: int) -> list[Machine]:
    """The machines that served one instance one after another, or for a while at once."""
    born = rng.choice((begin, begin, rng.randint(world.start - HOUR, world.end)))
    machines: list[Machine] = []
    for number in range(3):
        left = until - born
        died = born + rng.randint(MINUTE, left) if left > DAY and rng.random() < 0.35 else None
        machines.append(_machine(rng, f"{world.tenant}-{name}-{number}", born, until, died))
        if machines[-1].died is None:
            break
        born = machines[-1].died + rng.choice((0, 100, -10 * MINUTE, 30 * MINUTE, 5 * HOUR))
        if born >= until - MINUTE or rng.random() < 0.3:
            break
    return machines


def make_world(seed: int, start: int, end: int, plans: tuple[str, ...] = ("ai-diy/standard", "aether/pro", "llamasketch/free")) -> World:
    """A tenant's world around the period [start, end), and the rows that passes wrote down of it."""
    rng = random.Random(seed)
    begin, until = start - 14 * HOUR, end + 5 * HOUR
    bad = rng.random() < 0.8
    silent = rng.randint(begin, end)
    faults = Faults(
        interval=rng.choice((HOUR, HOUR, 15 * MINUTE)),
        lag=rng.choice((0, SETTLE, SETTLE)),
        limit=rng.choice((50, 50, 8)),
        whole_seconds=rng.random() < 0.5,
        lost_pass=bad * rng.choice((0, 0, 0.2)),
        lost_events=bad * rng.choice((0, 0.2, 0.9)),
        lost_region=bad * rng.choice((0, 0, 0.2)),
        lost_segment=bad * rng.choice((0, 0, 0.2)),
        lost_row=bad * rng.choice((0, 0, 0.1)),
        doubled=rng.choice((0, 0.3)),
        silence=(silent, silent + rng.randint(HOUR, 72 * HOUR)) if bad and rng.random() < 0.3 else None,
        clipped=rng.random() < 0.5,
        close=rng.choice((0, 0.5)),
    )
    world = World(f"t{seed}", start, end, faults)
    for name in ("main", "lab")[: rng.choice((1, 1, 2))]:
        world.machines[name] = _instance(rng, world, name, begin, until)
    world.plans = [(rng.choice((begin - HOUR, begin - HOUR, rng.randint(start, end - 1))), rng.choice(plans))]
    while rng.random() < 0.35:
        world.plans.append((rng.randint(world.plans[-1][0] + 1, end + HOUR), rng.choice(plans)))
    world.logins = [(rng.randint(begin, until), f"ray-{seed}-{number}") for number in range(rng.randint(0, 12))]
    world.requests = sorted(rng.randint(begin, until) // MINUTE * MINUTE for _ in range(rng.randint(0, 30)))
    world.completions = sorted(rng.randint(begin, until) for _ in range(rng.randint(0, 300)))
    world.wiped = rng.randint(begin, until) if rng.random() < 0.3 else None
    made, size = rng.choice((begin, rng.randint(start, end))), rng.randint(1, 10)
    grown = [(rng.randint(made + 1, until), size + rng.randint(1, 5))] if rng.random() < 0.5 else []
    gone = rng.randint(max(made, *(at for at, _ in grown), made) + 1, until) if rng.random() < 0.3 else None
    world.volumes = [(f"vol-{seed}", made, gone, [(made, size), *grown])]
    world.used = [(made, 0.0)]
    for at in sorted(rng.randint(made, until) for _ in range(rng.randint(0, 12))):
        world.used.append((at, round(world.used[-1][1] + rng.random(), 3)))
    world.rows = list(_ledger(rng, world, begin, until))
    rng.shuffle(world.rows)
    return world


# What was asked and answered, and how it was written down


def pass_times(rng: random.Random, faults: Faults, begin: int, until: int) -> Iterator[int]:
    """When passes ran."""
    at = begin - begin % faults.interval + rng.randint(0, 2 * MINUTE)
    while at < until:
        is_silent = faults.silence is not None and faults.silence[0] <= at < faults.silence[1]
        if not is_silent and rng.random() >= faults.lost_pass:
            yield at
        at += faults.interval + rng.randint(-MINUTE, MINUTE)


def _close_to(moments: list[int], planned: int, within: int) -> int:
    """When the last thing before the planned time happened, if that is not long ago."""
    index = bisect_right(moments, planned)
    return moments[index - 1] if index and planned - moments[index - 1] < within else planned


def raw_machine(machine: Machine, world: World, at: int) -> Row | None:
    """What an organisation list that knows of the world up to a moment says of a machine, in Fly's words."""
    seen = machine.overview(at)
    if seen is None:
        return None
    updated, state, version = seen
    return {
        "id": machine.id,
        "state": state,
        "version": f"v{version}",
        "created_at": machine.born,
        "updated_at": updated - updated % SECOND if world.faults.whole_seconds else updated,
    }


def raw_events(machine: Machine, world: World, at: int) -> list[Row]:
    """What the events' address answers, newest first, in Fly's words."""
    listed = machine.listed(at, world.faults.limit)
    return [{"id": event.id, "type": event.type, "status": event.status, "timestamp": event.at} for event in reversed(listed)]


def _ledger(rng: random.Random, world: World, begin: int, until: int) -> Iterator[Row]:
    """The rows of all passes, after loss and doubling, each with `seen`, when it was written. Plans are never lost."""
    for at, plan in world.plans:
        yield _row(world, "plan", at=at, subject=plan, state="active", id=plan, seen=at)
    asked: dict[str, tuple[object, object]] = {}
    known: dict[str, str] = {}
    moments = sorted(event.at for machines in world.machines.values() for machine in machines for event in machine.events)
    for planned in pass_times(rng, world.faults, begin, until):
        now = (
            _close_to(moments, planned, world.faults.interval // 3) + rng.randrange(SECOND)
            if rng.random() < world.faults.close
            else planned
        )
        rows = [*_machines(rng, world, now, asked, known), *_rest(rng, world, now)]
        if rng.random() < world.faults.lost_segment:
            continue
        for row in rows:
            if rng.random() < world.faults.lost_row:
                continue
            yield {**row, "seen": now}
            if rng.random() < world.faults.doubled:
                yield {**row, "seen": now}


def _row(world: World, kind: str, **columns: object) -> Row:
    return {"kind": kind, "tenant": world.tenant, "instance": None, **columns}


def _machines(rng: random.Random, world: World, now: int, asked: dict[str, tuple[object, object]], known: dict[str, str]) -> Iterator[Row]:
    date = now - now % SECOND
    for instance, machines in world.machines.items():
        for machine in machines:
            raw = raw_machine(machine, world, now - rng.randint(0, world.faults.lag))
            if raw is None or rng.random() < world.faults.lost_region:
                continue
            yield _row(
                world,
                "machine",
                instance=instance,
                subject=machine.id,
                at=date,
                asof=date - SETTLE,
                state=raw["state"],
                id=raw["version"],
                data={"updated_at": raw["updated_at"], "created_at": raw["created_at"], "region": "fra"},
            )
            change = (raw["version"], raw["updated_at"])
            if asked.get(machine.id) == change or rng.random() < world.faults.lost_events:
                continue
            asked[machine.id] = change
            listed = list(reversed(raw_events(machine, world, now)))
            yield from _events(world, instance, machine, listed, date, known)


def _events(world: World, instance: str, machine: Machine, listed: list[Row], date: int, known: dict[str, str]) -> Iterator[Row]:
    ids = [str(event["id"]) for event in listed]
    first = ids.index(known[machine.id]) if world.faults.clipped and known.get(machine.id) in ids else 0
    times = [int(str(event["timestamp"])) for event in listed]
    if len(times) == world.faults.limit and first == 0:  # of the oldest millisecond some may be missing
        first = next((index for index, at in enumerate(times) if at > times[0]), len(times))
    if first == len(times):
        return
    begin = times[first]
    if first == 0 and (listed[0]["type"], listed[0]["status"]) == ("launch", "created"):
        begin = min(begin, machine.born)
    about = {"instance": instance, "subject": machine.id}
    end = max(begin, date, times[-1] - 1)  # an event later than the answer's whole seconds says itself that the list was read after it
    count = sum(begin <= at <= end for at in times)
    yield _row(world, "events", **about, at=begin, asof=end, value=str(count), state=STATES.get(str(listed[-1]["status"]), "unknown"))
    known[machine.id] = ids[-1]
    for event in listed[first:]:
        yield _row(
            world,
            "event",
            **about,
            at=event["timestamp"],
            asof=max(date, int(str(event["timestamp"]))) if world.faults.clipped else date,
            id=event["id"],
            state=STATES.get(str(event["status"]), "unknown"),
            data={"type": event["type"], "status": event["status"]},
        )


def _rest(rng: random.Random, world: World, now: int) -> Iterator[Row]:
    """Volumes, logins, notes of the gateway, counters."""
    date = now - now % SECOND
    since = date - 2 * world.faults.interval
    for name, made, gone, sizes in world.volumes:
        about = {"instance": "main", "subject": name, "at": date, "asof": date}
        if made <= date:
            size = [gb for at, gb in sizes if at <= date][-1]
            state = "gone" if gone is not None and gone <= date else "created"
            yield _row(world, "volume", **about, value=str(size), state=state, data={"created_at": made})
            if state != "gone" and rng.random() < 0.7:
                gb = [gb for at, gb in world.used if at <= date][-1]
                yield _row(world, "storage", instance="main", subject=name, at=date, value=str(gb))
    for at, ray in world.logins:
        if since <= at < date:
            yield _row(world, "login", at=at, id=ray, data={"who": "0" * 16})
    for hour in {at - at % HOUR for at in world.requests if since <= at < date}:
        minutes: dict[str, int] = {}
        for at in world.requests:
            if at - at % HOUR == hour and at < date:
                minute = f"{at % HOUR // MINUTE:02}"
                minutes[minute] = minutes.get(minute, 0) + 1
        about = {"instance": "main", "subject": "g1", "at": hour, "id": f"g1/{hour}/main"}
        yield _row(world, "activity", **about, value=str(sum(minutes.values())), data={"minutes": minutes})
    alive = any(machine.born <= now for machine in world.machines["main"])
    if alive and rng.random() < 0.9:
        begun = world.wiped if world.wiped is not None and world.wiped <= date else 0
        total = sum(begun <= at <= date for at in world.completions)
        yield _row(world, "counter", instance="main", subject="generations", at=date, value=str(total), data={"volume": f"vol-{begun}"})
