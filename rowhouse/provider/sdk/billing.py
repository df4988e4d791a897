"""Stripe resources for a Pulumi program.

Does: names and types of inputs and outputs. Does not: anything else; the plugin does. Named after the job, not the vendor, so that no
module shadows the library `stripe`. Imports Pulumi alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

__all__ = ["Customer", "Meter", "Price", "Product", "Subscription"]


class Meter(pulumi.CustomResource):
    """A billing meter; deleting it deactivates it."""

    def __init__(
        self,
        resource_name: str,
        *,
        event_name: pulumi.Input[str],
        display_name: pulumi.Input[str],
        customer_key: pulumi.Input[str] | None = None,
        value_key: pulumi.Input[str] | None = None,
        aggregation: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "eventName": event_name,
            "displayName": display_name,
            "customerKey": customer_key,
            "valueKey": value_key,
            "aggregation": aggregation,
            "meterId": None,
        }
        super().__init__("rowhouse:stripe:Meter", resource_name, props, opts)

    @property
    @pulumi.getter(name="eventName")
    def event_name(self) -> pulumi.Output[str]:
        return pulumi.get(self, "eventName")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="displayName")
    def display_name(self) -> pulumi.Output[str]:
        return pulumi.get(self, "displayName")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="customerKey")
    def customer_key(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "customerKey")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="valueKey")
    def value_key(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "valueKey")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="aggregation")
    def aggregation(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "aggregation")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="meterId")
    def meter_id(self) -> pulumi.Output[str]:
        return pulumi.get(self, "meterId")  # type: ignore[no-any-return]


class Product(pulumi.CustomResource):
    """A product under an id of our choice."""

    def __init__(
        self,
        resource_name: str,
        *,
        product_id: pulumi.Input[str],
        name: pulumi.Input[str],
        metadata: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "productId": product_id,
            "name": name,
            "metadata": metadata,
        }
        super().__init__("rowhouse:stripe:Product", resource_name, props, opts)

    @property
    @pulumi.getter(name="productId")
    def product_id(self) -> pulumi.Output[str]:
        return pulumi.get(self, "productId")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="name")
    def name(self) -> pulumi.Output[str]:
        return pulumi.get(self, "name")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="metadata")
    def metadata(self) -> pulumi.Output[Mapping[str, pulumi.Input[str]] | None]:
        return pulumi.get(self, "metadata")  # type: ignore[no-any-return]


class Price(pulumi.CustomResource):
    """A recurring price; amounts are decimal text in minor units. A change replaces it and moves its lookup key."""

    def __init__(
        self,
        resource_name: str,
        *,
        product: pulumi.Input[str],
        currency: pulumi.Input[str],
        lookup_key: pulumi.Input[str],
        unit_amount_decimal: pulumi.Input[str] | None = None,
        tiers: pulumi.Input[Sequence[Any]] | None = None,
        tiers_mode: pulumi.Input[str] | None = None,
        interval: pulumi.Input[str] | None = None,
        usage_type: pulumi.Input[str] | None = None,
        meter: pulumi.Input[str] | None = None,
        metadata: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        nickname: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "product": product,
            "currency": currency,
            "lookupKey": lookup_key,
            "unitAmountDecimal": unit_amount_decimal,
            "tiers": tiers,
            "tiersMode": tiers_mode,
            "interval": interval,
            "usageType": usage_type,
            "meter": meter,
            "metadata": metadata,
            "nickname": nickname,
            "priceId": None,
        }
        super().__init__("rowhouse:stripe:Price", resource_name, props, opts)

    @property
    @pulumi.getter(name="product")
    def product(self) -> pulumi.Output[str]:
        return pulumi.get(self, "product")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="currency")
    def currency(self) -> pulumi.Output[str]:
        return pulumi.get(self, "currency")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="lookupKey")
    def lookup_key(self) -> pulumi.Output[str]:
        return pulumi.get(self, "lookupKey")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="unitAmountDecimal")
    def unit_amount_decimal(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "unitAmountDecimal")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="tiers")
    def tiers(self) -> pulumi.Output[Sequence[Any] | None]:
        return pulumi.get(self, "tiers")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="tiersMode")
    def tiers_mode(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "tiersMode")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="interval")
    def interval(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "interval")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="usageType")
    def usage_type(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "usageType")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="meter")
    def meter(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "meter")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="metadata")
    def metadata(self) -> pulumi.Output[Mapping[str, pulumi.Input[str]] | None]:
        return pulumi.get(self, "metadata")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="nickname")
    def nickname(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "nickname")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="priceId")
    def price_id(self) -> pulumi.Output[str]:
        return pulumi.get(self, "priceId")  # type: ignore[no-any-return]


class Customer(pulumi.CustomResource):
    """Who pays for a tenant. Deleting one at Stripe cannot be undone: retain it."""

    def __init__(
        self,
        resource_name: str,
        *,
        name: pulumi.Input[str],
        email: pulumi.Input[str],
        metadata: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "name": name,
            "email": email,
            "metadata": metadata,
            "customerId": None,
        }
        super().__init__("rowhouse:stripe:Customer", resource_name, props, opts)

    @property
    @pulumi.getter(name="name")
    def name(self) -> pulumi.Output[str]:
        return pulumi.get(self, "name")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="email")
    def email(self) -> pulumi.Output[str]:
        return pulumi.get(self, "email")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="metadata")
    def metadata(self) -> pulumi.Output[Mapping[str, pulumi.Input[str]] | None]:
        return pulumi.get(self, "metadata")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="customerId")
    def customer_id(self) -> pulumi.Output[str]:
        return pulumi.get(self, "customerId")  # type: ignore[no-any-return]


class Subscription(pulumi.CustomResource):
    """What a customer pays for: items `{"price": id}` or `{"lookupKey": key}`. Not `active`: ended with a last invoice."""

    def __init__(
        self,
        resource_name: str,
        *,
        customer: pulumi.Input[str],
        items: pulumi.Input[Sequence[Any]],
        collection_method: pulumi.Input[str] | None = None,
        days_until_due: pulumi.Input[int] | None = None,
        metadata: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        active: pulumi.Input[bool] | None = None,
        anchor_day_of_month: pulumi.Input[int] | None = None,
        terms: pulumi.Input[str] | None = None,
        store: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "customer": customer,
            "items": items,
            "collectionMethod": collection_method,
            "daysUntilDue": days_until_due,
            "metadata": metadata,
            "active": active,
            "anchorDayOfMonth": anchor_day_of_month,
            "terms": terms,
            "store": store,
            "subscriptionId": None,
            "status": None,
            "currentPeriodEnd": None,
        }
        super().__init__("rowhouse:stripe:Subscription", resource_name, props, opts)

    @property
    @pulumi.getter(name="customer")
    def customer(self) -> pulumi.Output[str]:
        return pulumi.get(self, "customer")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="items")
    def items(self) -> pulumi.Output[Sequence[Any]]:
        return pulumi.get(self, "items")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="collectionMethod")
    def collection_method(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "collectionMethod")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="daysUntilDue")
    def days_until_due(self) -> pulumi.Output[int | None]:
        return pulumi.get(self, "daysUntilDue")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="metadata")
    def metadata(self) -> pulumi.Output[Mapping[str, pulumi.Input[str]] | None]:
        return pulumi.get(self, "metadata")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="active")
    def active(self) -> pulumi.Output[bool | None]:
        return pulumi.get(self, "active")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="anchorDayOfMonth")
    def anchor_day_of_month(self) -> pulumi.Output[int | None]:
        return pulumi.get(self, "anchorDayOfMonth")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="terms")
    def terms(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "terms")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="store")
    def store(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "store")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="subscriptionId")
    def subscription_id(self) -> pulumi.Output[str]:
        return pulumi.get(self, "subscriptionId")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="status")
    def status(self) -> pulumi.Output[str]:
        return pulumi.get(self, "status")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="currentPeriodEnd")
    def current_period_end(self) -> pulumi.Output[int]:
        return pulumi.get(self, "currentPeriodEnd")  # type: ignore[no-any-return]
