"""Access: logging in with a code, sessions, keys, policies."""

import asyncio
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.localcloud.access import ATTEMPTS, safe_redirect
from rowhouse.localcloud.cloudflare_rules import Caller, app_for, judge
from rowhouse.localcloud.cloudflare_state import Switches
from tests.localcloud.cloudflare_support import START, Api
from tests.localcloud.edge_support import ANA, headers_of, on_edge

EVE = "eve@evil.example"


async def _code_page(edge, browser, email, hostname="acme.localhost", path="/"):
    """Walk to the page that asks for the code."""
    asked = await browser.get(hostname, path)
    page = await browser.client.get(asked.headers["location"])
    return await browser._submit(page, email=email)


def _claims(token: str, *, audience: str, keys: dict) -> dict:
    """Verify a token as any origin would, from the published keys alone."""
    kid = jwt.get_unverified_header(token)["kid"]
    key = next(jwt.PyJWK(key) for key in keys["keys"] if key["kid"] == kid)
    return jwt.decode(
        token, key.key, algorithms=["RS256"], audience=audience, options={"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    )


def test_a_member_is_led_through_the_login_and_back_to_the_page():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant()
        asked = await browser.get("acme.localhost", "/notes?id=1")
        assert asked.status_code == 302
        url = urlsplit(asked.headers["location"])
        assert (f"{url.scheme}://{url.netloc}", url.path) == (edge.front.issuer, "/cdn-cgi/access/login/acme.localhost")
        assert parse_qs(url.query) == {"kid": [app["aud"]], "redirect_url": ["/notes?id=1"]}
        code_page = await _code_page(edge, browser, ANA, path="/notes?id=1")
        mail = (await browser.mails(ANA))[-1]
        done = await browser._submit(code_page, code=mail["code"])
        assert done.headers["location"].startswith(f"http://acme.localhost:{edge.port}/cdn-cgi/access/authorized?nonce=")
        back = await browser.client.get(done.headers["location"])
        assert (back.status_code, back.headers["location"]) == (302, "/notes?id=1")
        cookie = back.headers["set-cookie"]
        assert cookie.startswith("CF_Authorization=")
        assert "HttpOnly" in cookie
        assert "Path=/;" in cookie
        assert "SameSite=lax" in cookie
        assert "Domain" not in cookie
        assert (await browser.get("acme.localhost", "/notes?id=1")).json()["path"] == "/notes"

    on_edge(test)


def test_the_token_is_what_cloudflare_gives_an_application():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant(session_duration="2h")
        assert await browser.login("acme.localhost", ANA)
        token = browser.token("acme.localhost")
        certs = (await browser.client.get(edge.front.certs_url)).json()
        assert set(certs) == {"keys", "public_cert", "public_certs"}
        claims = _claims(token, audience=app["aud"], keys=certs)
        now = int(edge.clock.timestamp())
        assert claims["aud"] == [app["aud"]]
        assert (claims["email"], claims["iss"], claims["type"]) == (ANA, edge.front.issuer, "app")
        assert claims["exp"] - claims["iat"] == 7200
        assert abs(claims["iat"] - now) < 30
        assert claims["nbf"] == claims["iat"]
        assert set(claims) == {"aud", "email", "exp", "iat", "nbf", "iss", "type", "sub", "identity_nonce", "country"}
        assert claims["sub"] == edge.vendor.people.by_email(ANA)["id"]
        assert jwt.get_unverified_header(token)["alg"] == "RS256"

    on_edge(test)


def test_a_stranger_gets_no_mail_and_the_same_page():
    async def test(edge, browser):
        edge.connect()
        edge.tenant()
        pages = {}
        for email in (ANA, EVE):
            page = await _code_page(edge, browser, email)
            hidden = page.text.split('name="login" value="')[1].split('"')[0]
            pages[email] = (page.status_code, page.text.replace(email, "X").replace(email.replace("@", "%40"), "X").replace(hidden, "L"))
        assert pages[ANA] == pages[EVE]
        assert (len(await browser.mails(ANA)), len(await browser.mails(EVE))) == (1, 0)
        assert not await browser.login("acme.localhost", EVE)
        assert (await browser.get("acme.localhost")).status_code == 302

    on_edge(test)


def test_a_wrong_code_a_spent_code_and_a_late_code_open_nothing():
    async def test(edge, browser):
        edge.connect()
        edge.tenant()
        page = await _code_page(edge, browser, ANA)
        code = (await browser.mails(ANA))[-1]["code"]
        assert len(code) == 6
        assert code.isdigit()
        wrong = f"{(int(code) + 1) % 1_000_000:06d}"
        assert (await browser._submit(page, code=wrong)).status_code == 400
        assert (await browser._submit(page, code=code)).is_redirect
        assert (await browser._submit(page, code=code)).status_code == 400
        late = await _code_page(edge, browser, ANA)
        code = (await browser.mails(ANA))[-1]["code"]
        await edge.clock.advance(601)
        assert (await browser._submit(late, code=code)).status_code == 400

    on_edge(test)


def test_attempts_are_limited_even_for_the_right_code():
    async def test(edge, browser):
        edge.connect()
        edge.tenant()
        page = await _code_page(edge, browser, ANA)
        code = (await browser.mails(ANA))[-1]["code"]
        for guess in range(ATTEMPTS):
            assert (await browser._submit(page, code=f"{(int(code) + 1 + guess) % 1_000_000:06d}")).status_code == 400
        assert (await browser._submit(page, code=code)).status_code == 400

    on_edge(test)


def test_a_code_of_one_login_opens_no_other():
    async def test(edge, browser):
        edge.connect()
        edge.tenant()
        edge.tenant("beta.localhost", [{"email": {"email": ANA}}])
        acme = await _code_page(edge, browser, ANA)
        code = (await browser.mails(ANA))[-1]["code"]
        beta = await _code_page(edge, browser, ANA, "beta.localhost")
        moved = beta.text.replace("/verify-code/beta.localhost", "/verify-code/acme.localhost")
        assert (await browser._submit(httpx.Response(200, text=moved, request=beta.request), code=code)).status_code == 400
        assert (await browser._submit(beta, code=code)).status_code == 400 or code == (await browser.mails(ANA))[-1]["code"]
        assert (await browser._submit(acme, code=code)).is_redirect

    on_edge(test)


def test_the_way_back_is_good_once_on_its_hostname_and_for_a_minute():
    async def test(edge, browser):
        edge.connect()
        edge.tenant()
        edge.tenant("beta.localhost")

        async def nonce() -> str:
            browser.forget()
            page = await _code_page(edge, browser, ANA)
            done = await browser._submit(page, code=(await browser.mails(ANA))[-1]["code"])
            return done.headers["location"].rpartition("=")[2]

        path = "/cdn-cgi/access/authorized?nonce="
        once = await nonce()
        assert (await browser.get("acme.localhost", path + once)).status_code == 302
        assert (await browser.get("acme.localhost", path + once)).status_code == 400
        assert (await browser.get("beta.localhost", path + await nonce())).status_code == 400
        late = await nonce()
        await edge.clock.advance(61)
        answer = await browser.get("acme.localhost", path + late)
        assert (answer.status_code, "set-cookie" in answer.headers) == (400, False)

    on_edge(test)


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil",
        "javascript:alert(1)",
        "",
        "/a\r\nSet-Cookie: x",
        "/\t/evil",
        "evil",
    ],
)
def test_a_login_never_leads_to_another_place(wanted):
    assert safe_redirect(wanted) == "/"


