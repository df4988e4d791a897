"""What is for sale, at Stripe: one product a plan, its prices, and the meters that metered prices stand on.

Registered by one stack only; the others find prices by their lookup keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from components.cell import Cell
from components.labels import marks
from rowhouse.provider.sdk import billing
from rowhouse.spec import model
from rowhouse.spec.prices import meter_specs, price_specs, product_spec

__all__ = ["Catalog", "Item"]

Item = Mapping[str, pulumi.Input[str]]
"""One item of a subscription: `{"price": id}` or `{"lookupKey": key}`."""


class Catalog(pulumi.ComponentResource):
    """Products, meters and prices of all catalogs; free plans are not at Stripe."""

    TOKEN = "rowhouse:index:Catalog"  # noqa: S105 - a type token, not a credential

    def __init__(self, name: str, cell: Cell, catalogs: Sequence[model.Catalog], opts: pulumi.ResourceOptions | None = None) -> None:
        """Register everything that `catalogs` sell."""
        super().__init__(self.TOKEN, name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self._project = cell.project
        self._prices: dict[str, pulumi.Output[str]] = {}
        for catalog in catalogs:
            meters = {
                spec.event_name: billing.Meter(
                    spec.event_name, event_name=spec.event_name, display_name=spec.display_name, opts=child
                ).meter_id
                for spec in meter_specs(cell.project, catalog)
            }
            for plan in catalog.plans:
                self._register(cell, plan, meters, child)
        self.register_outputs({"prices": self._prices})

    def _register(self, cell: Cell, plan: model.Plan, meters: Mapping[str, pulumi.Output[str]], child: pulumi.ResourceOptions) -> None:
        """Register one plan's product and prices."""
        sold = product_spec(cell.project, plan)
        if sold is None:
            return
        metadata = {**marks(cell, "catalog"), "plan": plan.ref}
        product = billing.Product(sold.product_id, product_id=sold.product_id, name=sold.name, metadata=metadata, opts=child)
        for spec in price_specs(cell.project, plan):
            price = billing.Price(
                spec.lookup_key,
                product=product.product_id,
                currency=spec.currency,
                unit_amount_decimal=spec.unit_amount_decimal,
                interval=spec.interval,
                usage_type=spec.usage_type,
                meter=meters[spec.meter_event_name] if spec.meter_event_name else None,
                lookup_key=spec.lookup_key,
                nickname=spec.nickname,
                metadata=metadata,
                opts=child,
            )
            self._prices[spec.lookup_key] = price.price_id

    def items(self, plan: model.Plan) -> list[Item]:
        """Items of a subscription to `plan`, by the prices registered here."""
        return [{"price": self._prices[spec.lookup_key]} for spec in price_specs(self._project, plan)]

    @staticmethod
    def items_elsewhere(cell: Cell, plan: model.Plan) -> list[Item]:
        """The same for a stack that does not register the catalog."""
        return [{"lookupKey": spec.lookup_key} for spec in price_specs(cell.project, plan)]
