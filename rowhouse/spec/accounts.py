"""Whether a stack's settings, files and environment belong together: what must never reach real vendors by accident.

Does: tell what is wrong, from plain values. Does not: read the environment or a file; the command and the Pulumi program hand theirs in, so
`rowhouse up` and a bare `pulumi up` refuse the same.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import urlsplit

from rowhouse.spec.model import Catalog, Tenant
from rowhouse.spec.settings import setting_problems, why_not_store

__all__ = ["BASE_URLS", "TOKENS", "account_problems", "is_loopback", "missing_tokens", "vendors_in"]

TOKENS = {
    "FLY_API_TOKEN": "an organisation token of Fly (`fly tokens create org`)",
    "CLOUDFLARE_API_TOKEN": "an API token of Cloudflare with DNS, Access and Tunnel rights",
    "STRIPE_API_KEY": "a secret or restricted key of Stripe",
}
BASE_URLS = ("FLY_FLAPS_BASE_URL", "CLOUDFLARE_BASE_URL", "ROWHOUSE_STRIPE_BASE_URL")

_LOCAL = {"zone": "localhost", "flyOrg": "local", "accessTeam": "local"}
_LOCAL_REGISTRY = "registry.localhost/"
_LOCAL_ID = "0" * 24
_STRIPE_KEYS = ("sk_", "rk_")
_STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def is_loopback(url: str) -> bool:
    """Whether a base address points at this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def vendors_in(env: Mapping[str, str]) -> Literal["loopback", "real", "mixed"]:
    """Where the base addresses of an environment lead; none at all means the vendors' own."""
    local = [bool(env.get(name)) and is_loopback(env[name]) for name in BASE_URLS]
    return "loopback" if all(local) else "mixed" if any(local) else "real"


def missing_tokens(env: Mapping[str, str]) -> list[str]:
    """The names of credentials that an environment lacks."""
    return [name for name in TOKENS if not env.get(name, "").strip()]


def account_problems(
    file: str, settings: Mapping[str, object], tenants: Sequence[Tenant], catalogs: Sequence[Catalog], env: Mapping[str, str]
) -> list[str]:
    """Everything that speaks against applying; empty when all is well.

    Shapes: `file` names the stack's settings for messages; `settings` are its `account:` values without the prefix.
    """
    problems = [*setting_problems(file, settings), *_live_key(catalogs, env)]
    if vendors_in(env) == "loopback":
        return problems
    return [*problems, *_key_kind(env), *_local_values(file, settings, tenants), *_store(file, settings, env)]


def _key_kind(env: Mapping[str, str]) -> list[str]:
    key = env.get("STRIPE_API_KEY", "").strip()
    if not key or key.startswith(_STRIPE_KEYS):
        return []
    told = "a publishable key, which changes nothing at Stripe" if key.startswith("pk_") else "no key of Stripe's API"
    return [f"STRIPE_API_KEY is {told}. Secret keys begin with `sk_`, restricted ones with `rk_`. Export one of these."]


def _live_key(catalogs: Sequence[Catalog], env: Mapping[str, str]) -> list[str]:
    demo = [f"plans/{catalog.id}.yaml" for catalog in catalogs if catalog.demo]
    if not demo or not env.get("STRIPE_API_KEY", "").startswith(("sk_live_", "rk_live_")):
        return []
    what = "is an example" if len(demo) == 1 else "are examples"
    return [
        (
            f"STRIPE_API_KEY is a live key, and {', '.join(demo)} {what} (`demo: true`). "
            "Use a test key, or write your own catalogs and remove the examples."
        )
    ]


def _local_values(file: str, settings: Mapping[str, object], tenants: Sequence[Tenant]) -> list[str]:
    local = [f"account:{key} is {value!r}" for key, value in _LOCAL.items() if settings.get(key) == value]
    ids = ("cloudflareAccountId", "cloudflareZoneId")
    local += [f"account:{key} is the local cloud's" for key in ids if str(settings.get(key, "")).startswith(_LOCAL_ID)]
    if str(settings.get("edgeImage", "")).startswith(_LOCAL_REGISTRY):
        local.append("account:edgeImage is the local cloud's")
    problems = []
    if local:
        lines = "".join(f"\n  {line}" for line in local)
        problems.append(
            f"{file}: still points at the local cloud, and the environment at real vendors.{lines}\n"
            "Put your own values there (README.md, 'With real vendors')."
        )
    apps = sorted({f"apps/{tenant.app.id}.yaml" for tenant in tenants if tenant.app.image.startswith(_LOCAL_REGISTRY)})
    if apps:
        problems.append(f"{', '.join(apps)}: the image is one of the local cloud's, which no real host can pull. Name your own, by digest.")
    return problems


def _store(file: str, settings: Mapping[str, object], env: Mapping[str, str]) -> list[str]:
    store = env.get("ROWHOUSE_STORE_URL") or str(settings.get("store") or "file:")
    if store.startswith("file:"):
        return [
            (
                f"{file}: account:store is a local folder, which no edge machine can read. Set it to an S3 or R2 bucket: "
                "`account:store: s3://bucket/prefix?endpoint=https://...`."
            )
        ]
    if env.get("ROWHOUSE_STORE_URL") and (why := why_not_store(store)):
        return [f"ROWHOUSE_STORE_URL: {why} Correct it."]
    missing = [name for name in _STORE_KEYS if not env.get(name, "").strip()]
    if missing:
        return [f"{' and '.join(missing)}: missing, and {file} keeps routes at {store.split('?')[0]}. Export the bucket's credentials."]
    return []
