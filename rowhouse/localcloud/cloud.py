"""The local cloud as a whole: three vendors, the edge in front, the private network, one clock, one process.

Not here: any knowledge of Rowhouse. Whoever uses it gets base addresses and tokens, as for the real vendors.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.cloudflare import CloudflareVendor
from rowhouse.localcloud.control import Control
from rowhouse.localcloud.fly import FlyVendor
from rowhouse.localcloud.frontdoor import FrontDoor
from rowhouse.localcloud.images import Image, Images
from rowhouse.localcloud.kernel import App, Faults, Journal, VendorMiddleware, serve
from rowhouse.localcloud.network import Network
from rowhouse.localcloud.stripe_vendor import StripeVendor

__all__ = ["ACCOUNT_ID", "CLOUDFLARE_TOKEN", "FLY_ORG", "FLY_TOKEN", "STRIPE_KEY", "ZONE_ID", "ZONE_NAME", "LocalCloud"]

ACCOUNT_ID = "00000000000000000000000000000001"
ZONE_ID = "00000000000000000000000000000002"
ZONE_NAME = "localhost"
FLY_ORG = "local"
FLY_TOKEN = "fm2_local"  # noqa: S105 - published: it opens nothing but this
CLOUDFLARE_TOKEN = "local-cloudflare-token-0000000000000000000"  # noqa: S105 - likewise
STRIPE_KEY = "sk_test_local"


class LocalCloud:
    """Everything between entering and leaving the block; nothing is left running afterwards."""

    def __init__(
        self,
        directory: Path,
        *,
        start: datetime | None = None,
        ports: Mapping[str, int] | None = None,
        images: Sequence[Image] = (),
        limits: bool = True,
    ) -> None:
        """Keep files in `directory`, begin at virtual time `start` (now), listen on `ports` by name (any free one).

        Names of ports: fly, cloudflare, stripe, front, network, control. `limits`: whether Fly's and Stripe's rate limits are enforced.
        """
        self.directory = directory.resolve()
        self.ports = dict(ports or {})
        self.clock, self.journal, self.faults = Clock(start), Journal(), Faults()
        common: dict[str, Any] = {"journal": self.journal, "faults": self.faults}
        self.cloudflare = CloudflareVendor(
            self.clock, account=ACCOUNT_ID, zone_id=ZONE_ID, zone_name=ZONE_NAME, token=CLOUDFLARE_TOKEN, **common
        )
        self.stripe = StripeVendor(self.clock, api_key=STRIPE_KEY, limits=limits)
        self.fly = FlyVendor(
            self.clock,
            self.directory / "fly",
            images=Images(images),
            connect=self.cloudflare.connect,
            token=FLY_TOKEN,
            org=FLY_ORG,
            limits=limits,
        )
        self.network = Network(self.fly)
        self.frontdoor = FrontDoor(self.cloudflare, self.clock)
        self.control = Control(self)
        self.urls: dict[str, str] = {}
        self.env: dict[str, str] = {}
        self.stop_requested = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Listen.

        Raises: OSError when a wanted port is taken.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    def stop_on_signals(self) -> None:
        """Let SIGINT, SIGTERM and SIGHUP set `stop_requested`; a second one ends at once. Called in the event loop, before anything starts.

        A shell that starts something with `&` may hand down SIGINT and SIGQUIT ignored, and what is ignored stays so in every child: here
        both get their meaning back, for machines too. SIGHUP stays ignored under `nohup`.
        """
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)

        def stop() -> None:
            self.stop_requested.set()
            for number in numbers:
                loop.remove_signal_handler(number)

        for number in numbers:
            loop.add_signal_handler(number, stop)

    async def __aexit__(self, *_exc: object) -> None:
        """End every process and listener."""
        await self._stack.aclose()

    async def _open(self) -> None:
        self.fly.runtime.clock_file = self.directory / "clock"
        self.clock.tell(self.fly.runtime.clock_file)
        clock = asyncio.create_task(self.clock.run())
        self._stack.push_async_callback(_cancelled, clock)
        self._stack.push_async_callback(self.fly.close)
        port = {"network": await self._stack.enter_async_context(self.network.serve(self.ports.get("network", 0)))}
        port["front"] = await self._stack.enter_async_context(self.frontdoor.serve(port=self.ports.get("front", 0)))
        apps: dict[str, App] = {
            "cloudflare": self.cloudflare.app,
            "stripe": self._journalled(self.stripe.app, "stripe"),
            "fly": self._journalled(self.fly.app, "fly", _without_secrets),
            "control": self.control.app,
        }
        for name, app in apps.items():
            port[name] = await self._stack.enter_async_context(serve(app, port=self.ports.get(name, 0)))
        base = {name: f"http://127.0.0.1:{number}" for name, number in port.items()}
        self.ports = port
        self.urls = {
            "front": base["front"],
            "mailbox": f"{base['front']}/mailbox",
            "fly": base["fly"],
            "fly_public": base["network"],
            "network": base["network"],
            "cloudflare": f"{base['cloudflare']}/client/v4",
            "stripe": base["stripe"],
            "control": base["control"],
        }
        self.env = {
            "FLY_API_TOKEN": FLY_TOKEN,
            "FLY_FLAPS_BASE_URL": base["fly"],
            "CLOUDFLARE_API_TOKEN": CLOUDFLARE_TOKEN,
            "CLOUDFLARE_BASE_URL": f"{base['cloudflare']}/client/v4",
            "STRIPE_API_KEY": STRIPE_KEY,
            "ROWHOUSE_STRIPE_BASE_URL": base["stripe"],
            "ROWHOUSE_ACCESS_ISSUER": base["front"],
            "ROWHOUSE_ACCESS_CERTS_URL": f"{base['front']}/cdn-cgi/access/certs",
            "ROWHOUSE_STORE_URL": f"file://{self.directory / 'store'}",
        }

    def _journalled(self, app: App, vendor: str, redact: Callable[[str, str], str] | None = None) -> App:
        return VendorMiddleware(app, vendor=vendor, clock=self.clock, journal=self.journal, faults=self.faults, redact=redact)

    def tenant_url(self, hostname: str) -> str:
        """Where a hostname of the zone is reached in a browser."""
        return f"http://{hostname}:{self.ports['front']}/"

    def dump(self) -> dict[str, Any]:
        """All vendors' own stores as plain data, without secrets."""
        return {"fly": self.fly.dump(), "cloudflare": self.cloudflare.dump(), "stripe": self.stripe.dump()}


def _without_secrets(path: str, text: str) -> str:
    """Journal text of Fly's API: what concerns secrets is left out whole."""
    return "[secret]" if text and re.search(r"/(secrets|deploy_token)(/|$)", path) else text


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
