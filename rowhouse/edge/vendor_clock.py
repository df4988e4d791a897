"""What time it is by the clock of those who sign the tokens: notes of use are facts for a bill, and this machine's clock may be wrong.

Does: learn the `Date` of the published keys' address now and then, and go on counting from it. Does not: judge tokens; their times are
compared with this machine's clock, as every other verifier of them does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import httpx

from rowhouse.edge.roots import roots
from rowhouse.vendors.http import date_ms

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["VendorClock"]

log = logging.getLogger("rowhouse.edge.clock")

SAME_S = 2.0
"""A `Date` has whole seconds and has been under way: so small a difference is none."""
WRONG_S = 300.0
RETRY_S = 10.0


class VendorClock:
    """Seconds since the epoch, by the vendor's clock once it was heard, by this machine's until then."""

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask `url`, whose answers are the vendor's own."""
        self._url = url
        self._clock = clock
        self._monotonic = monotonic
        self._anchor: tuple[float, float] | None = None
        """(vendor's time, monotonic time) of the last answer; None where both clocks agree."""
        self._client = httpx.AsyncClient(timeout=10.0, trust_env=False, follow_redirects=False, transport=transport, verify=roots())

    def __call__(self) -> float:
        """Now."""
        if self._anchor is None:
            return self._clock()
        vendor, monotonic = self._anchor
        return vendor + self._monotonic() - monotonic

    async def refresh(self) -> bool:
        """Ask once; False when there was no usable answer, and the last one stays. Never raises."""
        try:
            heard_ms = date_ms(await self._client.head(self._url))
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            log.debug("the vendor's time was not heard: %s", type(exc).__name__)
            return False
        if heard_ms is None:
            log.debug("the vendor's answer has no time")
            return False
        vendor = heard_ms / 1000
        off = self._clock() - vendor
        if abs(off) > WRONG_S and self._anchor is None:
            log.warning("this machine's clock is %.0f s off the vendor's; notes of use have the vendor's time", off)
        self._anchor = None if -SAME_S < off < SAME_S else (vendor, self._monotonic())
        return True

    async def follow(self, every_s: float) -> None:
        """Ask for ever; soon again after a failure."""
        while True:
            heard = await self.refresh()
            await asyncio.sleep(every_s if heard else min(every_s, RETRY_S))

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
