"""The package `rowhouse` as one provider: every resource on one set of vendor clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import rowhouse
from rowhouse.errors import RowhouseError
from rowhouse.provider.clients import Clients
from rowhouse.provider.edge_route import Route
from rowhouse.provider.fly_app import App, Newborn
from rowhouse.provider.fly_ip import Ip
from rowhouse.provider.fly_machine import Machine
from rowhouse.provider.fly_secrets import Secrets
from rowhouse.provider.fly_volume import Volume
from rowhouse.provider.stripe_customer import Customer
from rowhouse.provider.stripe_meter import Meter
from rowhouse.provider.stripe_price import Price
from rowhouse.provider.stripe_product import Product
from rowhouse.provider.stripe_subscription import Subscription
from rowhouse.wire.contract import Resource
from rowhouse.wire.fields import Declared
from rowhouse.wire.kit import Provider

__all__ = ["PACKAGE", "Rowhouse"]

PACKAGE: Final = "rowhouse"
_DEFAULT_VERSION: Final = "0.1.0"


class Rowhouse(Provider):
    """The plugin. A credential that is missing is told by the first resource that needs it, never by a preview."""

    def __init__(self, clients: Clients | None = None) -> None:
        self.clients = clients or Clients()
        newborn = Newborn()
        both = (App, Ip, Volume, Machine)
        one = (Secrets, Meter, Product, Price, Customer, Subscription, Route)
        made: list[Declared] = [kind(self.clients, newborn) for kind in both]
        made += [kind(self.clients) for kind in one]
        resources: Mapping[str, Resource] = {resource.kind: resource for resource in made}
        version = str(getattr(rowhouse, "__version__", _DEFAULT_VERSION))
        super().__init__(PACKAGE, version, resources, clean_errors=(RowhouseError,))

    def redact(self, text: str) -> str:
        """The text without any credential of this process."""
        return self.clients.redact(text)

    async def close(self) -> None:
        """Close the vendors' connections too."""
        await self.clients.close()
        await super().close()
