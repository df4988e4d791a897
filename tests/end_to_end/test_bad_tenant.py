"""One bad tenant stops nobody else: each resource that a tenant has is refused by its vendor, of another tenant each.

All of them stand in one fleet with two good tenants, one that pays and one that does not, so that a few runs tell everything.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import pytest

from rowhouse.engine import Nursery, export_stack, load_project
from rowhouse.localcloud.kernel import Fault
from rowhouse.review.changes import is_component
from tests.end_to_end.speaking import said
from tests.end_to_end.world import Ran, world

# Pulumi's stand-ins for a value that is not known yet, one for each type (protocol of pulumi 3.272).
UNKNOWN = (
    "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
)
WORDS = "the vendor will not have it"
GOOD = {"acme": True, "fern": False}
"""Who pays, of those whom nobody breaks."""


@dataclass(frozen=True)
class Broken:
    """One resource, the request that its vendor refuses, and what cannot be made without it; names without their tenant's."""

    resource: str
    vendor: str
    path: str
    in_body: bool
    """Whether the tenant is named in the request's body; else it is in the path, as `{}`."""
    skipped: frozenset[str]

    @property
    def tenant(self) -> str:
        """The tenant that it is broken of."""
        return f"no-{self.resource}"

    def fault(self) -> Fault:
        """The vendor's refusal, in its own form, for as long as the rule stands."""
        status, words = {
            "fly": (422, {"error": WORDS}),
            "stripe": (400, {"error": {"type": "invalid_request_error", "code": "parameter_invalid_empty", "message": WORDS}}),
            "cloudflare": (400, {"success": False, "errors": [{"code": 1004, "message": WORDS}], "messages": [], "result": None}),
        }[self.vendor]
        body = self.tenant if self.in_body else ""
        path = self.path.replace("{}", f"{self.tenant}-[a-z0-9-]+")
        return Fault("error_before", vendor=self.vendor, method="POST", path=path, body_contains=body, times=-1, status=status, body=words)


def broken(resource: str, vendor: str, path: str, *skipped: str) -> Broken:
    return Broken(resource, vendor, path, "{}" not in path, frozenset(skipped))


_GATE = ("main-gate-route", "main-gate-dns")
_ALL_BUT_DATA = ("billing-customer", "billing-subscription", "members", "main-gate-application", *_GATE, "main-secrets", "main-machine")
CASES = [
    broken("billing-customer", "stripe", "/v1/customers$", "billing-subscription"),
    broken("billing-subscription", "stripe", "/v1/subscriptions$"),
    broken("members", "cloudflare", "/access/policies$", "main-gate-application", *_GATE),
    broken("main-app", "fly", "/v1/apps$", "main-address", "main-volume", *_ALL_BUT_DATA),
    broken("main-address", "fly", "/apps/{}/ip_assignments$", *_GATE),
    broken("main-volume", "fly", "/apps/{}/volumes$", *_ALL_BUT_DATA),
    broken("main-secrets", "fly", "/apps/{}/secrets$", "main-machine"),
    broken("main-machine", "fly", "/apps/{}/machines$"),
    broken("main-gate-application", "cloudflare", "/access/apps$", *_GATE),
    broken("main-gate-dns", "cloudflare", "/dns_records$"),
]
# The store is a folder here: its refusal is a folder that stands where the route would.
ROUTE = Broken("main-gate-route", "", "", in_body=False, skipped=frozenset({"main-gate-dns"}))
BY_RESOURCE = pytest.mark.parametrize("case", [*CASES, ROUTE], ids=lambda case: case.resource)


@dataclass
class Played:
    """What happened."""

    first: Ran
    spoken: Ran
    """The same again, as a person starts it."""
    kept: dict[str, Any]
    """What the vendors keep while the faults stand."""
    asked: str
    mended: Ran
    whole: dict[str, Any]
    after: Ran
    """A preview at the end."""
    resources: list[dict[str, Any]]