@given(st.text(max_size=30))
def test_a_redirect_is_always_a_path_on_the_same_host(wanted):
    target = safe_redirect(wanted)
    resolved = urlsplit(httpx.URL("http://acme.localhost/x").join(target).raw_path.decode("latin-1"))
    assert target.startswith("/")
    assert not target.startswith("//")
    assert not resolved.netloc


def test_an_open_redirect_through_the_whole_login_ends_at_home():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant()
        url = f"{edge.front.issuer}/cdn-cgi/access/login/acme.localhost?kid={app['aud']}&redirect_url=https%3A%2F%2Fevil.example%2F"
        page = await browser._submit(await browser.client.get(url), email=ANA)
        done = await browser._submit(page, code=(await browser.mails(ANA))[-1]["code"])
        assert (await browser.client.get(done.headers["location"])).headers["location"] == "/"

    on_edge(test)


def test_a_token_of_another_application_another_team_or_no_signature_is_sent_to_the_login():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant()
        edge.tenant("beta.localhost")
        assert await browser.login("beta.localhost", ANA)
        beta = browser.token("beta.localhost")
        claims = jwt.decode(beta, options={"verify_signature": False})
        mine = {**claims, "aud": [app["aud"]]}
        sign = edge.vendor.signer.sign
        bad = {
            "another application": beta,
            "another issuer": sign({**mine, "iss": "http://127.0.0.1:1"}),
            "over": sign({**mine, "iat": mine["iat"] - 100_000, "exp": mine["iat"] - 1}),
            "not yet": sign({**mine, "iat": mine["iat"] + 3600}),
            "no signature": jwt.encode(mine, None, algorithm="none", headers={"kid": jwt.get_unverified_header(beta)["kid"]}),
            "another key": jwt.encode(mine, "x" * 40, algorithm="HS256", headers={"kid": jwt.get_unverified_header(beta)["kid"]}),
            "nonsense": "abc",
        }
        for name, token in bad.items():
            for given_as in ({"cookie": f"CF_Authorization={token}"}, {"cf-access-token": token}):
                assert (await browser.get("acme.localhost", headers=given_as)).status_code == 302, name
        good = await browser.get("acme.localhost", headers={"cf-access-token": sign(mine)})
        assert good.status_code == 200

    on_edge(test)


