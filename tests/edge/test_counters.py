import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rowhouse.edge.counters import EVERY_S, REFUSED_S, SLOT_S, TRAIL_S, Asker, Counters
from rowhouse.edge.model import BadObject, Route, Target, parse_route
from rowhouse.edge.upstream import Dialer, Pool, Unreachable
from rowhouse.vendors.store import open_store
from tests.edge.support import app_server, route

HERE = 1_795_000_500.0


def place(instance: str = "main", port: int = 1, **more: Any) -> Route:
    return Route("acme.example", Target("http", "127.0.0.1", port), None, "aud", "acme", instance, True, "fly", **more)


class Bench:
    """Counters with a clock that moves only when they sleep, and an app that answers from a list."""

    def __init__(self, folder: Path) -> None:
        self.store = open_store(folder.as_uri())
        self.now = HERE
        self.totals: Mapping[str, int] | None = {"notes": 1}
        self.refusal: Exception | None = None
        self.asked: list[float] = []
        self.during: Callable[[], None] = lambda: None
        self.counters = Counters(self.store, "gw-1", self.ask, clock=lambda: self.now, sleep=self.sleep)

    async def ask(self, _route: Route) -> Mapping[str, int] | None:
        self.asked.append(round(self.now - HERE, 1))
        if self.refusal:
            raise self.refusal
        return self.totals

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.during()
        await asyncio.sleep(0)

    async def settle(self) -> None:
        for _ in range(200):
            await asyncio.sleep(0)

    def readings(self) -> list[tuple[int, Mapping[str, int]]]:
        found = []
        for key, _ in self.store.list("counters/"):
            blob = self.store.get(key)
            assert blob is not None
            for instance in json.loads(blob.data)["instances"]:
                found += [(at, totals) for at, totals in instance["readings"]]
        return sorted(found, key=lambda reading: reading[0])


