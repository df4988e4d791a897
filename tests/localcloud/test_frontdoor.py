"""Cloudflare's edge: from Host header to origin."""

import asyncio
import time

import httpx
import jwt
import pytest
import websockets

from rowhouse.localcloud.frontdoor import FrontDoor
from rowhouse.localcloud.kernel import serve
from tests.localcloud.cloudflare_support import Api
from tests.localcloud.edge_support import ANA, Origin, headers_of, on_edge

PLANTED = {
    "Cf-Access-Jwt-Assertion": "planted",
    "cf_access_jwt_assertion": "planted",
    "Cf-Access-Authenticated-User-Email": "root@evil.example",
    "CF-Connecting-IP": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "CF-Ray": "planted",
}


def test_a_hostname_without_a_record_is_1016():
    async def test(edge, browser):
        edge.connect()
        answer = await browser.get("nobody.localhost")
        assert (answer.status_code, "1016" in answer.text) == (530, True)
        edge.dns("grey.localhost", proxied=False)
        assert (await browser.get("grey.localhost")).status_code == 530

    on_edge(test)


def test_a_hostname_of_another_zone_is_not_served():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        for host in ("acme.example.com", "localhost.evil.example", "xlocalhost"):
            answer = await browser.client.get(f"http://127.0.0.1:{edge.port}/", headers={"host": host})
            assert answer.status_code == 530

    on_edge(test)


def test_a_record_without_an_application_is_open():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        answer = await browser.get("acme.localhost", "/a%2Fb//c%20d?x=%20&y")
        assert answer.status_code == 200
        assert (answer.json()["path"], answer.json()["query"]) == ("/a%2Fb//c%20d", "x=%20&y")
        assert answer.headers["server"] == "cloudflare"
        assert answer.headers["cf-ray"].endswith("-LCL")

    on_edge(test)


def test_an_organization_can_deny_what_no_application_covers():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        edge.vendor.organization.replace({"name": "x", "deny_unmatched_requests": True})
        assert (await browser.get("acme.localhost")).status_code == 403
        exempt = {"name": "x", "deny_unmatched_requests": True, "deny_unmatched_requests_exempted_zone_names": ["localhost"]}
        edge.vendor.organization.replace(exempt)
        assert (await browser.get("acme.localhost")).status_code == 200

    on_edge(test)


def test_identity_that_a_client_plants_never_reaches_the_origin():
    async def test(edge, browser):
        edge.connect()
        edge.dns("open.localhost")
        edge.tenant("acme.localhost")
        assert await browser.login("acme.localhost", ANA)
        for hostname in ("open.localhost", "acme.localhost"):
            seen = (await browser.get(hostname, headers=PLANTED)).json()
            assert "planted" not in str(seen["headers"])
            assert "evil.example" not in str(seen["headers"])
            assert "203.0.113.9" not in str(seen["headers"])
            assert headers_of(seen)["x-forwarded-proto"] == "http"

    on_edge(test)


def test_the_edge_says_who_calls():
    async def test(edge, browser):
        edge.connect()
        edge.tenant("acme.localhost")
        assert await browser.login("acme.localhost", ANA)
        answer = await browser.get("acme.localhost", headers={"x-forwarded-for": "198.51.100.1"})
        seen = headers_of(answer.json())
        assert seen["cf-access-authenticated-user-email"] == ANA
        assert (seen["cf-connecting-ip"], seen["x-forwarded-for"]) == ("127.0.0.1", "198.51.100.1, 127.0.0.1")
        assert seen["cf-ray"] == answer.headers["cf-ray"]
        assert seen["host"] == f"acme.localhost:{edge.port}"

    on_edge(test)


def test_an_origin_is_told_the_times_of_a_session_by_its_own_clock():
    async def test(edge, browser):
        disconnect = edge.connect()
        app = edge.tenant(session_duration="2h")
        for jump in (0, 86400):
            await edge.clock.advance(jump)
            browser.forget()
            assert await browser.login("acme.localhost", ANA)
            cookie = jwt.decode(browser.token("acme.localhost"), options={"verify_signature": False})
            told = headers_of((await browser.get("acme.localhost")).json())["cf-access-jwt-assertion"]
            assert told == headers_of((await browser.get("acme.localhost")).json())["cf-access-jwt-assertion"]
            keys = {key["kid"]: jwt.PyJWK(key) for key in edge.vendor.signer.published()["keys"]}
            key = keys[jwt.get_unverified_header(told)["kid"]]
            claims = jwt.decode(told, key.key, algorithms=["RS256"], audience=app["aud"], issuer=edge.front.issuer, leeway=5)
            assert abs(claims["iat"] - time.time()) < 60
            assert claims["exp"] - claims["iat"] == 7200
            assert {**claims, "exp": 0, "iat": 0, "nbf": 0} == {**cookie, "exp": 0, "iat": 0, "nbf": 0}
        disconnect()
        edge.connect(follows_clock=True)
        seen = headers_of((await browser.get("acme.localhost")).json())
        assert seen["cf-access-jwt-assertion"] == browser.token("acme.localhost")

    on_edge(test)