def test_a_session_ends_with_the_applications_duration_on_the_virtual_clock():
    async def test(edge, browser):
        edge.connect()
        edge.tenant(session_duration="30m")
        assert await browser.login("acme.localhost", ANA)
        await edge.clock.advance(1700)
        assert (await browser.get("acme.localhost")).status_code == 200
        await edge.clock.advance(200)
        assert (await browser.get("acme.localhost")).status_code == 302
        assert await browser.login("acme.localhost", ANA)

    on_edge(test)


def test_sessions_are_ended_by_logout_by_application_and_by_user():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant()

        async def entered() -> bool:
            token = browser.token("acme.localhost")
            return (await browser.get("acme.localhost", headers={"cf-access-token": token})).status_code == 200

        assert await browser.login("acme.localhost", ANA)
        token = browser.token("acme.localhost")
        assert (await browser.get("acme.localhost", "/cdn-cgi/access/logout")).status_code == 200
        assert browser.token("acme.localhost") == ""
        assert (await browser.get("acme.localhost", headers={"cf-access-token": token})).status_code == 302
        for end in (
            lambda: edge.vendor.apps.revoke_tokens(app["id"]),
            lambda: edge.vendor.people.revoke({"email": ANA}),
            lambda: edge.vendor.people.change_seats([{"seat_uid": edge.vendor.people.by_email(ANA)["seat_uid"], "access_seat": False}]),
        ):
            browser.forget()
            assert await browser.login("acme.localhost", ANA)
            assert await entered()
            end()
            assert not await entered()

    on_edge(test)


def test_get_identity_tells_who_is_logged_in():
    async def test(edge, browser):
        edge.connect()
        edge.tenant()
        path = "/cdn-cgi/access/get-identity"
        assert (await browser.get("acme.localhost", path)).status_code == 400
        assert await browser.login("acme.localhost", ANA)
        identity = (await browser.get("acme.localhost", path)).json()
        assert (identity["email"], identity["idp"]["type"], identity["geo"]) == (ANA, "onetimepin", {"country": "XX"})

    on_edge(test)


