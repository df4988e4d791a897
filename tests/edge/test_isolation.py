"""Law 13: no request with one tenant's identity reaches another tenant's instance."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rowhouse.edge.admission import Admission, Gate
from rowhouse.edge.keys import KeySet, _parse
from rowhouse.edge.routes import Directory
from rowhouse.edge.tokens import Verifier
from rowhouse.vendors.store_file import FileStore
from tests.edge.support import ISSUER, Publisher, World, app_server, echo, route, token, world

TENANTS = ("acme", "globex", "initech")
# Made when the file is read, which may be long before the tests of a whole suite come to it: they outlive a day.
TOKENS = {name: token(f"{name}.example", email=f"ana@{name}.example", exp=int(time.time()) + 86_400) for name in TENANTS}
hosts = st.sampled_from([f"{name}.example{tail}" for name in TENANTS for tail in ("", ":80", ".", ":8080")]).flatmap(
    lambda text: st.sampled_from([text, text.upper(), text.title()])
)
planted = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "X-Forwarded-Host",
                "X-Host",
                "Forwarded",
                "X_Rowhouse_Tenant",
                "X-Rowhouse-Tenant",
                "Connection",
                "X-Original-Host",
                "Cookie",
                "X-Rowhouse-User",
            ]
        ),
        st.sampled_from(
            [
                *(f"{name}.example" for name in TENANTS),
                *TENANTS,
                "host, cf-access-jwt-assertion",
                *(f"CF_Authorization={TOKENS[name]}" for name in TENANTS),
            ]
        ),
    ),
    max_size=5,
)
attempts = st.lists(st.tuples(hosts, st.sampled_from(TENANTS), planted), min_size=1, max_size=12)


def test_whatever_is_sent_reaches_only_the_senders_own_instance(tmp_path: Path) -> None:
    """One running gateway for all examples; each example is a series of requests."""

    async def attempt(w: World, tries: list[tuple[str, str, list[tuple[str, str]]]]) -> None:
        for host, holder, headers in tries:
            answer = await w.ask(host=host, bearer=TOKENS[holder], headers=headers)
            own = host.lower().startswith(f"{holder}.")
            assert answer.status_code == (200 if own else 403)
            if own:
                assert json.loads(answer.headers["x-said"]) == [holder, f"ana@{holder}.example", holder]

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()

        async def start() -> World:
            store = FileStore(tmp_path / "store")
            for name in TENANTS:
                port = await stack.enter_async_context(app_server(named(name)))
                store.put(f"routes/{name}.example.json", route(f"{name}.example", port))
            return await stack.enter_async_context(world(tmp_path))

        w = runner.run(start())

        @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
        @given(attempts)
        def example(tries: list[tuple[str, str, list[tuple[str, str]]]]) -> None:
            runner.run(attempt(w, tries))

        try:
            example()
        finally:
            runner.run(stack.aclose())


def named(name: str) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                got = {key: value.decode() for key, value in scope["headers"]}
                said = [name, got[b"x-rowhouse-user"], got[b"x-rowhouse-tenant"]]
                message = message | {"headers": [*message["headers"], (b"x-said", json.dumps(said).encode())]}
            await send(message)

        await echo(scope, receive, sending)

    return app


names = st.sampled_from(TENANTS)
fleets = st.lists(st.tuples(names, names, st.integers(1, 4)), min_size=1, max_size=8)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(fleets)
def test_even_with_muddled_routes_an_admitted_visitor_gets_to_his_own_tenant(fleet: list[tuple[str, str, int]]) -> None:
    """Routes with swapped audiences and shared addresses, in any order of arrival."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = FileStore(Path(folder))
            directory = Directory(store)
            publisher = Publisher()
            keys = KeySet("http://unused.example", transport=httpx.MockTransport(lambda _: httpx.Response(503)))
            keys._keys = _parse(publisher.document)
            gate = Gate(directory, Verifier(keys, ISSUER))
            for tenant, audience, port in fleet:
                store.put(f"routes/{tenant}.example.json", route(f"{tenant}.example", port, audience=f"aud-{audience}.example"))
                await directory.refresh()
            served: dict[tuple[Any, ...], set[str]] = {}
            for name in TENANTS:
                known = directory.route_for(f"{name}.example")
                if known is not None:
                    served.setdefault(("audience", known.audience), set()).add(known.tenant)
                    served.setdefault(("target", known.target), set()).add(known.tenant)
                for holder in TENANTS:
                    admitted = await gate.admit(
                        [(b"host", f"{name}.example".encode()), (b"cf-access-jwt-assertion", TOKENS[holder].encode())]
                    )
                    if isinstance(admitted, Admission):
                        assert admitted.route.tenant == name
                        assert admitted.route.audience == f"aud-{holder}.example"
            assert all(len(tenants) == 1 for tenants in served.values())
            await keys.close()

    asyncio.run(run())