def test_a_service_tokens_secret_stays_at_the_edge():
    async def test(edge, browser):
        edge.connect()
        token = edge.vendor.service_tokens.create({"name": "monitor"})
        edge.tenant("acme.localhost", [{"any_valid_service_token": {}}], decision="non_identity")
        given = {"CF-Access-Client-Id": token["client_id"], "CF-Access-Client-Secret": token["client_secret"]}
        answer = await browser.get("acme.localhost", headers=given)
        assert answer.status_code == 200
        assert token["client_secret"] not in answer.text

    on_edge(test)


def test_ingress_rules_match_by_hostname_wildcard_and_path_first_wins():
    async def test(edge, browser):
        edge.connect()
        edge.dns("a.localhost")
        edge.dns("b.localhost")
        edge.ingress(
            [
                {"hostname": "a.localhost", "path": "^/private", "service": "http_status:403"},
                {"hostname": "a.localhost", "service": "http://localhost:1"},
                {"hostname": "*.localhost", "path": "\\.gif$", "service": "http_status:410"},
                {"service": "http_status:404"},
            ]
        )
        wanted = {("a", "/"): 200, ("a", "/private/x"): 403, ("a", "/x.gif"): 200, ("b", "/x.gif"): 410, ("b", "/"): 404}
        for (name, path), status in wanted.items():
            assert (await browser.get(f"{name}.localhost", path)).status_code == status, (name, path)

    on_edge(test)


def test_a_tunnel_without_a_live_connector_is_1033():
    async def test(edge, browser):
        edge.dns("acme.localhost")
        answer = await browser.get("acme.localhost")
        assert (answer.status_code, "1033" in answer.text) == (530, True)
        disconnect = edge.connect()
        assert (await browser.get("acme.localhost")).status_code == 200
        disconnect()
        assert (await browser.get("acme.localhost")).status_code == 530

    on_edge(test)


def test_a_tunnel_without_configuration_is_503():
    async def test(edge, browser):
        other = edge.vendor.tunnels.create({"name": "bare"})
        edge.vendor.connect(edge.vendor.tunnels.token(other["id"]), "http://127.0.0.1:1")
        edge.dns("acme.localhost", content=f"{other['id']}.cfargotunnel.com")
        assert (await browser.get("acme.localhost")).status_code == 503

    on_edge(test)


def test_live_connectors_take_turns():
    async def test(edge, browser):
        second = Origin("second")
        async with serve(second.app) as port:
            edge.connect()
            edge.connect(port)
            edge.dns("acme.localhost")
            seen = [(await browser.get("acme.localhost")).json()["name"] for _ in range(4)]
            assert sorted(seen) == ["origin", "origin", "second", "second"]

    on_edge(test)


def test_a_connector_that_refuses_is_passed_over_with_the_whole_body():
    async def test(edge, browser):
        async with serve(Origin("gone").app) as dead:
            pass
        edge.connect(dead)
        edge.connect()
        edge.dns("acme.localhost")
        for _ in range(4):
            answer = await browser.request("POST", "acme.localhost", "/x", content=b"all of it")
            assert answer.json()["body"] == "all of it"

    on_edge(test)


def test_when_every_connector_refuses_it_is_502():
    async def test(edge, browser):
        async with serve(Origin("gone").app) as dead:
            pass
        edge.connect(dead)
        edge.dns("acme.localhost")
        assert (await browser.get("acme.localhost")).status_code == 502
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with browser.websocket("acme.localhost", "/ws"):
                pass
        assert refused.value.response.status_code == 502

    on_edge(test)


@pytest.mark.parametrize(
    ("kind", "content"), [("A", "192.0.2.1"), ("AAAA", "2001:db8::1"), ("CNAME", "app.fly.dev"), ("CNAME", "localhost")]
)
def test_a_record_that_leads_off_this_machine_is_523(kind, content):
    async def test(edge, browser):
        edge.dns("acme.localhost", content=content, kind=kind)
        assert (await browser.get("acme.localhost")).status_code == 523

    on_edge(test)