def test_keys_rotate_and_the_previous_one_is_good_for_seven_days():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant(session_duration="720h")
        edge.vendor.policies.replace(
            edge.vendor.state.apps.get(app["id"])["policies"][0]["id"],
            {"name": "p", "decision": "allow", "include": [{"email": {"email": ANA}}], "session_duration": "720h"},
        )

        async def kids() -> list[str]:
            return [key["kid"] for key in (await browser.client.get(edge.front.certs_url)).json()["keys"]]

        (first,) = await kids()
        assert await browser.login("acme.localhost", ANA)
        second = edge.vendor.rotate_keys()
        assert await kids() == [second, first]
        assert (await browser.get("acme.localhost")).status_code == 200
        await edge.clock.advance(timedelta(days=7, seconds=-60).total_seconds())
        assert (await browser.get("acme.localhost")).status_code == 200
        await edge.clock.advance(120)
        assert await kids() == [second]
        assert (await browser.get("acme.localhost")).status_code == 302
        browser.forget()
        assert await browser.login("acme.localhost", ANA)
        assert jwt.get_unverified_header(browser.token("acme.localhost"))["kid"] == second

    on_edge(test)


def test_keys_rotate_by_themselves_every_six_weeks():
    api = Api()
    first = api.vendor.signer.published()["keys"][0]["kid"]
    api.advance(timedelta(days=41).total_seconds())
    assert [key["kid"] for key in api.vendor.signer.published()["keys"]] == [first]
    api.advance(timedelta(days=2).total_seconds())
    kids = [key["kid"] for key in api.vendor.signer.published()["keys"]]
    assert (len(kids), kids[1], kids[0] != first) == (2, first, True)
    api.advance(timedelta(days=8).total_seconds())
    assert [key["kid"] for key in api.vendor.signer.published()["keys"]] == kids[:1]


def test_18_a_login_takes_a_seat_and_is_refused_when_none_is_left():
    async def test(edge, browser):
        edge.connect()
        edge.tenant("acme.localhost", [{"email_domain": {"domain": "acme.example"}}])
        assert await browser.login("acme.localhost", ANA)
        async with edge.browser() as other:
            page = await _code_page(edge, other, "bob@acme.example")
            refused = await other._submit(page, code=(await other.mails("bob@acme.example"))[-1]["code"])
            assert (refused.status_code, "seat" in refused.text) == (403, True)
        rows = edge.vendor.log.listing({"direction": "asc"}).items
        assert [(row["user_email"], row["allowed"]) for row in rows] == [(ANA, True), ("bob@acme.example", False)]
        edge.vendor.people.change_seats([{"seat_uid": edge.vendor.people.by_email(ANA)["seat_uid"], "access_seat": False}])
        async with edge.browser() as other:
            assert await other.login("acme.localhost", "bob@acme.example")

    on_edge(test, switches=Switches(seats=1))


def test_17_a_login_is_in_the_access_log():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant()
        assert await browser.login("acme.localhost", ANA)
        (row,) = edge.vendor.log.listing({}).items
        wanted = {"user_email": ANA, "app_uid": app["id"], "app_domain": "acme.localhost", "action": "login", "connection": "onetimepin"}
        assert row | wanted == row
        assert (row["allowed"], row["ip_address"]) == (True, "127.0.0.1")
        user = edge.vendor.people.by_email(ANA)
        assert user["last_successful_login"] == row["created_at"]
        assert len(edge.vendor.people.active_sessions(user["id"]).items) == 1
        for _ in range(3):
            await browser.get("acme.localhost")
        assert len(edge.vendor.log.listing({}).items) == 1

    on_edge(test)


