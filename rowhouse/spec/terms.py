"""A plan's terms as one canonical JSON text: what is remembered when a plan is applied, so that bills never depend on today's files.

Does: write the terms of a plan, read them back, name those that decide a bill. Does not: hold what a plan gives to new machines (size,
region, app, environment): what a tenant got is seen at its host, and a new default there must not touch every subscription.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from rowhouse.errors import RowhouseError
from rowhouse.spec.model import Lifecycle, Limits, Meter, Pack, Plan, Size, Tenant, Tier

__all__ = ["TermsError", "applied_text", "billed_id", "plan_from", "terms_of", "terms_text"]

_VERSION: Final = 1
_PLAIN: Final = ("catalog", "name", "title", "currency", "bill_inferred")
_BILLED_PLAN: Final = ("catalog", "name", "currency", "price", "bill_inferred")
_BILLED_METER: Final = ("name", "kind", "unit", "rounding", "counter", "included", "per", "beyond", "price", "credits", "tiers")
_RARE: Final = ("tiers", "minimum")
"""Written only where a plan has them, so that the terms of all others are the text that they always were."""
_NO_SIZE: Final = Size(cpu_kind="shared", cpus=0, memory_mb=0, volume_gb=0)


class TermsError(RowhouseError):
    """A text is not the terms of a plan."""


def terms_of(plan: Plan) -> dict[str, Any]:
    """The plan's terms as plain JSON values, money and quantities as exact decimal text."""
    return {
        "v": _VERSION,
        **{name: getattr(plan, name) for name in _PLAIN},
        "price": _exact(plan.price),
        **({"minimum": _exact(plan.minimum)} if plan.minimum else {}),
        "meters": [_meter_written(meter) for meter in plan.meters],
        "packs": [_written(asdict(pack)) for pack in plan.packs],
        "limits": asdict(plan.limits),
        "lifecycle": asdict(plan.lifecycle),
    }


def terms_text(terms: Mapping[str, Any]) -> str:
    """Terms as one line: equal terms give equal text."""
    return json.dumps(terms, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def applied_text(tenant: Tenant) -> str:
    """What is noted when a tenant's plan is applied: its cell, id, state and the plan's terms, as one line."""
    return terms_text({"cell": tenant.cell, "tenant": tenant.id, "state": tenant.state, "plan": terms_of(tenant.plan)})


def billed_id(terms: Mapping[str, Any]) -> str:
    """SHA-256 of those terms that decide a bill: a plan whose title, warnings or limits change goes on in the same segment."""
    billed: dict[str, Any] = {name: terms[name] for name in _BILLED_PLAN}
    billed |= {name: terms[name] for name in _RARE if name in terms}
    billed["meters"] = [{name: meter[name] for name in _BILLED_METER if name in meter} for meter in terms["meters"]]
    return hashlib.sha256(terms_text(billed).encode()).hexdigest()


def plan_from(terms: Mapping[str, Any]) -> Plan:
    """The plan of these terms; what is not among them (size, host, region, app, environment) is empty.

    Raises: TermsError saying which field is not as this version writes it.
    """
    _require(terms, {"v", *_PLAIN, "price", "meters", "packs", "limits", "lifecycle"}, "terms", rare={"minimum"})
    if terms["v"] != _VERSION:
        raise TermsError(f"terms of version {terms['v']!r} cannot be read; this is version {_VERSION}. Use a newer Rowhouse.")
    try:
        return Plan(
            **{name: terms[name] for name in _PLAIN},
            demo=False,
            price=Decimal(terms["price"]),
            minimum=Decimal(terms.get("minimum", 0)),
            meters=tuple(_meter(item) for item in terms["meters"]),
            packs=tuple(_pack(item) for item in terms["packs"]),
            limits=Limits(**_known(Limits, terms["limits"])),
            lifecycle=Lifecycle(**_known(Lifecycle, terms["lifecycle"])),
            size=_NO_SIZE,
            app="",
            host="fly",
            region="",
            env={},
        )
    except (TypeError, ValueError, InvalidOperation) as exc:
        raise TermsError(f"terms of {terms['catalog']}/{terms['name']} cannot be read: {exc}. They were not written by Rowhouse.") from exc


def _meter(item: Mapping[str, Any]) -> Meter:
    known = _known(Meter, {"tiers": (), **item})
    known |= {name: None if known[name] is None else Decimal(known[name]) for name in ("included", "price")}
    tiers = tuple(_tier(tier) for tier in known["tiers"])
    return Meter(**{**known, "unit_cost": Decimal(known["unit_cost"]), "warn_at": tuple(known["warn_at"]), "tiers": tiers})


def _tier(item: Mapping[str, Any]) -> Tier:
    known = _known(Tier, item)
    return Tier(None if known["up_to"] is None else Decimal(known["up_to"]), Decimal(known["price"]))


def _pack(item: Mapping[str, Any]) -> Pack:
    known = _known(Pack, item)
    return Pack(**{**known, "price": Decimal(known["price"])})


def _known(kind: type[Any], item: Mapping[str, Any]) -> dict[str, Any]:
    _require(item, {field.name for field in fields(kind)}, kind.__name__.lower())
    return dict(item)


def _require(item: Mapping[str, Any], names: set[str], what: str, *, rare: AbstractSet[str] = frozenset()) -> None:
    if not isinstance(item, Mapping) or set(item) - rare != names:
        odd = sorted((set(item) - rare) ^ names) if isinstance(item, Mapping) else []
        raise TermsError(f"{what} cannot be read: {odd[0] if odd else 'it'} is missing or unknown. They were not written by this version.")


def _meter_written(meter: Meter) -> dict[str, Any]:
    written = _written(asdict(replace(meter, tiers=())))
    del written["tiers"]
    return written | ({"tiers": [_written(asdict(tier)) for tier in meter.tiers]} if meter.tiers else {})


def _written(item: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _exact(value) if isinstance(value, Decimal) else list(value) if isinstance(value, tuple) else value
        for name, value in item.items()
    }


def _exact(value: Decimal) -> str:
    """Without trailing zeros, so that 5 and 5.00 are the same terms."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text