def test_a_record_to_loopback_with_a_port_or_to_a_known_public_name_is_followed():
    async def test(edge, browser):
        edge.dns("direct.localhost", content=f"127.0.0.1:{edge.origin_port}")
        edge.vendor.public_addresses["app.fly.dev"] = f"http://127.0.0.1:{edge.origin_port}"
        edge.dns("named.localhost", content="app.fly.dev")
        for hostname in ("direct.localhost", "named.localhost"):
            assert (await browser.get(hostname)).json()["name"] == "origin"
        async with serve(Origin("gone").app) as dead:
            pass
        edge.dns("dead.localhost", content=f"localhost:{dead}")
        assert (await browser.get("dead.localhost")).status_code == 521

    on_edge(test)


def test_a_wildcard_record_covers_what_has_no_record_of_its_own():
    async def test(edge, browser):
        edge.connect()
        edge.dns("*.localhost")
        edge.dns("grey.localhost", proxied=False)
        assert (await browser.get("any.localhost")).status_code == 200
        assert (await browser.get("a.b.localhost")).status_code == 200
        assert (await browser.get("grey.localhost")).status_code == 530
        edge.ingress([{"service": "http://localhost:8080"}])
        answer = await browser.client.get(f"http://127.0.0.1:{edge.port}/", headers={"host": f"localhost:{edge.port}"})
        assert answer.status_code == 530

    on_edge(test)


def test_an_answer_streams_through_before_it_is_complete():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        async with browser.client.stream("GET", browser.url("acme.localhost", "/stream")) as answer:
            chunks = answer.aiter_raw()
            assert await anext(chunks) == b"first"
            edge.origin.first_chunk_seen.set()
            assert b"".join([chunk async for chunk in chunks]) == b"second"

    on_edge(test)


def test_a_body_streams_through_before_it_is_complete():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")

        async def body():
            yield b"x" * 1000
            await asyncio.wait_for(edge.origin.first_chunk_seen.wait(), 5)
            yield b"y" * 1000

        answer = await browser.request("POST", "acme.localhost", "/upload", content=body())
        assert answer.text == "2000"

    on_edge(test)


def test_the_origin_is_let_go_when_the_caller_leaves():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        async with browser.client.stream("GET", browser.url("acme.localhost", "/endless")) as answer:
            await anext(answer.aiter_raw())
        await asyncio.wait_for(edge.origin.caller_left.wait(), 5)

    on_edge(test)


def test_a_slow_reader_slows_the_origin_down_and_gets_everything():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        async with browser.client.stream("GET", browser.url("acme.localhost", "/large?mib=128")) as answer:
            chunks = answer.aiter_raw()
            size = len(await anext(chunks))
            await asyncio.sleep(0.3)
            assert edge.origin.sent_mib < 32
            async for chunk in chunks:
                size += len(chunk)
        assert (size, edge.origin.sent_mib) == (128 * 2**20, 128)

    on_edge(test)


def test_many_requests_at_once_get_each_their_own_answer():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        answers = await asyncio.gather(*(browser.get("acme.localhost", f"/n{number}") for number in range(40)))
        assert [answer.json()["path"] for answer in answers] == [f"/n{number}" for number in range(40)]

    on_edge(test)


def test_hop_by_hop_headers_stay_between_two_neighbours():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        given = {"connection": "keep-alive, x-private", "x-private": "1", "x-public": "1", "te": "trailers"}
        seen = headers_of((await browser.get("acme.localhost", headers=given)).json())
        assert ("x-private" in seen, "te" in seen, seen["x-public"]) == (False, False, "1")

    on_edge(test)


def test_the_team_domain_is_the_address_itself_and_knows_no_websocket():
    async def test(edge, browser):
        assert edge.front.issuer == f"http://127.0.0.1:{edge.port}"
        assert edge.vendor.organization.read()["auth_domain"] == f"127.0.0.1:{edge.port}"
        answer = await browser.client.get(edge.front.issuer)
        assert (answer.status_code, answer.headers["location"]) == (302, "/mailbox")
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(f"ws://127.0.0.1:{edge.port}/", proxy=None):
                pass
        assert refused.value.response.status_code == 400

    on_edge(test)


def test_a_front_door_without_a_port_has_no_issuer_yet():
    api = Api()
    with pytest.raises(RuntimeError, match="no port"):
        _ = FrontDoor(api.vendor, api.clock).issuer


def test_headers_that_repeat_and_statuses_without_a_body_pass_unchanged():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        assert len((await browser.get("acme.localhost", "/cookies")).headers.get_list("set-cookie")) == 2
        assert (await browser.get("acme.localhost", "/status/204")).status_code == 204
        assert (await browser.get("acme.localhost", "/status/418")).status_code == 418
        head = await browser.request("HEAD", "acme.localhost", "/x")
        assert (head.status_code, head.content, head.headers["x-origin"]) == (200, b"", "origin")

    on_edge(test)