def test_somebody_removed_between_mail_and_code_is_refused_and_logged():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant()
        assert await browser.login("acme.localhost", ANA)
        browser.forget()
        page = await _code_page(edge, browser, ANA)
        edge.vendor.apps.replace(app["id"], {"name": "a", "domain": "acme.localhost", "type": "self_hosted", "policies": []})
        refused = await browser._submit(page, code=(await browser.mails(ANA))[-1]["code"])
        assert refused.status_code == 403
        assert [row["allowed"] for row in edge.vendor.log.listing({}).items] == [False, True]
        assert len(edge.vendor.people.failed_logins(edge.vendor.people.by_email(ANA)["id"]).items) == 1

    on_edge(test)


def test_18_a_service_token_enters_without_a_seat_and_a_wrong_one_does_not():
    async def test(edge, browser):
        edge.connect()
        token = edge.vendor.service_tokens.create({"name": "monitor"})
        app = edge.tenant("acme.localhost", [{"service_token": {"token_id": token["id"]}}], decision="non_identity")
        given = {"CF-Access-Client-Id": token["client_id"], "CF-Access-Client-Secret": token["client_secret"]}
        answer = await browser.get("acme.localhost", headers=given)
        seen = headers_of(answer.json())
        claims = jwt.decode(seen["cf-access-jwt-assertion"], options={"verify_signature": False})
        assert (claims["common_name"], claims["sub"], claims["aud"]) == (token["client_id"], "", [app["aud"]])
        assert "cf-access-authenticated-user-email" not in seen
        assert edge.vendor.dump()["users"] == []
        assert edge.vendor.log.listing({}).items == []
        assert answer.headers["set-cookie"].startswith("CF_Authorization=")
        browser.forget()
        wrong = await browser.get("acme.localhost", headers={**given, "CF-Access-Client-Secret": "x"})
        assert (wrong.status_code, "Forbidden" in wrong.text) == (403, True)

    on_edge(test)


def test_a_script_and_a_service_get_401_instead_of_a_login_page():
    async def test(edge, browser):
        edge.connect()
        edge.tenant()
        script = await browser.get("acme.localhost", headers={"X-Requested-With": "XMLHttpRequest"})
        assert (script.status_code, "location" in script.headers) == (401, False)
        edge.tenant("api.localhost", [{"any_valid_service_token": {}}], decision="non_identity", service_auth_401_redirect=True)
        assert (await browser.get("api.localhost")).status_code == 401

    on_edge(test)


def test_a_bypass_lets_in_without_identity_and_a_preflight_only_where_wanted():
    async def test(edge, browser):
        edge.connect()
        edge.tenant("open.localhost", [{"everyone": {}}], decision="bypass")
        answer = await browser.get("open.localhost")
        assert "cf-access-jwt-assertion" not in headers_of(answer.json())
        edge.tenant("acme.localhost", options_preflight_bypass=True)
        edge.tenant("beta.localhost")
        assert (await browser.request("OPTIONS", "acme.localhost")).status_code == 200
        assert (await browser.get("acme.localhost")).status_code == 302
        assert (await browser.request("OPTIONS", "beta.localhost")).status_code == 302

    on_edge(test)


def test_cookie_attributes_follow_the_application():
    async def test(edge, browser):
        edge.connect()
        edge.tenant(
            "acme.localhost/notes", http_only_cookie_attribute=False, same_site_cookie_attribute="strict", path_cookie_attribute=True
        )
        page = await _code_page(edge, browser, ANA, path="/notes")
        done = await browser._submit(page, code=(await browser.mails(ANA))[-1]["code"])
        location = urlsplit(done.headers["location"])
        back = await browser.get("acme.localhost", f"{location.path}?{location.query}")
        assert back.status_code == 302, back.text
        cookie = back.headers["set-cookie"]
        assert "HttpOnly" not in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/notes;" in cookie

    on_edge(test)


def test_the_login_of_an_application_that_is_none_is_404():
    async def test(edge, browser):
        app = edge.tenant()
        for hostname, kid in (("acme.localhost", "0" * 64), ("beta.localhost", app["aud"]), ("<script>", app["aud"])):
            url = httpx.URL(f"{edge.front.issuer}/cdn-cgi/access/login/{hostname}", params={"kid": kid})
            answer = await browser.client.get(url)
            assert answer.status_code == 404
            assert "<script>" not in answer.text

    on_edge(test)


