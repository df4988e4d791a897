"""Products and prices: what is sold. A price never changes but for a few labels, and never goes away."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rowhouse.localcloud.stripe_errors import invalid
from rowhouse.localcloud.stripe_http import Call, Endpoint
from rowhouse.localcloud.stripe_lists import in_range, page, search_page
from rowhouse.localcloud.stripe_params import (
    NONE,
    PRICE_CREATE,
    PRICE_LIST,
    PRICE_UPDATE,
    PRODUCT_CREATE,
    PRODUCT_LIST,
    PRODUCT_UPDATE,
    SEARCH,
)
from rowhouse.localcloud.stripe_pricing import unit_fields
from rowhouse.localcloud.stripe_schema import check_count
from rowhouse.localcloud.stripe_search import matcher
from rowhouse.localcloud.stripe_state import Json, State, clone, merge_metadata, new_id

__all__ = ["Catalog"]

_PRODUCT_PLAIN = ("active", "description", "name", "statement_descriptor", "tax_code", "unit_label", "url")
_CURRENCIES = frozenset(
    [
        "aud",
        "bgn",
        "brl",
        "cad",
        "chf",
        "czk",
        "dkk",
        "eur",
        "gbp",
        "hkd",
        "huf",
        "idr",
        "ils",
        "inr",
        "isk",
        "jpy",
        "krw",
        "mxn",
        "myr",
        "nok",
        "nzd",
        "php",
        "pln",
        "ron",
        "sek",
        "sgd",
        "thb",
        "try",
        "usd",
        "zar",
    ]
)


class Catalog:
    """The product and price endpoints."""

    def __init__(self, state: State) -> None:
        """Keep them in `state`."""
        self.state = state
        self.tiers: dict[str, list[Json]] = {}  # price -> tiers, shown only when expanded

    def endpoints(self) -> list[Endpoint]:
        """The rows of the API."""
        return [
            Endpoint("POST", "/v1/products", PRODUCT_CREATE, self.create_product),
            Endpoint("GET", "/v1/products", PRODUCT_LIST, self.list_products),
            Endpoint("GET", "/v1/products/search", SEARCH, self.search_products, search=True),
            Endpoint("GET", "/v1/products/{id}", NONE, lambda call: self.state.products.get(call.id)),
            Endpoint("POST", "/v1/products/{id}", PRODUCT_UPDATE, self.update_product),
            Endpoint("DELETE", "/v1/products/{id}", NONE, self.delete_product),
            Endpoint("POST", "/v1/prices", PRICE_CREATE, self.create_price),
            Endpoint("GET", "/v1/prices", PRICE_LIST, self.list_prices),
            Endpoint("GET", "/v1/prices/search", SEARCH, self.search_prices, search=True),
            Endpoint("GET", "/v1/prices/{id}", NONE, lambda call: self.state.prices.get(call.id)),
            Endpoint("POST", "/v1/prices/{id}", PRICE_UPDATE, self.update_price),
        ]

    # Products

    def create_product(self, call: Call) -> Json:
        """POST /v1/products; the id may be chosen, and a taken one is refused."""
        return self._make_product(call.params)

    def _make_product(self, params: dict[str, Any]) -> Json:
        product_id = params.get("id") or new_id("prod")
        if product_id in self.state.products.objects:
            raise invalid("Product already exists.", "id", "resource_already_exists")
        now = self.state.virtual.now()
        product: Json = {
            "id": product_id,
            "object": "product",
            "active": True,
            "created": now,
            "default_price": None,
            "description": None,
            "images": [],
            "livemode": self.state.livemode,
            "marketing_features": [],
            "metadata": {},
            "name": "",
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": None,
            "tax_code": None,
            "type": params.get("type", "service"),
            "unit_label": None,
            "updated": now,
            "url": None,
        }
        self._apply_product(product, params)
        return self.state.put(self.state.products, product, "product.created")

    def update_product(self, call: Call) -> Json:
        """POST /v1/products/{id}."""
        before = self.state.products.get(call.id)
        after = clone(before)
        if call.params.get("default_price"):
            price = self.state.prices.get(call.params["default_price"], "default_price")
            if price["product"] != call.id:
                raise invalid("The default price must belong to this product.", "default_price")
        if "default_price" in call.params:
            after["default_price"] = call.params["default_price"]
        self._apply_product(after, call.params)
        after["updated"] = self.state.virtual.now()
        return self.state.put(self.state.products, after, "product.updated", before)

    def delete_product(self, call: Call) -> Json:
        """DELETE /v1/products/{id}: refused as long as it has prices, and prices never go."""
        self.state.products.get(call.id)
        if any(price["product"] == call.id for price in self.state.prices.objects.values()):
            raise invalid("This product cannot be deleted because it has one or more user-created prices.", "id")
        return self.state.remove(self.state.products, call.id, "product.deleted")

    def list_products(self, call: Call) -> Json:
        """GET /v1/products."""
        params = call.params
        found = [
            product
            for product in self.state.products.newest_first()
            if all(product[name] == params[name] for name in ("active", "type", "url") if name in params)
            and ("ids" not in params or product["id"] in params["ids"])
            and in_range(product["created"], params.get("created"))
        ]
        return page(found, params, call.url, "product")

    def search_products(self, call: Call) -> Json:
        """GET /v1/products/search."""
        return self._search(call, "product")

    def _search(self, call: Call, kind: str) -> Json:
        matches = matcher(call.params["query"], kind)
        shelf = self.state.products if kind == "product" else self.state.prices
        seen = shelf.as_of(self.state.clock.timestamp() - self.state.search_lag_s)
        return search_page([thing for thing in seen if matches(thing)], call.params, call.url)

    @staticmethod
    def _apply_product(product: Json, params: dict[str, Any]) -> None:
        for name in _PRODUCT_PLAIN:
            if name in params:
                product[name] = params[name]
        if "images" in params:
            product["images"] = params["images"] or []
        if "metadata" in params:
            product["metadata"] = merge_metadata(product["metadata"], params["metadata"])
            check_count(product["metadata"])

    # Prices

    def create_price(self, call: Call) -> Json:
        """POST /v1/prices."""
        params = call.params
        currency = params["currency"].lower()
        if currency not in _CURRENCIES:
            raise invalid(
                f"Invalid currency: {currency}. Stripe currently supports these currencies: {', '.join(sorted(_CURRENCIES))}", "currency"
            )
        recurring = self._recurring(params.get("recurring"))
        tiers, unit = self._amounts(params)
        if ("product" in params) == ("product_data" in params):
            raise invalid("You must specify exactly one of `product` and `product_data` when creating a price.", "product")
        if "product" in params:
            self.state.products.get(params["product"], "product")
        self._claim_lookup_key(
            params.get("lookup_key"), None, transfer=params.get("transfer_lookup_key", False), active=params.get("active", True)
        )
        product_id = params["product"] if "product" in params else self._make_product(params["product_data"])["id"]
        transform = params.get("transform_quantity")
        price: Json = {
            "id": new_id("price"),
            "object": "price",
            "active": params.get("active", True),
            "billing_scheme": params.get("billing_scheme", "per_unit"),
            "created": self.state.virtual.now(),
            "currency": currency,
            "custom_unit_amount": None,
            "livemode": self.state.livemode,
            "lookup_key": params.get("lookup_key"),
            "metadata": merge_metadata({}, params.get("metadata", {})),
            "nickname": params.get("nickname"),
            "product": product_id,
            "recurring": recurring,
            "tax_behavior": params.get("tax_behavior", "unspecified"),
            "tiers_mode": params.get("tiers_mode"),
            "transform_quantity": transform,
            "type": "recurring" if recurring else "one_time",
            **unit_fields("unit_amount", unit),
        }
        if tiers is not None:
            self.tiers[price["id"]] = tiers
        return self.state.put(self.state.prices, price, "price.created")

    def _recurring(self, given: dict[str, Any] | None) -> Json | None:
        if given is None:
            return None
        usage, meter = given.get("usage_type", "licensed"), given.get("meter")
        if usage == "metered" and not meter:
            raise invalid("Metered prices must be backed by a meter: pass `recurring[meter]`.", "recurring[meter]", "parameter_missing")
        if meter and usage != "metered":
            raise invalid("`recurring[meter]` may only be set when `recurring[usage_type]` is `metered`.", "recurring[meter]")
        if meter and self.state.meters.get(meter, "recurring[meter]")["status"] != "active":
            raise invalid(f"The meter `{meter}` is inactive and cannot back a price.", "recurring[meter]")
        return {
            "interval": given["interval"],
            "interval_count": given.get("interval_count", 1),
            "meter": meter,
            "trial_period_days": None,
            "usage_type": usage,
        }

    @staticmethod
    def _amounts(params: dict[str, Any]) -> tuple[list[Json] | None, Decimal | None]:
        tiered = params.get("billing_scheme") == "tiered"
        given = [name for name in ("unit_amount", "unit_amount_decimal") if name in params]
        if len(given) == 2:
            raise invalid("You may only specify one of these parameters: unit_amount, unit_amount_decimal.", "unit_amount")
        if not tiered:
            for name in ("tiers", "tiers_mode"):
                if name in params:
                    raise invalid(f"You may only specify `{name}` when `billing_scheme` is `tiered`.", name)
            if not given:
                raise invalid(
                    "Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.", "unit_amount", "parameter_missing"
                )
            unit = Decimal(params[given[0]])
            if unit < 0:
                raise invalid("Invalid decimal; must be greater than or equal to 0.", given[0])
            return None, unit
        if given:
            raise invalid(f"You may not specify `{given[0]}` when `billing_scheme` is `tiered`.", given[0])
        for name in ("tiers", "tiers_mode"):
            if not params.get(name):
                raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
        if "transform_quantity" in params:
            raise invalid("You may not specify `transform_quantity` when `billing_scheme` is `tiered`.", "transform_quantity")
        return _tiers(params["tiers"]), None

    def update_price(self, call: Call) -> Json:
        """POST /v1/prices/{id}: only its labels."""
        before, params = self.state.prices.get(call.id), call.params
        after = clone(before)
        for name in ("active", "nickname", "tax_behavior", "lookup_key"):
            if name in params:
                after[name] = params[name]
        if "metadata" in params:
            after["metadata"] = merge_metadata(before["metadata"], params["metadata"])
            check_count(after["metadata"])
        self._claim_lookup_key(after["lookup_key"], call.id, transfer=params.get("transfer_lookup_key", False), active=after["active"])
        return self.state.put(self.state.prices, after, "price.updated", before)

    def _claim_lookup_key(self, key: str | None, price_id: str | None, *, transfer: bool, active: bool) -> None:
        holder = next(
            (
                price
                for price in self.state.prices.objects.values()
                if key and price["lookup_key"] == key and price["active"] and price["id"] != price_id
            ),
            None,
        )
        if holder is None or not active:
            return
        if not transfer:
            raise invalid(f"A price (`{holder['id']}`) already uses that lookup key.", "lookup_key")
        self.state.put(self.state.prices, {**holder, "lookup_key": None}, "price.updated", holder)

    def list_prices(self, call: Call) -> Json:
        """GET /v1/prices."""
        params = call.params
        wanted = params.get("recurring", {})
        found = [
            price
            for price in self.state.prices.newest_first()
            if all(price[name] == params[name] for name in ("active", "currency", "product", "type") if name in params)
            and ("lookup_keys" not in params or price["lookup_key"] in params["lookup_keys"])
            and all((price["recurring"] or {}).get(name) == value for name, value in wanted.items())
            and in_range(price["created"], params.get("created"))
        ]
        return page(found, params, call.url, "price")

    def search_prices(self, call: Call) -> Json:
        """GET /v1/prices/search."""
        return self._search(call, "price")


def _tiers(given: list[dict[str, Any]]) -> list[Json]:
    tiers: list[Json] = []
    floor = 0
    for index, tier in enumerate(given):
        last = index == len(given) - 1
        if (tier["up_to"] == "inf") != last:
            raise invalid("The last tier, and only the last, must have `up_to` set to `inf`.", f"tiers[{index}][up_to]")
        if not last and tier["up_to"] <= floor:
            raise invalid("Tiers must be in ascending order of `up_to`.", f"tiers[{index}][up_to]")
        amounts: dict[str, Decimal | None] = {}
        for name in ("unit_amount", "flat_amount"):
            if name in tier and f"{name}_decimal" in tier:
                raise invalid(f"You may only specify one of these parameters: {name}, {name}_decimal.", f"tiers[{index}][{name}]")
            value = tier.get(name, tier.get(f"{name}_decimal"))
            amounts[name] = None if value is None else Decimal(value)
        if all(value is None for value in amounts.values()):
            raise invalid("A tier needs a `unit_amount` or a `flat_amount`.", f"tiers[{index}][unit_amount]")
        floor = 0 if last else tier["up_to"]
        tiers.append(
            {
                **unit_fields("flat_amount", amounts["flat_amount"]),
                **unit_fields("unit_amount", amounts["unit_amount"]),
                "up_to": None if last else tier["up_to"],
            }
        )
    return tiers