def test_an_origin_that_breaks_off_breaks_off_for_the_caller_too():
    async def breaks(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async def test(edge, browser):
        server = await asyncio.start_server(breaks, "127.0.0.1", 0)
        async with server:
            edge.connect(server.sockets[0].getsockname()[1])
            edge.dns("acme.localhost")
            with pytest.raises(httpx.RemoteProtocolError):
                await browser.get("acme.localhost")

    on_edge(test)


def test_an_origin_that_answers_nonsense_is_502():
    async def nonsense(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"what?\r\n\r\n")
        await writer.drain()
        writer.close()

    async def test(edge, browser):
        server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
        async with server:
            edge.connect(server.sockets[0].getsockname()[1])
            edge.dns("acme.localhost")
            assert (await browser.get("acme.localhost")).status_code == 502

    on_edge(test)


def test_a_websocket_passes_text_bytes_subprotocol_and_identity():
    async def test(edge, browser):
        edge.connect()
        edge.tenant("acme.localhost")
        assert await browser.login("acme.localhost", ANA)
        async with browser.websocket("acme.localhost", "/ws?x=1", headers=PLANTED, subprotocols=["notes"]) as socket:
            hello = await socket.recv()
            assert ANA in hello
            assert "planted" not in hello
            assert socket.subprotocol == "notes"
            await socket.send("hi")
            assert await socket.recv() == "origin: hi"
            await socket.send(b"abc")
            assert await socket.recv() == b"cba"
            big = "x" * 2_000_000
            await socket.send(big)
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()  # the client's own limit: the edge has none

    on_edge(test)


def test_either_side_of_a_websocket_can_close_it():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        async with browser.websocket("acme.localhost", "/ws") as socket:
            await socket.recv()
            await socket.send("close")
            await asyncio.wait_for(socket.wait_closed(), 5)
            assert (socket.close_code, socket.close_reason) == (4001, "as asked")
        async with browser.websocket("acme.localhost", "/ws") as socket:
            await socket.recv()
        await asyncio.wait_for(edge.origin.caller_left.wait(), 5)

    on_edge(test)


def test_a_websocket_is_refused_in_the_origins_words_and_at_the_gate():
    async def test(edge, browser):
        edge.connect()
        edge.dns("open.localhost")
        edge.tenant("acme.localhost")
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with browser.websocket("open.localhost", "/refuses"):
                pass
        assert (refused.value.response.status_code, refused.value.response.body) == (402, b"pay first")
        with pytest.raises(websockets.InvalidStatus) as gated:
            async with browser.websocket("acme.localhost", "/ws"):
                pass
        assert gated.value.response.status_code == 302
        assert "/cdn-cgi/access/login/acme.localhost" in gated.value.response.headers["location"]

    on_edge(test)


def test_a_tunnel_rule_can_demand_the_token_and_checks_nothing_when_it_does_not():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant("acme.localhost")
        edge.dns("open.localhost")
        access = {"required": True, "teamName": "local", "audTag": [app["aud"]]}
        edge.ingress([{"service": "http://localhost:8080", "originRequest": {"access": access}}])
        assert (await browser.get("open.localhost")).status_code == 403
        assert await browser.login("acme.localhost", ANA)
        assert (await browser.get("acme.localhost")).status_code == 200
        edge.ingress([{"service": "http://localhost:8080", "originRequest": {"access": {**access, "required": False}}}])
        assert (await browser.get("open.localhost")).status_code == 200

    on_edge(test)


def test_a_rule_can_set_the_host_header():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        edge.ingress([{"service": "http://localhost:8080", "originRequest": {"httpHostHeader": "inside.test"}}])
        assert headers_of((await browser.get("acme.localhost")).json())["host"] == "inside.test"

    on_edge(test)


def test_an_exact_hostname_wins_over_a_wildcard_and_a_longer_path_over_a_shorter():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        edge.dns("other.localhost")
        edge.gate("*.localhost", decision="deny", include=[{"everyone": {}}])
        edge.gate("acme.localhost", decision="bypass", include=[{"everyone": {}}])
        edge.gate("acme.localhost/admin")
        wanted = {"/": 200, "/administrator": 200, "/admin": 302, "/admin/x": 302, "/ADMIN": 302}
        for path, status in wanted.items():
            assert (await browser.get("acme.localhost", path)).status_code == status, path
        assert (await browser.get("other.localhost")).status_code == 302

    on_edge(test)


def test_requests_are_counted_for_the_analytics():
    async def test(edge, browser):
        edge.connect()
        edge.dns("acme.localhost")
        for _ in range(3):
            await browser.get("acme.localhost")
        assert [count for (hostname, _), count in edge.vendor.state.requests.items() if hostname == "acme.localhost"] == [3]

    on_edge(test)
