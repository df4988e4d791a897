"""Every name that Rowhouse gives to something at a vendor, as total functions.

Each function takes any text for project and stack (Pulumi allows dots, underscores and capitals there) and valid slugs for the rest,
never raises, and states alphabet, length and why two different inputs never share a name. Does not: ask a vendor whether a name is
free. Changing a function here renames living things: it needs aliases and a decision record.

Uniqueness arguments used below:
    separator: parts are slugs, a slug holds no `_`, `:` or `/`, so joining with one of those can be undone;
    hash: ten base-32 letters (50 bits) of the SHA-256 of all inputs are part of the name, so a clash needs about 2**25 names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Protocol

from rowhouse.spec.slug import is_slug

__all__ = [
    "access_app_name",
    "access_policy_name",
    "dns_comment",
    "edge_app_name",
    "edge_machine_name",
    "edge_network_name",
    "fly_app_name",
    "fly_network_name",
    "hold_key",
    "hostname_for",
    "hostname_label",
    "machine_name",
    "mark_in",
    "meter_event_name",
    "price_lookup_key",
    "route_key",
    "stack_mark",
    "stripe_product_id",
    "tunnel_name",
    "volume_name",
]

_HASH_LETTERS = 10
_FLY_APP_LIMIT = 62  # Fly: "Name under 63 chars using numbers, lowercase letters and dashes" (2026-08)
_DERIVED_LABEL_LIMIT = 40  # a DNS label may have 63; Cloudflare Access wants the whole hostname within 63 (2026-08)
_DNS_COMMENT_LIMIT = 100
_ACCESS_NAME_LIMIT = 250
_STRIPE_PRODUCT_LIMIT = 120
_STRIPE_LOOKUP_KEY_LIMIT = 200  # Stripe: lookup_key <= 200 (2026-10)
_STRIPE_EVENT_NAME_LIMIT = 100  # Stripe: event_name <= 100 (2026-10)


class HasHostname(Protocol):
    """Anything with a one-level host label, such as a resolved instance."""

    @property
    def hostname(self) -> str: ...


def _hash(*parts: str) -> str:
    """Ten lower-case letters and digits that depend on every part and on where one part ends and the next starts."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:_HASH_LETTERS]


def _clean(text: str) -> str:
    """A text as a slug: itself when it is one, else its letters with a hash of the whole, so that the step loses nothing."""
    if is_slug(text):
        return text
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower(), flags=re.ASCII).strip("-")
    kept = re.sub(r"^[0-9-]+", "", kept)[: 39 - _HASH_LETTERS - 1].strip("-")
    return f"{kept or 'x'}-{_hash(text)}"


def _fit(text: str, limit: int) -> str:
    """A text within a length: itself when it fits, else its start and a hash of the whole."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - _HASH_LETTERS - 1].rstrip('-_:')}-{_hash(text)}"


def _hashed(limit: int, readable: str, *parts: str) -> str:
    """A readable start, a dash and the hash of all parts, within a length."""
    return f"{readable[: limit - _HASH_LETTERS - 1].rstrip('-')}-{_hash(*parts)}"


def fly_app_name(project: str, stack: str, tenant: str, instance: str, *, zone: str = "") -> str:
    """The Fly app of one instance. Alphabet `a-z0-9-`, a letter first, at most 62.

    Unique in Fly's one namespace of all customers by hash: the zone is in it, because different users call projects and stacks alike.
    """
    return _hashed(_FLY_APP_LIMIT, f"{tenant}-{instance}", "app", zone, project, stack, tenant, instance)


def fly_network_name(project: str, stack: str, tenant: str, instance: str, *, zone: str = "") -> str:
    """The private network of one instance, named like its app: one network an app is what keeps tenants apart."""
    return fly_app_name(project, stack, tenant, instance, zone=zone)


def edge_app_name(project: str, stack: str, *, zone: str = "") -> str:
    """The Fly app of a cell's edge. Alphabet `a-z0-9-`, at most 62; unique by hash (`edge` is hashed in, so no tenant shares it)."""
    return _hashed(_FLY_APP_LIMIT, f"edge-{_clean(stack)}", "edge", zone, project, stack)


def edge_network_name(project: str, stack: str, *, zone: str = "") -> str:
    """The private network of a cell's edge, on which every instance has its private address."""
    return edge_app_name(project, stack, zone=zone)


def edge_machine_name(number: int) -> str:
    """The name of one of a cell's edge machines, counted from 1; unique within the edge's app because numbers are."""
    return f"edge-{number}"