def run(folder: Path, body: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench(folder)
        await body(bench)
        await bench.counters.close()

    asyncio.run(main())


def test_an_instance_is_asked_right_after_its_use_and_once_more_when_it_is_quiet(tmp_path: Path) -> None:
    async def body(b: Bench) -> None:
        b.counters.used(place())
        await b.settle()
        assert b.asked == [0.0, TRAIL_S]
        assert await b.counters.flush()
        assert b.readings() == [(int((HERE + TRAIL_S) * 1000), {"notes": 1})]
        assert [key for key, _ in b.store.list("counters/")] == ["counters/2026-11-18T11/gw-1.json"]

    run(tmp_path, body)


def test_an_instance_in_constant_use_is_asked_every_so_often(tmp_path: Path) -> None:
    async def body(b: Bench) -> None:
        b.during = lambda: b.counters.used(place()) if b.now < HERE + 60 else None
        b.counters.used(place())
        await b.settle()
        assert 5 <= len(b.asked) <= 60 / EVERY_S + 3
        assert b.asked[-1] >= 60

    run(tmp_path, body)


def test_without_use_nothing_is_asked_so_that_nothing_is_woken_or_kept_awake(tmp_path: Path) -> None:
    async def body(b: Bench) -> None:
        b.counters.used(place())
        b.during = lambda: setattr(b, "now", b.now + 3600)  # the vendor's time leaps: the machine may sleep by now
        await b.settle()
        assert b.asked == [0.0]

    run(tmp_path, body)


def test_what_is_used_after_a_leap_of_time_is_asked_at_once_and_not_only_when_the_wait_is_over(tmp_path: Path) -> None:
    async def body(b: Bench) -> None:
        waiting = asyncio.Event()

        async def sleep(_seconds: float) -> None:
            await waiting.wait()

        b.counters = Counters(b.store, "gw-1", b.ask, clock=lambda: b.now, sleep=sleep)
        for number in range(3):
            b.totals = {"notes": number}
            b.counters.used(place())
            await b.settle()
            b.now += 3600
        assert b.asked == [0.0, 3600.0, 7200.0]
        waiting.set()
        await b.settle()
        assert len(b.asked) == 3
        assert await b.counters.flush()
        assert [totals["notes"] for _, totals in b.readings()] == [0, 1, 2]

    run(tmp_path, body)


def test_an_app_without_counters_is_left_alone_for_an_hour(tmp_path: Path) -> None:
    async def body(b: Bench) -> None:
        b.totals = None
        for _ in range(5):
            b.counters.used(place())
            await b.settle()
        assert b.asked == [0.0]
        b.now += REFUSED_S + 1
        b.counters.used(place())
        await b.settle()
        assert len(b.asked) == 2

    run(tmp_path, body)


@pytest.mark.parametrize("refusal", [Unreachable("x"), TimeoutError(), OSError()])
def test_an_instance_that_does_not_answer_is_asked_again_at_its_next_use(tmp_path: Path, refusal: Exception) -> None:
    async def body(b: Bench) -> None:
        b.refusal = refusal
        b.counters.used(place())
        await b.settle()
        b.refusal = None
        b.counters.used(place())
        await b.settle()
        assert len(b.asked) == 3
        await b.counters.flush()
        assert len(b.readings()) == 1

    run(tmp_path, body)


def test_of_several_readings_in_five_minutes_the_last_is_kept(tmp_path: Path) -> None:
    async def body(b: Bench) -> None:
        for number in range(4):
            b.totals = {"notes": number}
            b.counters.used(place())
            await b.settle()
            b.now += 10
        b.now += SLOT_S
        b.totals = {"notes": 9}
        b.counters.used(place())
        await b.settle()
        await b.counters.flush()
        assert [totals for _, totals in b.readings()] == [{"notes": 3}, {"notes": 9}]

    run(tmp_path, body)


async def _answer(send: Any, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("status", "body", "totals"),
    [
        (200, b'{"notes": 3, "generations": 0}', {"notes": 3, "generations": 0}),
        (200, b'{"notes": -3, "a": 1.5, "b": true, "c": "4", "": 4, "d": 9007199254740992, "e": 7}', {"e": 7}),
        (200, b"[1]", None),
        (200, b"<html>", None),
        (404, b'{"notes": 3}', None),
        (200, json.dumps({f"n{number:03d}": number for number in range(90)}).encode(), {f"n{number:03d}": number for number in range(50)}),
    ],
)
def test_what_an_app_tells_is_taken_for_what_it_is(status: int, body: bytes, totals: Mapping[str, int] | None) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append((scope["raw_path"], dict(scope["headers"])[b"host"]))
            await _answer(send, status, body)

    async def main() -> None:
        async with app_server(app) as port:
            pool = Pool(Dialer(2.0))
            ask = Asker(pool)
            assert await ask(place(port=port, counters_path="/.my/counters")) == totals
            assert await ask(place(port=port, counters_path="/.my/counters")) == totals
            pool.close()

    asyncio.run(main())
    assert seen == [(b"/.my/counters", b"acme.example")] * 2


def test_an_answer_without_end_is_not_read() -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await _answer(send, 200, b'{"notes": "' + b"x" * 200_000 + b'"}')

    async def main() -> None:
        async with app_server(app) as port:
            pool = Pool(Dialer(2.0))
            with pytest.raises(Exception, match="too large"):
                await Asker(pool)(place(port=port))
            pool.close()

    asyncio.run(main())


def test_a_route_may_name_another_path_of_the_counters() -> None:
    assert parse_route("routes/acme.example.json", route("acme.example", 1)).counters_path == "/.app/counters"
    assert parse_route("routes/acme.example.json", route("acme.example", 1, counters_path="/x")).counters_path == "/x"
    for wrong in ("x", "/a b", "/a\n", 5):
        with pytest.raises(BadObject):
            parse_route("routes/acme.example.json", route("acme.example", 1, counters_path=wrong))
