"""A story of months with bad days at every vendor, and the judge of what came of it; the judge rates the truth by the clean-room code.

Tenants come and go, change plans and buy packs, and their machines run, crash, are updated and destroyed, all from one seed. Passes are
dropped, killed and answered late, in part or not at all; each month is closed some time after its end, with faults of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx

from rowhouse.localcloud.stripe_faults import dropped_after_commit, error_after_commit, lock_timeout_once, rate_limited_once
from rowhouse.spec.terms import terms_of, terms_text
from rowhouse.usage.bills import Context, bills_in
from rowhouse.usage.export import check, export
from rowhouse.usage.intake import record_purchase
from rowhouse.usage.model import Bill, Window
from rowhouse.usage.passes import NoTimeError
from rowhouse.vendors.store_file import FileStore
from tests.usage import simulator
from tests.usage.rating_support import plan_of
from tests.usage.recompute import Invoice, invoices
from tests.usage.world_pipeline import DAY, HOUR, MINUTE, SECOND, World

HERE = Path(__file__).parent
PAID = (
    "aether/pro",
    "aether/team",
    "ai-diy/standard",
    "ai-diy-roadmap/hourly",
    "ai-diy-roadmap/basic",
    "my-jarvis/usage",
    "my-jarvis/fixed",
)
SELLING = ("llamasketch/starter", "llamasketch/pro")
FREE = ("aether/free", "llamasketch/free")
_FAULTS = (error_after_commit, dropped_after_commit, lock_timeout_once, rate_limited_once)
_STRIPE = ("/v1/billing/meter_events$", "/v1/invoiceitems$", "/v1/invoices$", "/v1/invoices/.*/finalize$", "/v1/subscriptions/")
_TROUBLES = re.compile(
    r"Stripe: |did not count|Stripe counts \d+ |answered (409|429|5\d\d)|did not answer|cannot be read|goes out by itself"
)

_FINDINGS = {"fly.event-unknown", "fly.events-lost", "fly.event-time"}
"""What the story's own faults lead to."""


def machine_of(rng: random.Random, name: str, born: int, until: int, died: int | None) -> simulator.Machine:
    """A machine that works by day, with crashes, updates and now and then a storm of restarts."""
    machine = simulator.Machine(name, born)
    author = simulator._Author(rng, machine)
    at = author.note(born, "launch", "created", state="created")
    last = died if died is not None else until
    while True:
        up = author.state == "started"
        storm = rng.random() < 0.004
        pause = rng.randint(1, 40 * SECOND) if storm else rng.randint(5 * MINUTE, 6 * HOUR) if up else rng.randint(20 * MINUTE, 16 * HOUR)
        if at + pause + MINUTE > last:
            break
        if storm or rng.random() < 0.2:
            at = author.act(at + pause)
        elif up:
            at = author.stop(at + pause)
        else:  # on plain days it takes a while
            author.note(at + pause, "start", "starting", state="starting")
            at = author.note(at + pause + rng.choice((300, 700, 2300)), "start", "started", state="started")
        for _ in range(rng.randint(20, 60) if storm else 0):
            if at + MINUTE + 10 * SECOND > last:
                break
            at = author.act(at + rng.randint(1, 40 * SECOND))
    if died is not None:
        author.destroy(max(died, at + 1))
    elif author.state == "started":
        machine.ups[-1] = (machine.ups[-1][0], until)
    return machine


