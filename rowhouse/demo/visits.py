"""Opening an instance as those who may and those who may not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from rowhouse.cli.status import Row
from rowhouse.demo.stage import PromiseBrokenError, Stage
from rowhouse.localcloud.browser import Browser

__all__ = ["Visit", "hostname_of", "member_of", "visit_all"]

_REFUSED = {302, 401, 403, 404}


@dataclass
class Visit:
    """What one round of visits to one instance found; every field is the answer that was seen."""

    hostname: str
    member: str
    page: int
    websocket: str
    stranger: str
    other_tenant: str
    around_the_gate: str


def hostname_of(row: Row) -> str:
    """The instance's hostname."""
    return urlsplit(row.url).hostname or ""


def member_of(row: Row) -> str:
    """Somebody who may enter: a member by name, or a made-up person of a member domain."""
    named = [member for member in row.members if not member.startswith("@")]
    return named[0] if named else f"visitor{row.members[0]}"


async def visit_all(stage: Stage, rows: list[Row], apps: dict[tuple[str, str], str]) -> list[Visit]:
    """Visit every instance; `apps` tells the host's own name of each (tenant, instance).

    Raises: PromiseBrokenError when somebody gets in who must not, or does not who must.
    """
    # A login at somebody else's instance first: their cookie is what the thief below carries.
    browsers: dict[str, Browser] = {}
    for row in rows:
        host = hostname_of(row)
        browser = browsers[host] = Browser(stage.urls["front"])
        if not await browser.login(host, member_of(row)):
            raise PromiseBrokenError(f"{host}: {member_of(row)} is a member and could not log in")

    async def visit(index: int, row: Row) -> Visit:
        host, browser = hostname_of(row), browsers[hostname_of(row)]
        page = await browser.get(host, "/")
        _expect(page.status_code == 200 and member_of(row) in page.text, f"{host}: the member's page answered {page.status_code}")
        echoed = await _websocket(browser, host)
        stranger = await _stranger(stage, host)
        other = next(candidate for candidate in rows[index + 1 :] + rows if candidate.tenant != row.tenant)
        thief = await _thief(stage, host, browsers[hostname_of(other)], hostname_of(other))
        around = await _around(stage, apps[row.tenant, row.instance])
        return Visit(host, member_of(row), page.status_code, echoed, stranger, thief, around)

    try:
        return list(await asyncio.gather(*(visit(index, row) for index, row in enumerate(rows))))
    finally:
        for browser in browsers.values():
            await browser.aclose()


def _expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise PromiseBrokenError(otherwise)


async def _websocket(browser: Browser, host: str) -> str:
    async with browser.websocket(host, "/ws") as socket:
        await socket.send("hello from the demo")
        async with asyncio.timeout(5):
            while True:  # notes of other visitors may come in between
                answer = await socket.recv()
                if "hello from the demo" in str(answer):
                    return "echoed"


async def _stranger(stage: Stage, host: str) -> str:
    """Someone whose address no policy names: no page without a login, and no login."""
    browser = Browser(stage.urls["front"])
    try:
        page = await browser.get(host, "/")
        _expect(page.status_code in _REFUSED, f"{host}: a stranger was answered {page.status_code}")
        let_in = await browser.login(host, "stranger@elsewhere.example")
        _expect(not let_in, f"{host}: a stranger could log in")
        return f"{page.status_code}, no code"
    finally:
        await browser.aclose()


async def _thief(stage: Stage, host: str, owner: Browser, theirs: str) -> str:
    """A member of another tenant with their own valid token, as a cookie and as the header that the gateway reads."""
    token = owner.token(theirs)
    _expect(bool(token), f"{theirs}: no token to try elsewhere")
    url, header = stage.urls["front"], {"Host": f"{host}:{urlsplit(stage.urls['front']).port}"}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.get(url, headers={**header, "Cookie": f"CF_Authorization={token}", "Cf-Access-Jwt-Assertion": token})
    _expect(answer.status_code in _REFUSED, f"{host}: the token of {theirs} was answered {answer.status_code}")
    return str(answer.status_code)


async def _around(stage: Stage, app: str) -> str:
    """By the app's own name at the host: nothing may answer there."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        try:
            answer = await client.get(stage.urls["fly_public"], headers={"Host": f"{app}.fly.dev"})
        except httpx.TransportError:
            return "refused"
    _expect(answer.status_code in {404, 421, 502}, f"{app}.fly.dev answers {answer.status_code}: a public address leads around the gate")
    return f"refused ({answer.status_code})"