def test_what_people_type_is_escaped_and_an_address_that_is_none_is_asked_for_again():
    async def test(edge, browser):
        edge.connect()
        edge.tenant(name='<b onload="x">')
        asked = await browser.get("acme.localhost")
        page = await browser.client.get(asked.headers["location"])
        assert "<b onload" not in page.text
        again = await browser._submit(page, email='"><script>')
        assert (again.status_code, "<script>" in again.text) == (400, False)
        assert "default-src 'none'" in again.headers["content-security-policy"]
        assert '<link rel="icon" href="data:,">' in again.text
        assert "img-src data:;" in again.headers["content-security-policy"]

    on_edge(test)


def test_the_mailbox_is_a_page_and_a_document():
    async def test(edge, browser):
        edge.connect()
        edge.tenant()
        assert await browser.login("acme.localhost", ANA)
        (mail,) = await browser.mails("ANA@acme.example")
        assert set(mail) == {"number", "to", "subject", "code", "at"}
        page = await browser.client.get(f"{edge.front.issuer}/mailbox")
        assert mail["code"] in page.text
        assert mail["code"] not in (await browser.client.get(f"{edge.front.issuer}/mailbox", params={"to": EVE})).text
        assert (await browser.client.get(f"{edge.front.issuer}/nothing")).status_code == 404

    on_edge(test)


def test_a_browser_that_says_who_it_is_by_forwarded_headers_is_not_believed():
    async def test(edge, browser):
        edge.connect()
        edge.tenant("acme.localhost", [{"ip": {"ip": "10.0.0.0/8"}}], decision="bypass")
        assert (await browser.get("acme.localhost", headers={"x-forwarded-for": "10.1.2.3"})).status_code == 403

    on_edge(test)


def _policy(decision: str, include: list, **more) -> dict:
    return {"decision": decision, "include": include, "exclude": [], "require": [], **more}


EVERYONE = [{"everyone": {}}]
MEMBER = [{"email": {"email": "Ana@Acme.example"}}]
DOMAIN = [{"email_domain": {"domain": "acme.example"}}]


@pytest.mark.parametrize(
    ("policies", "caller", "outcome"),
    [
        ([], Caller(email=ANA), "deny"),
        ([_policy("allow", MEMBER)], Caller(email=ANA), "allow"),
        ([_policy("allow", MEMBER)], Caller(email="ana@acme.example.evil"), "deny"),
        ([_policy("allow", DOMAIN)], Caller(email="bob@acme.example"), "allow"),
        ([_policy("allow", DOMAIN)], Caller(email="bob@evilacme.example"), "deny"),
        ([_policy("allow", DOMAIN)], Caller(email="bob@acme.example@evil.example"), "deny"),
        ([_policy("allow", EVERYONE)], Caller(), "deny"),
        ([_policy("allow", EVERYONE, exclude=MEMBER)], Caller(email=ANA), "deny"),
        ([_policy("allow", DOMAIN, require=MEMBER)], Caller(email="bob@acme.example"), "deny"),
        ([_policy("allow", DOMAIN, require=[*MEMBER, {"ip": {"ip": "10.0.0.0/8"}}])], Caller(email=ANA, ip="10.9.9.9"), "allow"),
        ([_policy("allow", DOMAIN, require=[*MEMBER, {"ip": {"ip": "10.0.0.0/8"}}])], Caller(email=ANA, ip="11.9.9.9"), "deny"),
        ([_policy("deny", MEMBER, precedence=1), _policy("allow", DOMAIN, precedence=2)], Caller(email=ANA), "deny"),
        ([_policy("deny", MEMBER, precedence=2), _policy("allow", DOMAIN, precedence=1)], Caller(email=ANA), "allow"),
        ([_policy("deny", EVERYONE, precedence=1), _policy("bypass", EVERYONE, precedence=2)], Caller(), "bypass"),
        ([_policy("non_identity", [{"service_token": {"token_id": "t"}}])], Caller(service_token_id="t"), "service"),
        ([_policy("non_identity", [{"service_token": {"token_id": "t"}}])], Caller(service_token_id="u"), "deny"),
        ([_policy("non_identity", [{"any_valid_service_token": {}}])], Caller(), "deny"),
        ([_policy("allow", [{"group": {"id": "staff"}}])], Caller(email=ANA), "allow"),
        ([_policy("allow", [{"group": {"id": "gone"}}])], Caller(email=ANA), "deny"),
        ([_policy("allow", [{"group": {"id": "circle"}}])], Caller(email=ANA), "deny"),
        ([_policy("allow", [{"github-organization": {"name": "x"}}])], Caller(email=ANA), "deny"),
    ],
)
def test_policies_mean_what_they_say(policies, caller, outcome):
    groups = {"staff": _policy("", MEMBER), "circle": _policy("", [{"group": {"id": "circle"}}])}
    assert judge(policies, caller, groups).outcome == outcome


