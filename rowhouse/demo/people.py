"""The members of the demo's tenants as they work: one browser an instance, logged in again when a session is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx
from websockets.asyncio.client import ClientConnection

from rowhouse.cli.status import Row
from rowhouse.demo.script import Act, Place
from rowhouse.demo.stage import PromiseBrokenError, Stage
from rowhouse.demo.visits import hostname_of, member_of
from rowhouse.localcloud.browser import Browser

__all__ = ["People"]

_GENERATING = {"brook-studio"}
_CRASHED = {502, 503, 504}
_LOOK_S = 0.01
_ATTEMPTS = 1000


class People:
    """Everybody at once; use as an async context manager."""

    def __init__(self, stage: Stage, rows: Mapping[Place, Row], apps: Mapping[str, Place]) -> None:
        """Send them to these instances. Args: apps: the host's own name of each."""
        self._stage, self._rows, self._apps = stage, rows, apps
        self._browsers: dict[Place, Browser] = {}
        self._open: dict[Place, ClientConnection] = {}
        self.wakings = 0
        """How often somebody came to an instance to which nobody was connected."""
        self.crashes = 0

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close every page."""
        for place in list(self._open):
            await self._leave(place)
        for browser in self._browsers.values():
            await browser.aclose()

    async def do(self, acts: list[Act]) -> None:
        """Do these side by side.

        Raises: PromiseBrokenError when a member is not served.
        """
        if not acts:
            return
        await asyncio.gather(*(self._do(act) for act in acts))
        await self._quiet({act.place for act in acts})

    async def _quiet(self, places: set[Place]) -> None:
        """Wait until only open pages are connected: a request still under way would be one that lasts for hours when the clock leaps."""
        for _ in range(_ATTEMPTS):
            machines = {(self._apps[one["app"]]): one["connections"] for one in await self._stage.uptime() if one["app"] in self._apps}
            if all(machines.get(place, 0) == (place in self._open) for place in places):
                return
            await asyncio.sleep(_LOOK_S)
        raise PromiseBrokenError(f"somebody is still connected to one of {sorted(places)}")

    async def _do(self, act: Act) -> None:
        if act.what == "leave":
            await self._leave(act.place)
        elif act.what == "crash":
            await self._crash(act.place)
        else:
            await self._visit(act.place)
            for number in range(act.notes):
                await self._write(act.place, number)
            if act.what == "arrive":
                self._open[act.place] = await self._browser(act.place).websocket(hostname_of(self._rows[act.place]), "/ws")

    async def _visit(self, place: Place) -> None:
        if place not in self._open:
            self.wakings += 1
        page = await self._asked("GET", place, "/")
        if page.status_code != 200:
            raise PromiseBrokenError(f"{hostname_of(self._rows[place])} answered a member {page.status_code}")

    async def _write(self, place: Place, number: int) -> None:
        if place[0] in _GENERATING:
            page = await self._asked("POST", place, "/generate")
        else:
            page = await self._asked("POST", place, "/notes", json={"text": f"note {number + 1}"})
        if page.status_code not in {201, 303}:
            raise PromiseBrokenError(f"{hostname_of(self._rows[place])} answered {page.status_code} to a note")

    async def _crash(self, place: Place) -> None:
        self.crashes += 1
        page = await self._asked("POST", place, "/crash")
        if page.status_code not in _CRASHED:
            raise PromiseBrokenError(f"{hostname_of(self._rows[place])} should have crashed and answered {page.status_code}")

    async def _leave(self, place: Place) -> None:
        socket = self._open.pop(place, None)
        if socket is not None:
            await socket.close()

    async def _asked(self, method: str, place: Place, path: str, **options: object) -> httpx.Response:
        row, browser = self._rows[place], self._browser(place)
        host = hostname_of(row)
        answer = await browser.request(method, host, path, **options)
        if answer.status_code == 302 and "/cdn-cgi/access/login/" in answer.headers["location"]:
            if not await browser.login(host, member_of(row)):
                raise PromiseBrokenError(f"{host}: {member_of(row)} is a member and could not log in")
            answer = await browser.request(method, host, path, **options)
        return answer

    def _browser(self, place: Place) -> Browser:
        if place not in self._browsers:
            self._browsers[place] = Browser(self._stage.urls["front"])
        return self._browsers[place]
