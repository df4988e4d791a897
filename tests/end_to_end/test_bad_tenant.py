"""One bad tenant stops nobody else: each of its resources is refused by its vendor in turn."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from rowhouse.engine import export_stack, load_project
from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.speaking import said
from tests.end_to_end.world import World

# Pulumi's stand-ins for a value that is not known yet, one for each type (protocol of pulumi 3.272).
UNKNOWN = (
    "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
)
WORDS = "the vendor will not have it"
SECRETS = "secrets: {API_KEY: env:ACME_API_KEY}\n"


@dataclass(frozen=True)
class Broken:
    """One resource of Acme, the request that its vendor refuses, and what cannot be made without it."""

    resource: str
    vendor: str
    path: str
    body: str
    skipped: frozenset[str]

    def fault(self) -> Fault:
        """The vendor's refusal, in its own form, for as long as the rule stands."""
        status, said = {
            "fly": (422, {"error": WORDS}),
            "stripe": (400, {"error": {"type": "invalid_request_error", "code": "parameter_invalid_empty", "message": WORDS}}),
            "cloudflare": (400, {"success": False, "errors": [{"code": 1004, "message": WORDS}], "messages": [], "result": None}),
        }[self.vendor]
        return Fault(
            "error_before", vendor=self.vendor, method="POST", path=self.path, body_contains=self.body, times=-1, status=status, body=said
        )


def broken(resource: str, vendor: str, path: str, body: str = "", *skipped: str) -> Broken:
    return Broken(resource, vendor, path, body, frozenset(skipped))


_GATE = ("acme-main-gate-route", "acme-main-gate-dns")
CASES = [
    broken("acme-billing-customer", "stripe", "/v1/customers$", "acme.example", "acme-billing-subscription"),
    broken("acme-billing-subscription", "stripe", "/v1/subscriptions$", "acme"),
    broken("acme-members", "cloudflare", "/access/policies$", "acme", "acme-main-gate-application", *_GATE),
    broken(
        "acme-main-app",
        "fly",
        "/v1/apps$",
        "acme",
        "acme-main-address",
        "acme-main-volume",
        "acme-main-secrets",
        "acme-main-machine",
        *_GATE,
    ),
    broken("acme-main-address", "fly", "/apps/acme-main-[a-z0-9]+/ip_assignments$", "", *_GATE),
    broken("acme-main-volume", "fly", "/apps/acme-main-[a-z0-9]+/volumes$", "", "acme-main-machine"),
    broken("acme-main-secrets", "fly", "/apps/acme-main-[a-z0-9]+/secrets$", "", "acme-main-machine"),
    broken("acme-main-machine", "fly", "/apps/acme-main-[a-z0-9]+/machines$"),
    broken("acme-main-gate-application", "cloudflare", "/access/apps$", "acme", *_GATE),
    broken("acme-main-gate-dns", "cloudflare", "/dns_records$", "acme"),
]


async def prepared(made: World) -> None:
    made.extra_env["ACME_API_KEY"] = "what opens Acme's own door"
    made.write("tenants/acme.yaml", (made.project / "tenants/acme.yaml").read_text() + SECRETS)


def assert_fern_is_complete(made: World) -> None:
    """The other tenant has everything: host, gate, customer (its plan is free: no subscription)."""
    kept = made.kept()
    [app] = [app for name, app in kept["apps"].items() if name.startswith("fern-")]
    assert [machine[1] for machine in app["machines"]] == ["started"]
    assert (len(app["volumes"]), len(app["ips"])) == (1, 1)
    assert "fern.localhost" in kept["routes"]
    assert "fern.localhost" in [record[0] for record in kept["records"]]
    assert "fern.localhost" in [application[1] for application in kept["applications"]]
    assert "fern" in [customer[2] for customer in kept["customers"]]


