"""A Cloudflare stand-in and a client for it, without sockets."""

import asyncio
from datetime import UTC, datetime

import httpx

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.cloudflare import CloudflareVendor
from rowhouse.localcloud.cloudflare_state import Switches

ACCOUNT = "00000000000000000000000000000001"
ZONE = "00000000000000000000000000000002"
TOKEN = "local-cloudflare-token-0000000000000000000"
START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
A, Z = f"accounts/{ACCOUNT}", f"zones/{ZONE}"


class Api:
    """A vendor and its API; paths are below `/client/v4/`."""

    def __init__(
        self, *, zone_name: str = "localhost", account: str = ACCOUNT, zone_id: str = ZONE, switches: Switches | None = None, **options
    ):
        self.clock = Clock(START)
        self.vendor = CloudflareVendor(
            self.clock, account=account, zone_id=zone_id, zone_name=zone_name, token=TOKEN, switches=switches, **options
        )

    def raw(self, method: str, path: str, body=None, *, token: str = TOKEN, headers: dict | None = None, **query) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.vendor.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                sent = {"authorization": f"Bearer {token}"} if headers is None else headers
                return await client.request(method, f"/client/v4/{path}", json=body, headers=sent, params=query or None)

        return asyncio.run(go())

    def ok(self, method: str, path: str, body=None, **query):
        """The result of a request that must succeed."""
        response = self.raw(method, path, body, **query)
        document = response.json()
        assert response.status_code == 200, document
        assert (document["success"], document["errors"]) == (True, [])
        return document["result"]

    def refused(self, method: str, path: str, body=None, **options) -> tuple[int, int]:
        """Status and code of a request that must fail."""
        response = self.raw(method, path, body, **options)
        document = response.json()
        assert (document["success"], document["result"]) == (False, None)
        return response.status_code, document["errors"][0]["code"]

    def advance(self, seconds: float) -> None:
        asyncio.run(self.clock.advance(seconds))

    def record(self, name: str = "acme", content: str = "192.0.2.1", kind: str = "A", **more):
        return self.ok("POST", f"{Z}/dns_records", {"name": name, "type": kind, "content": content, "ttl": 1, **more})

    def policy(self, name: str = "acme", include=None, decision: str = "allow", **more):
        rules = include or [{"email": {"email": "ana@acme.example"}}]
        return self.ok("POST", f"{A}/access/policies", {"name": name, "decision": decision, "include": rules, **more})

    def app(self, domain: str = "acme.localhost", policies=(), **more):
        held = [{"id": policy["id"], "precedence": position} for position, policy in enumerate(policies, 1)]
        return self.ok("POST", f"{A}/access/apps", {"name": domain, "domain": domain, "type": "self_hosted", "policies": held, **more})

    def tunnel(self, name: str = "edge", **more):
        return self.ok("POST", f"{A}/cfd_tunnel", {"name": name, "config_src": "cloudflare", **more})