def life_of(rng: random.Random, tenant: str, born: int, until: int, died: int | None) -> simulator.World:
    """What one tenant's machines, people and volume do from `born` on."""
    truth = simulator.World(tenant, born, until, simulator.Faults(whole_seconds=rng.random() < 0.5))
    last = died or until
    machines, at = [], born
    while True:
        end = at + rng.randint(20 * DAY, 200 * DAY)
        end = None if end > last - HOUR else end
        machines.append(machine_of(rng, f"{tenant}-m{len(machines)}", at, until, end or died))
        if end is None:
            break
        at = end + rng.choice((SECOND, 5 * MINUTE, 3 * HOUR))
    truth.machines["main"] = machines
    days = max(1, (last - born) // DAY)

    def moments(a_day: float) -> list[int]:
        return sorted(rng.randint(born, last - 1) for _ in range(int(days * a_day)))

    truth.logins = [(moment // SECOND * SECOND, f"ray-{tenant}-{number}") for number, moment in enumerate(moments(1.0))]
    truth.requests = [moment // MINUTE * MINUTE for moment in moments(3.0)]
    truth.completions = moments(rng.choice((2.0, 20.0)))
    size = rng.randint(1, 8)
    sizes = [(born, size), *((moment, size + number) for number, moment in enumerate(moments(0.01), 1))]
    truth.volumes = [(f"vol-{tenant}", born, died, sizes)]
    truth.used = [(born, 0.0)]
    for moment in moments(0.3):
        truth.used.append((moment, min(size * 1.0, round(truth.used[-1][1] + rng.random() / 4, 3))))
    return truth


class Year:
    """The story, told pass by pass."""

    def __init__(self, seed: int, tenants: int, months: list[str], folder: Path, *, interval: int = 6 * HOUR) -> None:
        self.rng = random.Random(seed)
        self.months = [Window.month(month) for month in months]
        self.names = months
        self.start, self.end = self.months[0].start, self.months[-1].end
        self.until = self.end + 5 * DAY
        self.interval, self.folder = interval, folder
        self.world = World(self.start, folder / "cache", summary_lag_s=60, report_lag_s=300)
        self.plot: list[tuple[int, str, str]] = []
        """(when, what, tenant) of what people do, in the order of time."""
        for number in range(tenants):
            self._invent(f"t{number:02}")
        self.plot.sort(reverse=True)
        self.count = Counter[str]()
        """What happened how often."""
        self.odd: list[str] = []
        """What nobody can explain."""
        self.silent = [self.rng.randint(self.start, self.end) for _ in range(max(1, len(months) // 3))]
        self.closed: dict[str, Any] = {}
        self.lost_logins: list[tuple[int, int]] = []

    def _invent(self, tenant: str) -> None:
        rng = self.rng
        begin = self.start + MINUTE if rng.random() < 0.6 else rng.randint(self.start, self.end - 3 * DAY)
        gone = rng.randint(begin + 2 * DAY, self.end - HOUR) if rng.random() < 0.25 else None
        self.world.lives(life_of(rng, tenant, begin, self.until, None if gone is None else gone + 20 * MINUTE))
        self.plot.append((begin, "begins", tenant))
        last = gone or self.end
        for _ in range(int((last - begin) / (60 * DAY) * 2 * rng.random() + 0.5)):
            self.plot.append((rng.randint(begin + HOUR, last), rng.choice(("changes", "changes", "buys")), tenant))
        if gone is not None:
            self.plot.append((gone, "ends", tenant))

    # -- telling it ---------------------------------------------------------------------------------------------------------------------

    async def tell(self, progress: Callable[[str], None] = lambda _line: None) -> None:
        """All of it, closes included; `progress` is told of each month that is closed."""
        rng = self.rng
        at = self.start + 10 * MINUTE
        waiting = [(month, window.end + rng.randint(30 * MINUTE, 30 * HOUR)) for month, window in zip(self.names, self.months, strict=True)]
        while at < self.until and (at < self.end or waiting):
            await self._live_until(at)
            if waiting and at >= waiting[0][1]:
                await self._close(waiting[0][0])
                if waiting[0][0] in self.closed:
                    progress(f"{waiting[0][0]} {json.dumps(dict(sorted(self.count.items())))}")
                    waiting.pop(0)
            elif any(silent <= at < silent + 3 * DAY for silent in self.silent) or rng.random() < 0.06:
                self.count["dropped"] += 1
            else:
                await self._pass()
            at += self.interval + rng.randint(-2 * MINUTE, 2 * MINUTE)
        if waiting:
            self.odd.append(f"{waiting[0][0]} was never closed")

    async def _live_until(self, at: int) -> None:
        while self.plot and self.plot[-1][0] <= at:
            when, what, tenant = self.plot.pop()
            await self.world.to(when)
            await self._act(what, tenant)
        await self.world.to(at)

    async def _act(self, what: str, tenant: str) -> None:
        world, rng = self.world, self.rng
        self.count[what] += 1
        world.faults.clear()  # what people do is told elsewhere; here they get through
        if what == "begins":
            await world.begins(tenant, rng.choice((*PAID, *PAID, *SELLING, *FREE)))
            return
        ref = world.applied[tenant][-1][1]
        if what == "ends":
            await world.ends(tenant)
        elif what == "buys" and ref in SELLING:
            plan = plan_of(ref)
            record_purchase(world.ledger(), tenant, plan.packs[0], plan.currency, f"pay_{tenant}_{world.now()}", at=world.now())
        elif what == "changes" and not plan_of(ref).is_free:
            await world.changes(tenant, rng.choice([other for other in (*PAID, *SELLING) if other != ref]))

    def _misfortune(self) -> int:
        """Draw this pass's faults; the call at which the process dies, or 0."""
        rng, world = self.rng, self.world
        fly = world.fly
        fly.lag, fly.limit = rng.randint(0, simulator.SETTLE), 50
        fly.error_regions, fly.hidden = [], set()
        alive = [machine.id for _, _, machine in fly.rows() if machine.died is None or machine.died > fly.now]
        if rng.random() < 0.06 and alive:
            fly.hidden = set(rng.sample(alive, min(len(alive), rng.randint(1, 4))))
            fly.error_regions = ["fra"] if rng.random() < 0.7 else []
            self.count["partial lists"] += 1
        world.down = {vendor for vendor in ("fly", "cloudflare", "prometheus", "stripe") if rng.random() < 0.03}
        self.count["down"] += len(world.down)
        world.skew["cloudflare"] = rng.choice((0, 0, -90, 60)) * SECOND
        share = rng.choice((0.0, 0.0, 0.0, 0.03, 0.2))

        def rigged(request: httpx.Request) -> httpx.Response | None:
            if rng.random() < share and (request.method == "GET" or "fly" in request.url.host):
                self.count["refused calls"] += 1
                return httpx.Response(rng.choice((429, 500, 502, 503)), json={"error": "try later"})
            if request.url.path.endswith("/events") and request.url.host == "fly" and rng.random() < 0.01:
                self.count["wrong times"] += 1
                return _mistimed(fly._answer(request), fly.now, rng)
            return None

        world.rigged = rigged
        world.faults.clear()
        for path in _STRIPE:
            if rng.random() < 0.1:
                self.count["stripe faults"] += 1
                world.faults.add(rng.choice(_FAULTS)(path))
        return rng.randint(1, 60) if rng.random() < 0.08 else 0

    async def _pass(self) -> None:
        dies = self._misfortune()
        if dies:
            if not await self._dies(dies) or self.rng.random() < 0.5:
                return
            await self._live_until(self.world.now() + 5 * MINUTE)
        try:
            result = await self.world.reconcile()
        except NoTimeError:
            self.count["no vendor"] += 1
            return
        self.count["passes"] += 1
        self.count["incomplete"] += any(not source.complete for source in result.sources.values())
        self.count["pushed"] += result.pushed
        for finding in result.findings:
            self.count[finding.rule] += 1
            if finding.rule not in _FINDINGS:
                self.odd.append(f"{result.now}: {finding}")
        reason = result.sources["cloudflare"].reason
        for match in re.finditer(r"logins from (\S+) to (\S+) may be lost", reason):
            low, high = (int(datetime.fromisoformat(text).timestamp() * 1000) for text in match.groups())
            self.lost_logins.append((low, high))
        for trouble in result.troubles:
            if not _TROUBLES.search(str(trouble)):
                self.odd.append(f"{result.now}: {trouble}")
            self.count["troubles"] += 1
        if not result.remembered:
            self.odd.append(f"{result.now}: not remembered")

    async def _dies(self, at: int) -> bool:
        try:
            died = await self.world.killed(at)
        except NoTimeError:
            return True
        self.count["killed"] += died
        return died

    async def _close(self, month: str) -> None:
        self._misfortune()
        approve = self.rng.random() < 0.7
        try:
            closing = await self.world.close_month(month, approve=approve)
        except Exception as error:  # noqa: BLE001 - whatever a vendor's failure is called, the next try must get through
            self.count[f"close failed: {type(error).__name__}"] += 1
            return
        self.count[f"close {closing.state}"] += 1
        if closing.state == "done":
            self.closed[month] = closing

    # -- judging it ---------------------------------------------------------------------------------------------------------------------

    def judge(self) -> dict[str, Any]:
        """Hold all that must hold; what there is to tell."""
        told: dict[str, Any] = {"counts": dict(self.count), "months": {}}
        assert self.odd == [], self.odd[:5]
        assert self.world.ledger().verify() == []
        charged = self._charged()
        target = FileStore(self.folder / "out")
        export(self.world.ledger(), target)
        assert check(target, "main") == []
        for month, window in zip(self.names, self.months, strict=True):
            bills, context = bills_in(self.world.ledger(), window)
            assert context.failed == {}, context.failed
            told["months"][month] = self._judge_month(month, window, bills, context, charged[month])
            context.connection.close()
        return told

    def _judge_month(self, month: str, window: Window, bills: list[Bill], context: Context, charged: dict[str, int]) -> dict[str, Any]:
        true = self._true(window)
        theirs = recomputed(self.folder / "out", month)
        assert {bill.tenant for bill in bills} == set(true) == set(theirs), month
        lost = Fraction(0)
        for bill in bills:
            mine = _cents(bill)
            exported = {(segment, meter): cents for segment, meter, cents in theirs[bill.tenant]["lines"]}
            assert mine == exported, (month, bill.tenant)  # law 7
            invoiced = charged.get(bill.tenant, 0)
            assert invoiced == sum(mine.values()), (month, bill.tenant, invoiced, mine)  # to the cent
            truth = true[bill.tenant].lines
            assert set(mine) == set(truth), (month, bill.tenant, mine, truth)
            over = {key: (cents, truth[key]) for key, cents in mine.items() if cents > truth[key]}
            assert not over, (month, bill.tenant, over)  # law 4
            lost += sum(truth.values()) - sum(mine.values())
        assert set(charged) <= {bill.tenant for bill in bills}, (month, set(charged))
        gaps = self._gaps(window, context)  # law 5
        return {"tenants": len(bills), "cents": sum(charged.values()), "lost_cents": int(lost), "gap_hours": round(gaps / HOUR, 1)}

    def _gaps(self, window: Window, context: Context) -> int:
        """Milliseconds that the spans declare as gaps. What ran and is not billed lies in them."""
        spans = defaultdict(list)
        for tenant, start, end, kind in context.connection.execute(
            "SELECT tenant, start_ms, end_ms, class FROM instance_spans ORDER BY start_ms"
        ).fetchall():
            spans[tenant, kind].append((start, end))
        total = 0
        for tenant, segments in context.usage.items():
            truth = self.world.truths[tenant]
            doubtful = [*spans[tenant, "unknown"], *spans[tenant, "inferred"]]
            total += sum(end - start for start, end in doubtful)
            for one in segments:
                gap = simulator._length(simulator._clip(doubtful, one.start, one.end))
                ran = truth.running(one.start, one.end)
                assert one.running_ms <= ran, (tenant, one.segment)
                assert ran - one.running_ms <= gap, (tenant, one.segment, ran - one.running_ms, gap)
                hours = truth.active_hours(one.start, one.end)
                near = {hour for start, end in doubtful for hour in range(start - start % HOUR, end, HOUR)}
                near |= {hour for start, end in self.lost_logins for hour in range(start - start % HOUR, end + HOUR, HOUR)}
                assert one.active_hours <= len(hours), (tenant, one.segment)
                assert len(hours - near) <= one.active_hours + 1, (tenant, one.segment)  # the hour of a change counts once
        return total

    def _true(self, window: Window) -> dict[str, Invoice]:
        """The invoices of what really was, by code that shares nothing with ours."""
        tables: dict[str, list[dict[str, Any]]] = {
            name: [] for name in ("plans", "usage_hours", "active_hours", "counter_hours", "credits")
        }
        for tenant, truth in self.world.truths.items():
            if tenant not in self.world.applied:
                continue
            taken: set[int] = set()
            for number, (start, end, ref) in enumerate(self.world.segments(tenant, *window)):
                own = {"tenant": tenant, "segment": number}
                tables["plans"].append({**own, "start_ms": start, "end_ms": end, "terms": terms_text(terms_of(plan_of(ref)))})
                hours = truth.active_hours(start, end) - taken
                taken |= hours
                tables["active_hours"] += [{**own, "hour": hour} for hour in hours]
                quantities = {"running_ms": truth.running(start, end), "inferred_ms": 0}
                quantities |= {"volume_gb_ms": truth.volume_gb_ms(start, end), "storage_gb_ms": truth.storage_gb_ms(start, end)}
                tables["usage_hours"].append({**own, "instance": "main", "hour": start, **quantities})
        for entry in self.world.ledger().read("account"):
            if entry.kind == "purchase" and window.start <= entry.at < window.end:
                bought = {"tenant": entry.tenant, "payment": entry.id, "pack": entry.subject, "size": int(entry.value or 0)}
                tables["credits"].append({**bought, "left": int(entry.value or 0), "at": entry.at, **dict(entry.data or {})})
        return invoices(window, tables)

    def _charged(self) -> dict[str, dict[str, int]]:
        """Month to tenant to the cents of all final invoices' lines that are for that month, read off Stripe's own objects."""
        state = self.world.vendor.state
        tenants = {customer: tenant for tenant, customer in self.world.customers.items()}
        found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for invoice in state.invoices.objects.values():
            if invoice["status"] in {"draft", "void"}:
                continue
            for line in asyncio.run(self._lines(invoice["id"])):
                month = (line.get("metadata") or {}).get("rowhouse_period")
                month = month or datetime.fromtimestamp(line["period"]["start"], UTC).strftime("%Y-%m")
                found[month][tenants[invoice["customer"]]] += line["amount"]
        return found

    async def _lines(self, invoice: str) -> list[dict[str, Any]]:
        return [line async for line in self.world.client().pages(f"/v1/invoices/{invoice}/lines")]


def _mistimed(answer: httpx.Response, now: int, rng: random.Random) -> httpx.Response:
    """The same events, the newest in the future, or two of them in the wrong order."""
    events = answer.json()
    if rng.random() < 0.5 and events:
        events[0]["timestamp"] = now + rng.randint(10, 3000) * SECOND
    elif len(events) > 2:
        events[0]["timestamp"], events[1]["timestamp"] = events[1]["timestamp"], events[0]["timestamp"]
    return httpx.Response(200, json=events)


def _cents(bill: Bill) -> dict[tuple[int | None, str], int]:
    found: dict[tuple[int | None, str], int] = defaultdict(int)
    for line in bill.lines:
        found[line.segment, line.meter] += int(line.amount * 100)
    return dict(found)


def recomputed(place: Path, month: str) -> dict[str, Any]:
    """What a process that cannot import rowhouse makes of an export."""
    command = [sys.executable, str(HERE / "recompute_export.py"), str(place), "main", month]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found