@pytest.fixture(scope="module")
def played(runner: asyncio.Runner, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Apply with all faults, twice; mend; apply."""

    async def scene() -> Played:
        async with world(tmp_path_factory.mktemp("bad") / "world", nursery) as made:
            made.extra_env["API_KEY"] = "what opens a tenant's own door"
            for case in (*CASES, ROUTE):
                owner = f"owner: {{name: {case.tenant}, email: ops@{case.tenant}.example}}\n"
                made.write(f"tenants/{case.tenant}.yaml", f"{owner}plan: shop/paid\nsecrets: {{API_KEY: env:API_KEY}}\n")
            for case in CASES:
                made.cloud.faults.add(case.fault())
            in_the_way = made.cloud.directory / "store" / "routes" / f"{ROUTE.tenant}.localhost.json"
            in_the_way.mkdir(parents=True)
            first = await made.up()
            spoken = await said(made, "up", "--yes")
            in_the_way.rmdir()
            kept = made.kept()
            asked = "".join(entry.path + entry.query + entry.body for entry in made.cloud.journal.entries)
            made.cloud.faults.clear()
            mended = await made.up()
            resources = export_stack(load_project(made.project), "main")["deployment"]["resources"]
            return Played(first, spoken, kept, asked, mended, made.kept(), await made.preview(), resources)

    return runner.run(scene())


def named(entries: list[dict[str, Any]], tenant: str) -> dict[str, dict[str, Any]]:
    """Failures or changes of one tenant by the resource's name without the tenant's; components left out."""
    own = [one for one in entries if one["tenant"] == tenant and not is_component(one["urn"])]
    return {str(one["urn"]).rsplit("::", 1)[-1].removeprefix(f"{tenant}-"): one for one in own}


@BY_RESOURCE
def test_a_refused_resource_stops_its_own_dependents_alone(played: Played, case: Broken):
    """The tenant is named, with the vendor's words for what failed and a mark on what was left alone for it."""
    assert played.first.code == 1, played.first.failed()
    failures = named(played.first.document["failures"], case.tenant)
    assert failures.keys() == {case.resource, *case.skipped}
    words = WORDS if case is not ROUTE else f"{case.tenant}.localhost"
    assert words in failures[case.resource]["message"]
    assert {name for name, failure in failures.items() if failure["skipped"]} == case.skipped


@BY_RESOURCE
def test_mending_it_makes_what_was_missing_and_no_more(played: Played, case: Broken):
    assert played.mended.code == 0, played.mended.failed()
    changes = {name: change["op"] for name, change in named(played.mended.document["changes"], case.tenant).items()}
    assert changes == dict.fromkeys([case.resource, *case.skipped], "create")
    assert_complete(played.whole, case.tenant, pays=True)


def assert_complete(kept: dict[str, Any], tenant: str, *, pays: bool) -> None:
    """A tenant has everything: host, gate, customer, and a subscription where it pays."""
    [app] = [app for name, app in kept["apps"].items() if name.startswith(f"{tenant}-main-")]
    assert [machine[1] for machine in app["machines"]] == ["started"]
    assert (len(app["volumes"]), len(app["ips"])) == (1, 1)
    assert f"{tenant}.localhost" in kept["routes"]
    assert f"{tenant}.localhost" in [record[0] for record in kept["records"]]
    assert f"{tenant}.localhost" in [application[1] for application in kept["applications"]]
    assert tenant in [customer[2] for customer in kept["customers"]]
    assert [len(paid[2]) for paid in kept["subscriptions"] if paid[0] == tenant] == ([2] if pays else [])


@pytest.mark.parametrize(("tenant", "pays"), GOOD.items(), ids=GOOD)
def test_nobody_else_is_touched(played: Played, tenant: str, pays: bool):
    assert {failure["tenant"] for failure in played.first.document["failures"]} == {case.tenant for case in (*CASES, ROUTE)}
    assert_complete(played.kept, tenant, pays=pays)
    assert tenant not in {change["tenant"] for change in played.mended.document["changes"]}


def test_nobody_is_asked_for_what_never_came_to_be(played: Played):
    assert [sentinel for sentinel in UNKNOWN if sentinel in played.asked] == []
    assert f"{ROUTE.tenant}.localhost" not in [record[0] for record in played.kept["records"]]


def test_in_the_end_all_is_well(played: Played):
    assert (played.after.code, played.after.ops) == (0, {}), played.after.failed()


def test_a_refused_tenant_is_named_for_people_too(played: Played):
    assert played.spoken.code == 1, played.spoken.failed()
    lines = played.spoken.stdout.splitlines()
    [line] = [line for line in lines if WORDS in line and "no-billing-customer" in line]
    assert line.startswith("failed: no-billing-customer: no-billing-customer-billing-customer: ")
    [left] = [line for line in lines if line.startswith("left alone: ")]
    assert re.fullmatch(r"left alone: \d\d resources that depend on what failed, of \d+ tenants", left)


def test_no_resource_depends_on_two_tenants(played: Played):
    direct = {r["urn"]: {*r.get("dependencies", ()), r.get("parent", ""), r.get("deletedWith", "")} - {""} for r in played.resources}

    def reached(urn: str, seen: set[str]) -> set[str]:
        for other in direct.get(urn, ()):
            if other not in seen:
                seen.add(other)
                reached(other, seen)
        return seen

    tenants = {urn: urn.rsplit("::", 1)[-1] for urn in direct if "rowhouse:index:Tenant::" in urn}
    assert len(tenants) == len(GOOD) + len(CASES) + 1
    owners = {urn: {tenants[other] for other in {urn, *reached(urn, set())} & tenants.keys()} for urn in direct}
    assert {urn: found for urn, found in owners.items() if len(found) > 1} == {}
    # The walk sees what it is about: every tenant has its twelve or so resources, and the rest has none.
    counted = {name: sum(name in found for found in owners.values()) for name in tenants.values()}
    assert min(counted.values()) > 8, counted