def assert_told(ran_failures: list[dict[str, object]], resource: str, skipped: frozenset[str], words: str) -> None:
    """The tenant is named, with the vendor's words for what failed and a mark on what was left alone for it."""
    names = {str(failure["urn"]).rsplit("::", 1)[-1]: failure for failure in ran_failures}
    assert {failure["tenant"] for failure in ran_failures} == {"acme"}
    assert names.keys() == {resource, *skipped}
    assert words in str(names[resource]["message"])
    assert {name for name, failure in names.items() if failure["skipped"]} == skipped


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.resource)
def test_a_refused_resource_stops_its_own_dependents_and_nobody_else(play: Callable[..., None], case: Broken):
    async def scene(made: World) -> None:
        await prepared(made)
        made.cloud.faults.add(case.fault())
        first = await made.up()
        assert first.code == 1, first.failed()
        assert_told(first.document["failures"], case.resource, case.skipped, WORDS)
        assert_fern_is_complete(made)
        asked = "".join(entry.path + entry.query + entry.body for entry in made.cloud.journal.entries)
        assert [sentinel for sentinel in UNKNOWN if sentinel in asked] == []

        made.cloud.faults.clear()
        again = await made.up()
        assert again.code == 0, again.failed()
        assert (await made.preview()).ops == {}
        # Nobody else was touched again.
        assert {change["tenant"] for change in again.document["changes"]} <= {"acme", None}
        assert again.ops == {"create": 1 + len(case.skipped)}

    play(scene)


def test_a_route_that_cannot_be_written_closes_one_gate_alone(play: Callable[..., None]):
    async def scene(made: World) -> None:
        await prepared(made)
        in_the_way = made.cloud.directory / "store" / "routes" / "acme.localhost.json"
        in_the_way.mkdir(parents=True)
        first = await made.up()
        in_the_way.rmdir()
        assert first.code == 1, first.failed()
        assert_told(first.document["failures"], "acme-main-gate-route", frozenset({"acme-main-gate-dns"}), "acme.localhost")
        assert_fern_is_complete(made)
        assert "acme.localhost" not in [record[0] for record in made.kept()["records"]]
        again = await made.up()
        assert again.code == 0, again.failed()
        assert "acme.localhost" in made.routes()

    play(scene)


def test_a_refused_tenant_is_named_for_people_too(play: Callable[..., None]):
    async def scene(made: World) -> None:
        made.cloud.faults.add(CASES[0].fault())
        ran = await said(made, "up", "--yes")
        assert ran.code == 1, ran.failed()
        [line] = [line for line in ran.stdout.splitlines() if WORDS in line]
        assert line.startswith("failed: acme: acme-billing-customer: ")
        assert "skipped: acme: acme-billing-subscription: " in ran.stdout

    play(scene)


def test_no_resource_depends_on_two_tenants(play: Callable[..., None]):
    async def scene(made: World) -> None:
        await prepared(made)
        assert (ran := await made.up()).code == 0, ran.failed()
        resources = export_stack(load_project(made.project), "main")["deployment"]["resources"]
        direct = {r["urn"]: {*r.get("dependencies", ()), r.get("parent", ""), r.get("deletedWith", "")} - {""} for r in resources}

        def reached(urn: str, seen: set[str]) -> set[str]:
            for other in direct.get(urn, ()):
                if other not in seen:
                    seen.add(other)
                    reached(other, seen)
            return seen

        names = {tenant: f"rowhouse:index:Tenant::{tenant}" for tenant in ("acme", "fern")}
        owners = {
            urn: {tenant for tenant, mark in names.items() if any(mark in other for other in {urn, *reached(urn, set())})} for urn in direct
        }
        assert {urn: tenants for urn, tenants in owners.items() if len(tenants) > 1} == {}
        # The walk sees what it is about: both tenants have their twelve or so resources, and the rest has none.
        counted = {tenant: sum(tenant in tenants for tenants in owners.values()) for tenant in names}
        assert min(counted.values()) > 8, counted

    play(scene)
