"""A whole business in one process: Fly, Cloudflare, gateways, apps, Stripe and a store around one pipeline; no socket, no real time.

What machines and people really did is the simulator's, which knows nothing of the code that it judges; here its truth is told as the
vendors would tell it, and each vendor, the store and the process itself can be made to fail at a chosen call.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx

from rowhouse.localcloud.clock import Clock
from rowhouse.spec.model import Plan
from rowhouse.spec.terms import terms_of, terms_text
from rowhouse.usage.close import Closing, close
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.passes import PassResult, Pipeline, reconcile
from rowhouse.usage.sink import Sink
from rowhouse.usage.sink_stripe import StripeSink
from rowhouse.usage.sources import sources_for
from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.vendors.fly import Fly
from rowhouse.vendors.store import Blob, Store
from rowhouse.vendors.stripe import Stripe
from tests.usage import simulator
from tests.usage.billing_support import PROJECT, STACK, Business, Killed, no_wait
from tests.usage.fly_world import FlyWorld, rfc
from tests.usage.rating_support import plan_of
from tests.usage.stores import MemoryStore

SECOND, MINUTE, HOUR, DAY = simulator.SECOND, simulator.MINUTE, simulator.HOUR, simulator.DAY
GATEWAY = "gw-1"
Answer = Callable[[httpx.Request], httpx.Response | None]


class StillClock(Clock):
    """Virtual time that stands still but when it is advanced, so that the same story gives the same ledger."""

    def __init__(self, start: int) -> None:
        super().__init__(datetime.fromtimestamp(start / 1000, UTC))
        self._at = start / 1000

    def timestamp(self) -> float:
        return self._frozen_at if self._frozen_at is not None else self._at

    async def advance(self, seconds: float) -> datetime:
        target = self.timestamp() + seconds
        await super().advance(seconds)
        self._at = target
        return self.now()


@dataclass
class Strike:
    """Kills the process at the call of that number, after its effect; 0 is never. Counts calls of the kinds that it looks at."""

    at: int = 0
    kinds: tuple[str, ...] = ("vendor", "write")
    count: int = 0
    seen: list[str] = field(default_factory=list)

    def hit(self, kind: str, what: str) -> None:
        if kind not in self.kinds:
            return
        self.count += 1
        self.seen.append(what)
        if self.count == self.at:
            raise Killed


class Struck:
    """A store whose writes are counted, and one of which ends the process."""

    def __init__(self, inner: Store, strike: Strike) -> None:
        self.inner, self.strike = inner, strike

    def get(self, key: str) -> Blob | None:
        return self.inner.get(key)

    def put(self, key: str, data: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        etag = self.inner.put(key, data, if_none_match=if_none_match, if_match=if_match)
        self.strike.hit("write", f"put {key}")
        return etag

    def delete(self, key: str) -> None:
        self.inner.delete(key)
        self.strike.hit("write", f"delete {key}")

    def list(self, prefix: str) -> list[tuple[str, str]]:
        return self.inner.list(prefix)


class Organisation(FlyWorld):
    """A Fly organisation that tells of the simulator's machines and volumes, as late as it likes."""

    def __init__(self, truths: Mapping[str, simulator.World]) -> None:
        super().__init__()
        self.truths = truths
        self.lag = 0
        """By how much its lists are late, ms."""
        self.limit = 50

    def rows(self) -> Iterator[tuple[simulator.World, str, simulator.Machine]]:
        for truth in self.truths.values():
            for instance, machines in truth.machines.items():
                for machine in machines:
                    if machine.born <= self.now:
                        yield truth, instance, machine

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path, request.url.params
        if path.endswith("/orgs/acme/machines"):
            return self._page(query, "machines", [row for row in self._machines(self.now - self.lag) if row["id"] not in self.hidden])
        if path.endswith("/orgs/acme/volumes"):
            return self._page(query, "volumes", self._volumes(self.now - self.lag))
        if path.startswith("/prometheus/"):
            return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": self._used()}})
        if path.endswith("/events"):
            found = next((machine for _, _, machine in self.rows() if machine.id == path.split("/")[-2]), None)
            return httpx.Response(200, json=self._listed(found)) if found else httpx.Response(404, json={"error": "gone"})
        if "/machines/" in path:
            row = next((row for row in self._machines(self.now) if row["id"] == path.split("/")[-1]), None)
            return httpx.Response(200, json=row) if row else httpx.Response(404, json={"error": "machine not found"})
        row = next((row for row in self._volumes(self.now) if row["id"] == path.split("/")[-1]), None)
        return httpx.Response(200, json=row) if row else httpx.Response(404, json={"error": "no such volume"})

    def _machines(self, at: int) -> list[dict[str, Any]]:
        found = []
        for truth, instance, machine in self.rows():
            raw = simulator.raw_machine(machine, truth, at)
            if raw is None:
                continue
            mark = {"managed-by": "rowhouse", "project": PROJECT, "stack": STACK, "tenant": truth.tenant, "instance": instance}
            row = raw | {"app_name": f"{truth.tenant}-{instance}", "name": instance, "region": "fra"}
            row |= {name: rfc(raw[name]) for name in ("created_at", "updated_at")}
            row["config"] = {"guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}, "metadata": mark}
            found.append(row)
        return found

    def _listed(self, machine: simulator.Machine) -> list[dict[str, Any]]:
        """The newest events of the present version, newest first."""
        events = machine.events[: bisect_right(machine.events, self.now, key=lambda event: event.at)]
        newest = [event for event in events[-self.limit :] if event.version == events[-1].version]
        return [
            {"id": event.id, "type": event.type, "status": event.status, "source": "user", "timestamp": event.at} for event in newest[::-1]
        ]

    def _volumes(self, at: int) -> list[dict[str, Any]]:
        found = []
        for truth in self.truths.values():
            for name, made, gone, sizes in truth.volumes:
                changes = [moment for moment, _ in sizes if moment <= at] + ([gone] if gone is not None and gone <= at else [])
                if not changes:
                    continue
                state = "destroyed" if changes[-1] == gone else "created"
                size = [gb for moment, gb in sizes if moment <= at][-1]
                row = {"id": name, "app_name": f"{truth.tenant}-main", "state": state, "size_gb": size, "region": "fra"}
                found.append(row | {"created_at": rfc(made), "updated_at": rfc(changes[-1])})
        return found

    def _used(self) -> list[dict[str, Any]]:
        found = []
        for truth in self.truths.values():
            live = [1 for _, made, gone, _ in truth.volumes if made <= self.now and (gone is None or gone > self.now)]
            known = [gb for moment, gb in truth.used if moment <= self.now]
            if live and known:
                sample = {"metric": {"app": f"{truth.tenant}-main"}, "value": [self.now / 1000, str(known[-1] * 2**30)]}
                found.append(sample)
        return found


class World(Business):
    """The business, what its tenants really do, and a new process for each pass."""

    def __init__(self, start: int, cache: Path, store: Store | None = None, **options: Any) -> None:
        super().__init__(start, **{"clock": StillClock(start), "lock_s": 0.0, **options})
        self.store: Store = store if store is not None else MemoryStore()
        self.cache = cache
        self.truths: dict[str, simulator.World] = {}
        self.applied: dict[str, list[tuple[int, str]]] = {}
        """Tenant to its plans: (when applied, plan); of one who left the plan is empty."""
        self.fly = Organisation(self.truths)
        self.skew = {"fly": 0, "cloudflare": 0}
        """By how many ms a vendor's clock is ahead."""
        self.down: set[str] = set()
        """Vendors that answer 503 to everything; `cloudflare`, `fly`, `stripe`, or `prometheus`."""
        self.rigged: Answer = lambda _request: None
        """Answers in the place of any vendor; None leaves it to the vendor."""
        self.noted_to = start
        self.made: list[Fly | Cloudflare | Stripe] = []

    # -- what happens -------------------------------------------------------------------------------------------------------------------

    def lives(self, truth: simulator.World) -> None:
        """From now on the vendors tell of this tenant, too."""
        self.truths[truth.tenant] = truth

    def note_plan(self, tenant: str, plan: Plan, state: str = "active") -> int:
        """Note terms as the provider does when Stripe has accepted them; when."""
        at = self.now() // 1000 * 1000
        terms = json.loads(terms_text({"cell": STACK, "tenant": tenant, "state": state, "plan": terms_of(plan)}))
        data = (terms_text({**terms, "v": 1, "at": at}) + "\n").encode()
        self.store.put(f"intake/plans/{tenant}/{at}-{hashlib.sha256(data).hexdigest()[:12]}.json", data)
        return at

    async def begins(self, tenant: str, ref: str) -> None:
        """A tenant's file was merged and applied: Stripe has a subscription, the ledger will have the terms."""
        plan = plan_of(ref)
        await self.join(tenant, plan)
        self.applied.setdefault(tenant, []).append((self.note_plan(tenant, plan), ref))

    async def changes(self, tenant: str, ref: str) -> None:
        """Another paid plan."""
        plan = plan_of(ref)
        await self.move(tenant, plan)
        self.applied[tenant].append((self.note_plan(tenant, plan), ref))

    async def ends(self, tenant: str) -> None:
        """The tenant's file is gone: subscription ended, terms noted as such."""
        plan = plan_of(self.applied[tenant][-1][1])
        if not plan.is_free:
            await self.leave(tenant)
        self.applied[tenant].append((self.note_plan(tenant, plan, "gone"), ""))

    def segments(self, tenant: str, start: int, end: int) -> list[tuple[int, int, str]]:
        """What a tenant was on in a span: (start, end, plan), as it was applied."""
        found = []
        applied = self.applied[tenant]
        for (at, ref), after in zip(applied, [*(at for at, _ in applied[1:]), end], strict=True):
            a, b = max(at, start), min(after, end)
            if a < b and ref:
                found.append((a, b, ref))
        return found

    async def to(self, moment: int) -> None:
        """Let time pass; the gateways write down what they saw."""
        await super().to(moment)
        self.fly.now = self.now()
        self._write_notes()

    def _write_notes(self) -> None:
        """The gateway's objects of each hour that has news: requests, and what the apps' counters said each hour's end."""
        for hour in range(self.noted_to - self.noted_to % HOUR - HOUR, self.now() + 1, HOUR):
            until = min(hour + HOUR, self.now())
            if until <= hour:
                continue
            hosts, instances = {}, []
            for truth in self.truths.values():
                minutes: dict[str, int] = {}
                for at in truth.requests[bisect_right(truth.requests, hour - 1) : bisect_right(truth.requests, until - 1)]:
                    minute = f"{at % HOUR // MINUTE:02}"
                    minutes[minute] = minutes.get(minute, 0) + 1
                if minutes:
                    hosts[f"{truth.tenant}.example.com"] = {"tenant": truth.tenant, "instance": "main", "minutes": minutes}
                if truth.machines["main"] and truth.machines["main"][0].born <= until and truth.completions:
                    read = [at for at in (hour + 30 * MINUTE, hour + HOUR - SECOND) if at <= until]
                    readings = [[at, {"generations": bisect_right(truth.completions, at)}] for at in read]
                    instances.append({"tenant": truth.tenant, "instance": "main", "readings": readings})
            name = f"{datetime.fromtimestamp(hour / 1000, UTC):%Y-%m-%dT%H}/{GATEWAY}.json"
            if hosts:
                self.store.put(f"activity/{name}", json.dumps({"v": 1, "gateway": GATEWAY, "hosts": hosts}).encode())
            if instances:
                self.store.put(f"counters/{name}", json.dumps({"v": 1, "instances": instances}).encode())
        self.noted_to = self.now()

    # -- what the vendors say -----------------------------------------------------------------------------------------------------------

    def _rigged(self, request: httpx.Request, vendor: str) -> httpx.Response | None:
        answer = self.rigged(request)
        if answer is None and (vendor in self.down or ("prometheus" in self.down and request.url.path.startswith("/prometheus/"))):
            answer = httpx.Response(503, json={"error": "down"})
        return answer

    def _dated(self, response: httpx.Response, vendor: str) -> httpx.Response:
        moment = datetime.fromtimestamp((self.now() + self.skew[vendor]) // 1000, UTC)
        response.headers["date"] = format_datetime(moment, usegmt=True)
        return response

    def _fly(self, request: httpx.Request) -> httpx.Response:
        return self._dated(self._rigged(request, "fly") or self.fly.answer(request), "fly")

    def _cloudflare(self, request: httpx.Request) -> httpx.Response:
        answer = self._rigged(request, "cloudflare")
        if answer is None:
            since = request.url.params.get("since", "")
            rows = []
            for truth in self.truths.values():
                for at, ray in truth.logins:
                    stamp = f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
                    if stamp >= since and at <= self.now():
                        row = {"user_email": f"ana@{truth.tenant}.example", "app_name": f"{PROJECT}:{STACK}:{truth.tenant}:main"}
                        rows.append(row | {"action": "login", "allowed": True, "created_at": stamp, "ray_id": ray})
            rows = sorted(rows, key=lambda row: str(row["created_at"]))[:1000]
            answer = httpx.Response(200, json={"success": True, "result": rows})
        return self._dated(answer, "cloudflare")

    def _counted(self, answer: Callable[[httpx.Request], httpx.Response], strike: Strike) -> httpx.MockTransport:
        async def send(request: httpx.Request) -> httpx.Response:
            response = answer(request)
            await asyncio.sleep(0)
            strike.hit("vendor", f"{request.method} {request.url.path}")
            return response

        return httpx.MockTransport(send)

    def _stripe(self, strike: Strike) -> httpx.MockTransport:
        async def send(request: httpx.Request) -> httpx.Response:
            answer = self._rigged(request, "stripe")
            if answer is None:
                try:
                    answer = await self.inner.handle_async_request(request)
                except AssertionError as error:  # the stand-in broke the connection off
                    raise httpx.ReadError("lost") from error
                await answer.aread()
            strike.hit("vendor", f"{request.method} {request.url.path}")
            return answer

        return httpx.MockTransport(send)

    # -- one process --------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def process(self, strike: Strike | None = None, store: Store | None = None, sink: Sink | None = None) -> Iterator[Pipeline]:
        """A new process with clients of its own."""
        hit = strike or Strike()
        ledger = Ledger(store or Struck(self.store, hit), STACK, cache=self.cache)
        fly = Fly("token", base_url="http://fly", api_url="http://fly", transport=self._counted(self._fly, hit), sleep=no_wait)
        cloudflare = Cloudflare("token", base_url="http://cf", transport=self._counted(self._cloudflare, hit), sleep=no_wait)
        stripe = Stripe("sk_test_local", base_url="http://stripe.local", transport=self._stripe(hit), sleep=no_wait)
        words = {"generations": "generations"}
        yield Pipeline(
            ledger=ledger,
            sources=lambda: sources_for(
                fly=fly,
                cloudflare=cloudflare,
                store=ledger.store,
                org="acme",
                account="a",
                project=PROJECT,
                stack=STACK,
                words={tenant: words for tenant, truth in self.truths.items() if truth.completions},
            ),
            sink=sink or StripeSink(stripe, PROJECT, STACK),
        )

    async def reconcile(self, **options: Any) -> PassResult:
        """One pass by a process of its own."""
        with self.process(**options) as pipeline:
            return await reconcile(pipeline)

    async def killed(self, at: int, kinds: tuple[str, ...] = ("vendor", "write")) -> bool:
        """A pass that dies at a call; whether it came so far."""
        try:
            await self.reconcile(strike=Strike(at, kinds))
        except (Killed, BaseExceptionGroup) as error:
            if not _is_killed(error):
                raise
            return True
        return False

    async def close_month(self, month: str, *, approve: bool = True, strike: Strike | None = None, open_next: bool = True) -> Closing:
        """What `rowhouse close` does."""
        with self.process(strike) as pipeline:
            steps = pipeline.steps(month, lambda _closing: approve)
            closing = await close(month, pipeline.sink, steps, sleep=no_wait)
            if open_next and closing.state in {"partial", "done"}:
                await asyncio.to_thread(pipeline.open_next, month)
            return closing

    # -- what came of it ----------------------------------------------------------------------------------------------------------------

    def entries(self) -> list[str]:
        """All that is in the ledger, as text, without the order in which it came."""
        return sorted({str(entry) for entry in self.ledger().read()})

    def ledger(self) -> Ledger:
        """The ledger, read anew."""
        return Ledger(self.store, STACK, cache=self.cache)

    def counted(self) -> dict[tuple[str, str], int]:
        """What Stripe counts now: (customer, meter's event) to the last total."""
        found = {}
        names = {key: meter["event_name"] for key, meter in self.vendor.state.meters.objects.items()}
        for (meter, customer), readings in self.vendor.usage.readings.items():
            if readings:
                found[customer, names.get(meter, meter)] = int(max(readings, key=lambda one: one.timestamp).value)
        return found

    def sent(self) -> list[tuple[int, int]]:
        """Every total that Stripe took: (second, value)."""
        return sorted((one.timestamp, int(one.value)) for found in self.vendor.usage.readings.values() for one in found)


def _is_killed(error: BaseException) -> bool:
    return isinstance(error, Killed) or (isinstance(error, BaseExceptionGroup) and any(_is_killed(one) for one in error.exceptions))


def quiet(tenant: str, born: int, until: int, runs: list[tuple[int, int]] | None = None) -> simulator.World:
    """A tenant whose machine ran in these spans and was stopped otherwise, with 5 GB provisioned and 2 GB used."""
    truth = simulator.World(tenant, born, until, simulator.Faults())
    machine = simulator.Machine(f"{tenant}-m1", born)
    author = simulator._Author(random.Random(0), machine)
    author.note(born, "launch", "created", state="created")
    for begin, end in runs or []:
        author.note(begin, "start", "started", state="started")
        if end < until:
            author.note(end, "exit", "stopped", state="stopped")
        else:
            machine.ups[-1] = (begin, until)
    truth.machines["main"] = [machine]
    truth.volumes = [(f"vol-{tenant}", born, None, [(born, 5)])]
    truth.used = [(born, 2.0)]
    return truth