@given(st.text(max_size=20), st.sampled_from(["allow", "deny"]))
def test_nobody_passes_a_policy_for_one_address_but_that_address(email, decision):
    verdict = judge([_policy(decision, MEMBER)], Caller(email=email.lower()), {})
    assert (verdict.outcome == "allow") == (decision == "allow" and email.lower() == ANA)


@given(st.text(alphabet="ab.", max_size=8))
def test_a_wildcard_covers_names_below_it_and_nothing_else(name):
    app = {"type": "self_hosted", "destinations": [{"type": "public", "uri": "*.a.b"}]}
    covered = app_for([app], name, "/") is not None
    assert covered == (name.endswith(".a.b") and len(name) > 4)


def test_sessions_are_seen_through_the_api():
    async def test(edge, browser):
        edge.connect()
        app = edge.tenant()
        assert await browser.login("acme.localhost", ANA)
        people = edge.vendor.people
        user = people.by_email(ANA)["id"]
        (session,) = people.active_sessions(user).items
        assert session["metadata"]["apps"][app["id"]]["hostname"] == "acme.localhost"
        seen = people.session(user, session["name"])
        assert (seen["email"], seen["isActive"]) == (ANA, True)
        assert people.last_seen_identity(user)["email"] == ANA
        await edge.clock.advance(25 * 3600)
        assert people.active_sessions(user).items == []
        assert people.session(user, session["name"])["isActive"] is False

    on_edge(test)


def test_keys_are_rotated_through_the_api_too():
    api = Api()
    first = api.ok("GET", "accounts/00000000000000000000000000000001/access/keys")
    assert first["key_rotation_interval_days"] == 42
    assert 41 < first["days_until_next_rotation"] <= 42
    api.advance(86400)
    kid = api.vendor.signer.published()["keys"][0]["kid"]
    again = api.ok("POST", "accounts/00000000000000000000000000000001/access/keys/rotate")
    assert again["last_key_rotation_at"] > first["last_key_rotation_at"]
    assert [key["kid"] for key in api.vendor.signer.published()["keys"]][1] == kid


def test_a_start_in_another_year_changes_nothing():
    async def test(edge, browser):
        edge.connect()
        edge.tenant()
        assert abs(edge.clock.timestamp() - START.timestamp()) < 60
        assert await browser.login("acme.localhost", ANA)

    on_edge(test)


def test_two_people_log_in_at_once():
    async def test(edge, browser):
        edge.connect()
        edge.tenant("acme.localhost", DOMAIN)
        async with edge.browser() as other:
            both = await asyncio.gather(browser.login("acme.localhost", ANA), other.login("acme.localhost", "bob@acme.example"))
            assert both == [True, True]
            seen = [headers_of((await one.get("acme.localhost")).json()) for one in (browser, other)]
            assert [headers["cf-access-authenticated-user-email"] for headers in seen] == [ANA, "bob@acme.example"]

    on_edge(test)