def volume_name() -> str:
    """The name of an instance's volume. Alphabet `a-z`; one volume an app, so one name serves (Fly needs no unique volume names)."""
    return "data"


def machine_name(instance: str) -> str:
    """The name of an instance's machine: the instance's own slug, unique because an app has one machine."""
    return instance


def hostname_label(tenant: str, instance: str) -> str:
    """The default host label: the tenant's id for `main`, else `<tenant>-<instance>`. At most 40, a DNS label.

    Not injective: tenant `a-b` and instance `b` of tenant `a` meet in `a-b`; the fleet's checks refuse the second. Long ones carry a hash.
    """
    if instance == "main":
        return tenant
    return _fit(f"{tenant}-{instance}", _DERIVED_LABEL_LIMIT)


def hostname_for(instance: HasHostname | str, zone: str) -> str:
    """The full name under which an instance is reached: one label below the zone, lower case, without a trailing dot."""
    label = instance if isinstance(instance, str) else instance.hostname
    return f"{label}.{zone}".lower().rstrip(".")


def stack_mark(project: str, stack: str) -> str:
    """The start of the names and comments of all that one stack owns at Cloudflare; `:` never occurs in a part."""
    return f"{_clean(project)}:{_clean(stack)}:"


def access_app_name(project: str, stack: str, tenant: str, instance: str, *, owner: str, hostname: str) -> str:
    """The Access application of one instance: `Acme Ltd (acme.example.com) rowhouse:main:acme:main`, at most 250.

    Login page, mails and launcher show it, so it begins with what a customer knows it by; the mark, unique by separator, is its last word
    (`mark_in`). An owner known by e-mail only is left out: the page is shown to everyone who opens the address.
    """
    mark = f"{stack_mark(project, stack)}{tenant}:{instance}"
    if not owner.strip() or "@" in owner:
        return f"{hostname} {mark}"
    room = _ACCESS_NAME_LIMIT - len(f" ({hostname}) {mark}")
    return f"{' '.join(owner.split())[:room].rstrip()} ({hostname}) {mark}"


def mark_in(access_app_name: str) -> str:
    """The mark in an application's name: its last word; the whole of a name that is nothing else."""
    return access_app_name.rpartition(" ")[2]


def access_policy_name(project: str, stack: str, tenant: str) -> str:
    """The reusable Access policy of one tenant's members. Alphabet `a-z0-9-:`, at most 250; unique by separator."""
    return _fit(f"{stack_mark(project, stack)}{tenant}", _ACCESS_NAME_LIMIT)


def dns_comment(project: str, stack: str, tenant: str, instance: str) -> str:
    """The mark in a DNS record's comment. Alphabet `a-z0-9-:`, at most 100; unique by separator, by hash where it had to be cut."""
    return _fit(f"{stack_mark(project, stack)}{tenant}:{instance}", _DNS_COMMENT_LIMIT)


def tunnel_name(project: str, stack: str) -> str:
    """The tunnel of a cell. Alphabet `a-z0-9-`, at most 62; unique in the account by hash."""
    return _hashed(_FLY_APP_LIMIT, f"{_clean(project)[:20]}-{_clean(stack)}", "tunnel", project, stack)


def stripe_product_id(project: str, catalog: str, plan: str) -> str:
    """The Stripe product of one plan. Alphabet `a-z0-9-_`, at most 120; unique by separator."""
    return _fit("_".join((_clean(project), catalog, plan)), _STRIPE_PRODUCT_LIMIT)


def price_lookup_key(project: str, catalog: str, plan: str, meter: str) -> str:
    """The lookup key of a plan's price: `meter` is a meter's name or `base`. Alphabet `a-z0-9-_`, at most 200.

    Unique by separator: the first three parts hold no `_`, and no meter may be called `base`.
    """
    return _fit("_".join((_clean(project), catalog, plan, meter)), _STRIPE_LOOKUP_KEY_LIMIT)


def meter_event_name(project: str, catalog: str, meter: str) -> str:
    """The event name of a catalog's meter, one an account. Alphabet `a-z0-9-_`, at most 100; unique by separator, by hash where cut."""
    return _fit("_".join((_clean(project), catalog, meter)), _STRIPE_EVENT_NAME_LIMIT)


def route_key(hostname: str) -> str:
    """The object that tells the gateway where a hostname leads. Unique because hostnames are; a slash in a name cannot leave the folder."""
    return f"routes/{hostname.lower().rstrip('.').replace('/', '_')}.json"


def hold_key(tenant: str, instance: str) -> str:
    """The object that tells the gateway that an instance must not run. Unique by separator."""
    return f"holds/{tenant}/{instance}.json"
