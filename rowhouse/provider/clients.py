"""The vendors that one plugin process talks to, each opened at its first use.

Does: credentials from the environment, one client a vendor, the sieve that every message passes. Does not: ask for a credential that
nothing needs, so that previews and offline reviews need none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

import httpx

from rowhouse.hiding import hidden
from rowhouse.vendors.fly import Fly
from rowhouse.vendors.store import Store, default_store_url, open_store
from rowhouse.vendors.stripe import Stripe

__all__ = ["Clients"]

_CREDENTIALS: Final = (
    "FLY_API_TOKEN",
    "RAILWAY_API_TOKEN",
    "CLOUDFLARE_API_TOKEN",
    "STRIPE_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PULUMI_CONFIG_PASSPHRASE",
    "PULUMI_ACCESS_TOKEN",
)
_SHORTEST: Final = 6
"""Values shorter than this are not looked for in messages: they would blot out ordinary words."""


class Clients:
    """Fly, Stripe and the object store of this process's environment."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        fly_transport: httpx.AsyncBaseTransport | None = None,
        stripe_transport: httpx.AsyncBaseTransport | None = None,
        store: Store | None = None,
    ) -> None:
        self.environment = os.environ if environment is None else environment
        self._fly_transport = fly_transport
        self._stripe_transport = stripe_transport
        self._fly: Fly | None = None
        self._stripe: Stripe | None = None
        self._given_store = store
        self._stores: dict[str, Store] = {}
        self.newborn_customers: set[str] = set()
        """Customers that this very process made and that have no subscription yet, so that none needs to be looked for."""
        self._secrets = {self.environment[name] for name in _CREDENTIALS if len(self.environment.get(name, "")) >= _SHORTEST}

    @property
    def fly(self) -> Fly:
        """Fly; raises MissingToken."""
        if self._fly is None:
            self._fly = Fly.from_environment(self.environment, transport=self._fly_transport)
        return self._fly

    @property
    def stripe(self) -> Stripe:
        """Stripe; raises MissingToken."""
        if self._stripe is None:
            self._stripe = Stripe.from_environment(self.environment, transport=self._stripe_transport)
        return self._stripe

    def store(self, url: str | None = None) -> Store:
        """The object store: `ROWHOUSE_STORE_URL`, else the one at `url`, else the project's own folder."""
        if self._given_store is not None:
            return self._given_store
        where = self.environment.get("ROWHOUSE_STORE_URL") or url or default_store_url()
        if where not in self._stores:
            self._stores[where] = open_store(where)
        return self._stores[where]

    def hide(self, secret: str) -> None:
        """From now on this value appears in no message."""
        if len(secret) >= _SHORTEST:
            self._secrets.add(secret)

    def redact(self, text: str) -> str:
        """The text without any credential or app secret that this process has seen, whatever its form."""
        return hidden(text, self._secrets)

    async def close(self) -> None:
        """Close what was opened."""
        if self._fly is not None:
            await self._fly.close()
        if self._stripe is not None:
            await self._stripe.close()
