"""With the settings and the environment of real accounts, nothing that the program asks for and no client leads to this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pulumi.runtime.settings import Settings, configure

from rowhouse.engine.builtin.cloudflare_api import Api
from rowhouse.provider.clients import Clients
from rowhouse.spec.accounts import BASE_URLS, TOKENS
from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.wire.values import Secret
from stacks.settings import read_cell, refuse_what_cannot_run
from tests.components.recording import Registered, plan_of
from tests.components.test_plans import CATALOGS, FLEET

ID = "8e2f00a1b2c3d4e5f60718293a4b5c6d"
SETTINGS = {
    "zone": "example.com",
    "cloudflareZoneId": ID,
    "cloudflareAccountId": ID,
    "accessTeam": "acme",
    "flyOrg": "acme",
    "edgeRegion": "fra",
    "edgeImage": "registry.fly.io/acme-edge/edge@sha256:" + "e" * 64,
    "store": f"s3://acme-rowhouse/main?endpoint=https://{ID}.r2.cloudflarestorage.com",
}
IMAGE = "registry.fly.io/acme-notebook/notebook@sha256:" + "a" * 64
TENANTS = tuple(replace(tenant, app=replace(tenant.app, image=IMAGE)) for tenant in FLEET)
SHOP = tuple(replace(catalog, demo=False) for catalog in CATALOGS)
ENV = {
    **dict.fromkeys(TOKENS, "fm2_" + "x" * 40),
    "STRIPE_API_KEY": "sk_live_" + "x" * 24,
    "AWS_ACCESS_KEY_ID": "AKIAXXXXXXXXXXXXXXXX",
    "AWS_SECRET_ACCESS_KEY": "x" * 40,
}
OVERRIDES = (*BASE_URLS, "FLY_API_BASE_URL", "ROWHOUSE_STORE_URL", "ROWHOUSE_ACCESS_ISSUER", "ROWHOUSE_ACCESS_CERTS_URL")
THIS_MACHINE = re.compile(r"localhost|127\.\d|\[?::1\b|0\.0\.0\.0|file:/", re.IGNORECASE)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """That of real accounts: tokens, settings, no other addresses."""
    for name in OVERRIDES:
        monkeypatch.delenv(name, raising=False)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({f"account:{name}": value for name, value in SETTINGS.items()}))
    return monkeypatch


def asked() -> dict[str, Registered]:
    """What the program registers, its own checks passed, from what stands in the environment."""
    configure(Settings(project="rowhouse", stack="main"))
    refuse_what_cannot_run(TENANTS, SHOP)
    return plan_of(TENANTS, SHOP, read_cell())


def texts(value: Any, where: str) -> list[tuple[str, str]]:
    """Every text in a value, secrets opened, with its place; keys are texts too."""
    if isinstance(value, Secret):
        return texts(value.value, where)
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in [(where, key), *texts(item, f"{where}.{key}")]]
    if isinstance(value, list):
        return [pair for item in value for pair in texts(item, where)]
    return [(where, value)] if isinstance(value, str) else []


def leading_here(plan: Mapping[str, Registered]) -> set[tuple[str, str]]:
    return {(where, text) for name, one in plan.items() for where, text in texts(one.inputs, name) if THIS_MACHINE.search(text)}


def test_no_input_of_any_resource_leads_to_this_machine(environment: pytest.MonkeyPatch):
    plan = asked()
    assert {tenant.id for tenant in TENANTS} < set(plan)
    # cloudflared's neighbour on the edge's own machine: the gateway has no other address.
    assert leading_here(plan) == {("edge-tunnel-config.config.ingresses.service", "http://localhost:8080")}


@pytest.mark.parametrize(
    ("name", "value"),
    [("ROWHOUSE_STORE_URL", "file:///srv/store"), ("ROWHOUSE_ACCESS_CERTS_URL", "http://127.0.0.1:4/certs")],
)
def test_what_leads_to_this_machine_would_be_found(environment: pytest.MonkeyPatch, name: str, value: str):
    for address in BASE_URLS:
        environment.setenv(address, "http://127.0.0.1:4")
    environment.setenv(name, value)
    assert {text for _, text in leading_here(asked())} >= {value}


def test_no_client_leads_to_this_machine(environment: pytest.MonkeyPatch):
    clients, ours = Clients(), Api(ENV)
    cloudflare = Cloudflare.from_environment()
    bases = [clients.fly.http, clients.fly.metrics, clients.stripe.http, cloudflare.http]
    assert sorted({*(str(http._client.base_url.host) for http in bases), ours._url}) == [
        "api.cloudflare.com",
        "api.fly.io",
        "api.machines.dev",
        "api.stripe.com",
        "https://api.cloudflare.com/client/v4",
    ]
