"""Routes in the object store: whose hostname it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rowhouse.provider.clients import Clients
from rowhouse.provider.plugin import Rowhouse
from rowhouse.vendors.store import Conflict, open_store
from tests.provider.hosts import run
from tests.provider.support import Failed, engine_for

KIND = "rowhouse:edge:Route"
ROUTE = {
    "hostname": "acme.example.com",
    "upstream": "http://[fdaa::3]:80",
    "upstreamHost": "acme-1.flycast",
    "audience": "aud1",
    "tenant": "acme",
    "instance": "main",
    "access": "open",
}


def test_a_route_is_written_as_the_gateway_reads_it_and_removed(tmp_path: Path) -> None:
    async def body() -> None:
        store = open_store(tmp_path.as_uri())
        async with engine_for(Rowhouse(Clients({}, store=store))) as engine:
            await engine.up(KIND, "r", ROUTE)
            found = store.get("routes/acme.example.com.json")
            assert found is not None
            assert json.loads(found.data) == {
                "v": 1,
                "hostname": "acme.example.com",
                "upstream": "http://[fdaa::3]:80",
                "upstream_host": "acme-1.flycast",
                "audience": "aud1",
                "tenant": "acme",
                "instance": "main",
                "access": "open",
                "host": "fly",
            }
            assert engine.resources["r"].outputs["etag"] == found.etag
            imported = await engine.read(KIND, "r", "acme.example.com")
            assert imported is not None
            assert imported.inputs == engine.resources["r"].inputs
            assert imported.outputs == engine.resources["r"].outputs
            assert await engine.up(KIND, "r", {**ROUTE, "access": "closed"}) == "update"
            assert await engine.up(KIND, "r", {**ROUTE, "hostname": "acme2.example.com"}) == "replace"
            await engine.delete("r")
            assert store.list("routes/") == []
            assert await engine.read(KIND, "r", "acme2.example.com") is None

    run(body)


def test_another_tenants_hostname_is_neither_taken_nor_removed(tmp_path: Path) -> None:
    async def body() -> None:
        store = open_store(tmp_path.as_uri())
        async with engine_for(Rowhouse(Clients({}, store=store))) as engine:
            await engine.up(KIND, "theirs", ROUTE)
            with pytest.raises(Failed, match="belongs to tenant 'acme'") as caught:
                await engine.up(KIND, "ours", {**ROUTE, "tenant": "beta"})
            assert caught.value.code == "FAILED_PRECONDITION"
            kept = engine.resources["theirs"]
            kept.inputs = {**kept.inputs, "tenant": "beta"}
            await engine.delete("theirs")
            assert store.get("routes/acme.example.com.json") is not None

    run(body)


def test_an_earlier_attempts_route_is_adopted(tmp_path: Path) -> None:
    async def body() -> None:
        store = open_store(tmp_path.as_uri())
        for audience in ("aud1", "aud2"):
            async with engine_for(Rowhouse(Clients({}, store=store))) as engine:
                await engine.up(KIND, "r", {**ROUTE, "audience": audience})
        found = store.get("routes/acme.example.com.json")
        assert found is not None
        assert json.loads(found.data)["audience"] == "aud2"

    run(body)


def test_a_store_that_others_write_all_the_time_is_given_up_on(tmp_path: Path) -> None:
    class BusyStore:
        def get(self, key: str) -> None:
            return None

        def put(self, key: str, data: bytes, **_: Any) -> str:
            raise Conflict("somebody was first")

    async def body() -> None:
        async with engine_for(Rowhouse(Clients({}, store=BusyStore()))) as engine:  # type: ignore[arg-type]
            with pytest.raises(Failed, match="written by others all the time"):
                await engine.up(KIND, "r", ROUTE)

    run(body)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"hostname": "Acme.example.com"}, "hostname"),
        ({"hostname": "../x"}, "hostname"),
        ({"upstream": "fdaa::3"}, "upstream"),
        ({"upstream": "http://u:p@h"}, "upstream"),
        ({"access": "ajar"}, "access"),
        ({"host": "moon"}, "host"),
    ],
)
def test_check_refuses_what_the_gateway_could_not_use(wrong: dict[str, str], where: str) -> None:
    async def body() -> None:
        async with engine_for(Rowhouse(Clients({}))) as engine:
            _, failures = await engine.check(KIND, "r", {**ROUTE, **wrong})
            assert list(failures) == [where]

    run(body)


def test_a_route_tells_where_an_app_has_its_counters_when_it_is_not_the_usual_place(tmp_path: Path) -> None:
    async def body() -> None:
        store = open_store(tmp_path.as_uri())
        async with engine_for(Rowhouse(Clients({}, store=store))) as engine:
            await engine.up(KIND, "r", {**ROUTE, "countersPath": "/stats"})
            found = store.get("routes/acme.example.com.json")
            assert found is not None
            assert json.loads(found.data)["counters_path"] == "/stats"
            _, failures = await engine.check(KIND, "s", {**ROUTE, "countersPath": "stats"}, None)
            assert "not a path" in str(failures)

    run(body)
