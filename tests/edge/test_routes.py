"""One bad object harms nobody else, and no list empties the directory at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from rowhouse.edge.model import BadObject, clean_host, parse_hold, parse_route
from rowhouse.edge.routes import Directory
from rowhouse.vendors.store_file import FileStore
from tests.edge.support import hold, route


def test_a_half_written_object_keeps_its_last_good_value_and_harms_no_other(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    directory = Directory(store)
    store.put("routes/acme.example.json", route("acme.example", 1001))
    store.put("routes/globex.example.json", route("globex.example", 1002))
    assert asyncio.run(directory.refresh())
    store.put("routes/acme.example.json", route("acme.example", 1003)[:40])
    store.put("routes/globex.example.json", route("globex.example", 1004))
    store.put("routes/new.example.json", b"\xff")
    assert asyncio.run(directory.refresh())
    found = {name: directory.route_for(name) for name in ("acme.example", "globex.example", "new.example")}
    assert [r and r.target.port for r in found.values()] == [1001, 1004, None]
    store.put("routes/acme.example.json", route("acme.example", 1005))
    asyncio.run(directory.refresh())
    mended = directory.route_for("acme.example")
    assert mended is not None
    assert mended.target.port == 1005


def test_a_removed_route_is_gone_but_a_vanished_fleet_is_kept_for_a_while(tmp_path: Path) -> None:
    now = [0.0]
    store = FileStore(tmp_path / "s")
    directory = Directory(store, monotonic=lambda: now[0])
    names = [f"t{n}.example" for n in range(8)]
    for n, name in enumerate(names):
        store.put(f"routes/{name}.json", route(name, 1001 + n))
    asyncio.run(directory.refresh())
    store.delete("routes/t0.example.json")
    asyncio.run(directory.refresh())
    assert directory.route_for("t0.example") is None
    for name in names:
        store.delete(f"routes/{name}.json")
    asyncio.run(directory.refresh())
    assert directory.counts[0] == 7
    now[0] = 61.0
    asyncio.run(directory.refresh())
    assert directory.counts[0] == 0


@pytest.mark.parametrize("changes", [{"audience": "aud-acme.example"}, {"upstream": "http://127.0.0.1:1001"}])
def test_another_tenants_route_cannot_take_over_an_audience_or_an_address(tmp_path: Path, changes: dict[str, str]) -> None:
    store = FileStore(tmp_path / "s")
    directory = Directory(store)
    store.put("routes/acme.example.json", route("acme.example", 1001))
    asyncio.run(directory.refresh())
    store.put("routes/globex.example.json", route("globex.example", 1002, **changes))
    asyncio.run(directory.refresh())
    assert directory.route_for("acme.example") is not None
    assert directory.route_for("globex.example") is None
    fresh = Directory(store)
    asyncio.run(fresh.refresh())
    assert fresh.counts[0] == 0


@pytest.mark.parametrize("cache", [b"", b"{", b"[]", b'{"routes/": {"routes/a.json": 3}}'])
def test_a_spoilt_last_good_copy_is_as_good_as_none(tmp_path: Path, cache: bytes) -> None:
    (tmp_path / "directory.json").write_bytes(cache)
    assert not Directory(FileStore(tmp_path / "s"), tmp_path).load_cache()


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"hostname": "other.example"},
        {"upstream": "ftp://x"},
        {"upstream": "http://u:p@x"},
        {"upstream": "http://x/path"},
        {"upstream": "http://x:99999"},
        {"audience": ""},
        {"audience": None},
        {"audience": "a b"},
        {"access": "ajar"},
        {"tenant": "../x"},
        {"tenant": "a\r\nb"},
        {"upstream_host": "a\r\nX: y"},
    ],
)
def test_a_route_with_a_flaw_is_not_taken(changes: dict[str, object]) -> None:
    with pytest.raises(BadObject):
        parse_route("routes/acme.example.json", json.dumps(json.loads(route("acme.example", 1)) | changes).encode())


@pytest.mark.parametrize(
    "changes", [{"until": "soon"}, {"until": 5}, {"until": "2026-01-01T00:00:00"}, {"reason": ""}, {"tenant": "globex"}, {"v": None}]
)
def test_a_hold_with_a_flaw_is_not_taken(changes: dict[str, object]) -> None:
    with pytest.raises(BadObject):
        parse_hold("holds/acme/main.json", json.dumps(json.loads(hold()) | changes).encode())


def test_a_private_address_is_read() -> None:
    parsed = parse_route("routes/a.example.json", route("a.example", 1, upstream="http://[fdaa:0:1::3]:80"))
    assert (parsed.target.host, parsed.target.authority) == ("fdaa:0:1::3", "[fdaa:0:1::3]:80")
    assert clean_host("[::1]:80") == "[::1]"
