"""For each rule: where it is broken, and where what it looks at is missing. Each case changes one thing in a world that all rules are quiet about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from rowhouse.spec.guardrails import Guardrails
from rowhouse.spec.policy import UNKNOWN
from tests.policies.worlds import Mutation, Registered, before_the_first_apply

MACHINE, VOLUME, POLICY = "acme-main-machine", "acme-main-volume", "acme-members"
ROUTE, RECORD, APPLICATION = "acme-main-gate-route", "acme-main-gate-dns", "acme-main-gate-application"
SUBSCRIPTION = "acme-billing-subscription"
SERVICE: Final = {
    "protocol": "tcp",
    "internal_port": 8080,
    "min_machines_running": 0,
    "ports": [{"port": 80, "handlers": ["http"]}],
}


@dataclass(frozen=True)
class Case:
    """One thing broken."""

    rule: str
    title: str
    mutate: Mutation
    says: str
    """Part of what the rule says."""
    missing: bool = False
    """The case is of a property that is not there."""
    also: frozenset[str] = frozenset()
    """Rules that the same mistake breaks as well, with good reason."""


def props(rule: str, title: str, name: str, says: str, /, *, also: tuple[str, ...] = (), **changed: Any) -> Case:
    """A case of other properties."""
    return Case(rule, title, lambda world: world.with_props(name, **changed), says, also=frozenset(also))


def missing(rule: str, name: str, prop: str, says: str, *, also: tuple[str, ...] = ()) -> Case:
    """A case of a missing property."""
    return Case(rule, f"{prop} of {name} is missing", lambda world: world.without(name, prop), says, missing=True, also=frozenset(also))


def _includes(*more: Any, keep: bool = True) -> Mutation:
    def mutate(world: Registered) -> Registered:
        own = list(world.named(POLICY).props["includes"]) if keep else []
        return world.with_props(POLICY, includes=[*own, *more])

    return mutate


def _service(**changed: Any) -> list[dict[str, Any]]:
    return [{**SERVICE, **changed}]


def _comes_from(name: str, prop: str, *urns_of: str) -> Mutation:
    def mutate(world: Registered) -> Registered:
        origins = {**world.named(name).comes_from, prop: tuple(world.named(other).urn for other in urns_of)}
        return world.changed(name, comes_from=origins)

    return mutate


def _before(mutate: Mutation) -> Mutation:
    return lambda world: mutate(before_the_first_apply(world))


def _metadata(name: str, **changed: Any) -> Mutation:
    def mutate(world: Registered) -> Registered:
        kept = {**world.named(name).props["metadata"], **changed}
        return world.with_props(name, metadata={key: value for key, value in kept.items() if value is not None})

    return mutate


def _registries(*allowed: str) -> Mutation:
    def mutate(world: Registered) -> Registered:
        facts = world.facts
        return replace(
            world, facts=replace(facts, guardrails=Guardrails(registries=[*allowed])), resources=(world.named("acme-main-machine"),)
        )

    return mutate


def _plan(name: str = "acme", **limits: Any) -> Mutation:
    """The tenant's plan grants less than it did."""

    def mutate(world: Registered) -> Registered:
        fleet = world.facts.fleet
        tenants = tuple(
            replace(one, plan=replace(one.plan, limits=replace(one.plan.limits, **limits))) if one.id == name else one
            for one in fleet.tenants
        )
        return replace(world, facts=replace(world.facts, fleet=replace(fleet, tenants=tenants)))

    return mutate


def _crowd(count: int, name: str) -> Mutation:
    """So many resources of one kind, under names of their own; nothing else."""

    def mutate(world: Registered) -> Registered:
        one = world.named(name)
        return replace(world, resources=tuple(replace(one, urn=f"{one.urn}-{number}") for number in range(count)))

    return mutate


_MANY: Final = frozenset({"gate.one-application", "gate.own-policy"})
"""A crowd of copies of one thing stands before or behind nothing."""

CASES: Final[tuple[Case, ...]] = (
    # exposure
    props("exposure.address", "a public address", "acme-main-address", "type is 'v4'; it must be 'private_v6'", type="v4"),
    props("exposure.address", "another network", "acme-main-address", "network is 'default'", network="default"),
    missing("exposure.address", "acme-main-address", "type", "type is missing"),
    missing("exposure.address", "acme-main-address", "network", "network is missing"),
    props("exposure.service", "a second service", MACHINE, "it has 2 services", services=[SERVICE, SERVICE]),
    props(
        "exposure.service",
        "a port with TLS",
        MACHINE,
        "it must be port 80",
        services=_service(ports=[{"port": 443, "handlers": ["tls", "http"]}]),
    ),
    props("exposure.service", "another port of the app", MACHINE, "internal_port is '22'", services=_service(internal_port=22)),
    props("exposure.service", "datagrams", MACHINE, "protocol is 'udp'", services=_service(protocol="udp")),
    props("exposure.service", "a service that is none", MACHINE, "services[0] is 'all'", services=["all"]),
    props("exposure.service", "services that are no list", MACHINE, "it must be a list", services="all"),
    props("exposure.service", "services known only later", MACHINE, "known only after", services=UNKNOWN),
    props("exposure.service", "a service of the edge", "edge-machine-1", "only an instance has one", services=[SERVICE]),
    Case(
        "exposure.service",
        "the parts of a service are missing",
        lambda world: world.with_props(MACHINE, services=[{}]),
        "it must be port 80",
        missing=True,
    ),
    props("exposure.name", "an address record", RECORD, "type is 'A'; it must be 'CNAME'", type="A"),
    props("exposure.name", "a record past the proxy", RECORD, "proxied is 'False'", proxied=False),
    props("exposure.name", "a record to elsewhere", RECORD, "it must be the cell's tunnel", content="elsewhere.example"),
    missing("exposure.name", RECORD, "proxied", "proxied is 'None'"),
    missing("exposure.name", RECORD, "content", "it must be the cell's tunnel"),
    Case("exposure.own-tunnel", "a tunnel of nobody here", _comes_from(RECORD, "content"), "does not come from the tunnel"),
    Case("exposure.own-tunnel", "an output of something else", _comes_from(RECORD, "content", "edge-app"), "does not come from the tunnel"),
    Case(
        "exposure.own-tunnel",
        "content comes from nowhere",
        lambda world: world.changed(RECORD, comes_from={}),
        "does not come from the tunnel",
        missing=True,
    ),
    props(
        "exposure.tunnel",
        "a rule past the gateway",
        "edge-tunnel-config",
        "config.ingresses[0].service is 'http://10.0.0.1:80'",
        config={"ingresses": [{"service": "http://10.0.0.1:80"}]},
    ),
    props(
        "exposure.tunnel",
        "a rule for another name",
        "edge-tunnel-config",
        "hostname is 'other.example'",
        config={"ingresses": [{"hostname": "other.example", "service": "http://localhost:8080"}]},
    ),
    props(
        "exposure.tunnel",
        "a way for enrolled devices",
        "edge-tunnel-config",
        "warpRouting is enabled",
        config={"ingresses": [{"service": "http_status:404"}], "warpRouting": {"enabled": True}},
    ),
    missing("exposure.tunnel", "edge-tunnel-config", "config", "config is missing"),
    Case(
        "exposure.tunnel",
        "the rules are missing",
        lambda world: world.with_props("edge-tunnel-config", config={}),
        "ingresses is missing",
        missing=True,
    ),
    # gates
    Case("gate.nobody-else", "everyone", _includes({"everyone": {}}), "selector 'everyone'"),
    Case("gate.nobody-else", "a service token", _includes({"anyValidServiceToken": {}}), "selector 'anyValidServiceToken'"),
    Case("gate.nobody-else", "a hidden second selector", _includes({"email": {"email": "ana@acme.example"}, "everyone": {}}), "'everyone'"),
    Case("gate.nobody-else", "a selector known only later", _includes({"ip": UNKNOWN}), "known only after"),
    Case("gate.nobody-else", "a selector that is none", _includes("everyone"), "selector 'everyone'"),
    props("gate.nobody-else", "a bypass", POLICY, "decision is 'bypass'", decision="bypass"),
    missing("gate.nobody-else", POLICY, "decision", "decision is missing"),
    missing("gate.nobody-else", POLICY, "includes", "includes is missing", also=("gate.members",)),
    Case("gate.members", "one too many", _includes({"email": {"email": "eve@evil.example"}}), "it lets in 'eve@evil.example'"),
    Case("gate.members", "a whole domain too many", _includes({"emailDomain": {"domain": "evil.example"}}), "it lets in '@evil.example'"),
    Case("gate.members", "one too few", _includes({"emailDomain": {"domain": "acme.example"}}, keep=False), "does not let in 'ana@acme"),
    missing("gate.members", POLICY, "includes", "does not let in", also=("gate.nobody-else",)),
    Case("gate.one-application", "no application", lambda world: world.less(APPLICATION), "0 applications stand before", also=frozenset()),
    Case(
        "gate.one-application",
        "two applications",
        lambda world: world.twice(APPLICATION, "acme-main-second-gate-application"),
        "2 applications stand before",
        also=frozenset({"name.place"}),
    ),
    Case("gate.one-application", "no route", lambda world: world.less(ROUTE), "0 routes lead on from"),
    props("gate.one-hostname", "another kind of application", APPLICATION, "type is 'bookmark'", type="bookmark"),
    props(
        "gate.one-hostname",
        "an application before more than one name",
        APPLICATION,
        "destinations is given",
        destinations=[{"type": "public", "uri": "acme.example.com"}, {"type": "public", "uri": "fern.example.com"}],
    ),
    props("gate.one-hostname", "names known only later", APPLICATION, "selfHostedDomains is given", selfHostedDomains=UNKNOWN),
    missing("gate.one-hostname", APPLICATION, "type", "type is missing"),
    missing("gate.one-application", ROUTE, "hostname", "its hostname is missing", also=("name.vendor",)),
    missing("gate.one-application", APPLICATION, "domain", "domain is missing", also=("name.vendor",)),
    Case("gate.own-policy", "another tenant's policy", _comes_from(APPLICATION, "policies", "fern-members"), "another tenant's policy"),
    Case("gate.own-policy", "a policy of nobody here", _comes_from(APPLICATION, "policies"), "does not come from one policy"),
    props("gate.own-policy", "a second policy", APPLICATION, "it has 2 policies", policies=[{"id": "a"}, {"id": "b"}]),
    missing("gate.own-policy", APPLICATION, "policies", "policies is missing"),
    props("gate.own-policy", "no policy", APPLICATION, "policies is missing", policies=[]),
    props("gate.audience", "another gate's audience", ROUTE, "audience is not that of", audience="<fern-main-gate-application aud>"),
    Case(
        "gate.audience",
        "another gate's audience before the first apply",
        _before(_comes_from(ROUTE, "audience", "fern-main-gate-application")),
        "audience is not that of",
    ),
    Case(
        "gate.audience",
        "an audience from a file before the first apply",
        _before(lambda world: world.with_props(ROUTE, audience="0" * 64).changed(ROUTE, comes_from={})),
        "audience is not that of",
        also=frozenset(),
    ),
    missing("gate.audience", ROUTE, "audience", "audience is missing"),
    # images
    props("image.digest", "a tag", MACHINE, "image is 'registry.localhost/notebook:latest'", image="registry.localhost/notebook:latest"),
    props("image.digest", "an image known only later", MACHINE, "known only after", image=UNKNOWN),
    missing("image.digest", MACHINE, "image", "image is missing"),
    Case("image.registry", "another registry", _registries("registry.fly.io/ours"), "is from no allowed registry"),
    Case("image.registry", "a registry whose name begins alike", _registries("registry.local"), "is from no allowed registry"),
    Case(
        "image.registry",
        "no image",
        lambda world: _registries("registry.localhost")(world.without(MACHINE, "image")),
        "missing or not known",
        missing=True,
        also=frozenset({"image.digest"}),
    ),
    # sizes
    props("size.machine", "more memory than the plan", MACHINE, "Allowed: 2048 MB", memoryMb=4096, cpus=2),
    props("size.machine", "a size that nobody sells", MACHINE, "not a multiple of 256", memoryMb=300),
    props("size.machine", "more processors than the plan", MACHINE, "Allowed: 2.", cpus=4, memoryMb=1024),
    props("size.machine", "a kind that the plan has not", MACHINE, "not part of plan", cpuKind="performance", memoryMb=2048),
    props("size.machine", "a kind that is none", MACHINE, "cpuKind is 'huge'", cpuKind="huge"),
    props("size.machine", "processors that are no number", MACHINE, "cpus is 'True'", cpus=True),
    props("size.machine", "an edge that nobody sells", "edge-machine-1", "not a multiple of 256", memoryMb=500),
    Case("size.machine", "a smaller plan", _plan(memory_mb=256), "more than plan aether/pro allows"),
    missing("size.machine", MACHINE, "memoryMb", "memoryMb is missing"),
    missing("size.machine", MACHINE, "cpus", "cpus is missing"),
    props("size.volume", "a larger volume than the plan", VOLUME, "Allowed: 1 to 10 GB", sizeGb=11),
    props("size.volume", "a larger volume than the host", "edge-volume-1", "Allowed: 1 to 500 GB", sizeGb=501),
    props("size.volume", "a volume of nothing", VOLUME, "at least 1", sizeGb=0),
    missing("size.volume", VOLUME, "sizeGb", "sizeGb is missing"),
    props("size.region", "no such region of a machine", MACHINE, "fly has no region 'frx'", region="frx"),
    props("size.region", "a region known only later", VOLUME, "known only after", region=UNKNOWN),
    missing("size.region", VOLUME, "region", "region is missing"),
    Case("size.instances", "a plan with fewer", _plan(instances=1), "acme has 2 machines; plan aether/pro allows 1"),
    Case(
        "size.instances",
        "machines that no file names",
        lambda world: world.twice(MACHINE, "acme-a-machine").twice(MACHINE, "acme-b-machine"),
        "acme has 4 machines",
        also=frozenset({"name.place", "exposure.service"}),
    ),
    Case(
        "size.instances",
        "machines without a mark",
        lambda world: _plan(instances=1)(world.without(MACHINE, "metadata")),
        "acme has 2 machines",
        missing=True,
        also=frozenset({"mark.present"}),
    ),
    # protection
    Case("protect.data", "a volume", lambda world: world.changed(VOLUME, protect=False), "protect is not set"),
    Case("protect.data", "the app that holds it", lambda world: world.changed("acme-main-app", protect=False), "protect is not set"),
    Case(
        "protect.data", "a volume of one who leaves", lambda world: world.changed("hazel-main-volume", protect=False), "protect is not set"
    ),
    Case(
        "protect.data",
        "nothing is said of it",
        lambda world: world.changed(VOLUME, protect=False, props={}),
        "protect is not set",
        missing=True,
        also=frozenset({"size.volume", "size.region", "name.vendor"}),
    ),
    Case("protect.subscription", "active", lambda world: world.changed(SUBSCRIPTION, protect=False), "protect is not set"),
    Case(
        "protect.subscription",
        "of one who is suspended",
        lambda world: world.changed("opal-billing-subscription", protect=False),
        "protect is not set",
    ),
    Case(
        "protect.subscription",
        "active is missing",
        lambda world: world.without("fern-billing-subscription", "active"),
        "protect is not set",
        missing=True,
    ),
    # secrets
    props("secret.plain", "a key by its shape", MACHINE, "looks like a Stripe key", env={"PAY": "sk_live_0123456789abcdef"}),
    props("secret.plain", "a key by its name", MACHINE, "'env.API_KEY' looks like a credential", env={"API_KEY": "correct horse"}),
    props("secret.plain", "in a list", ROUTE, "an address with a password", counters=["https://u:secret@x.example"]),
    Case(
        "secret.plain",
        "in what has no other property",
        lambda world: world.changed(
            "fern-billing-customer", props={"metadata": world.named("fern-billing-customer").props["metadata"], "note": "FlyV1 abc"}
        ),
        "looks like a Fly token",
        missing=True,
    ),
    # marks
    Case("mark.present", "no tenant", _metadata(MACHINE, tenant=None), "the label tenant is missing; it must be 'acme'"),
    Case("mark.present", "another tenant", _metadata("fern-billing-customer", tenant="acme"), "the label tenant is 'acme'"),
    Case("mark.present", "another stack", _metadata("edge-machine-1", stack="other"), "the label stack is 'other'"),
    Case("mark.present", "the catalog's", _metadata("rowhouse_aether_pro", tenant="acme"), "it must be 'catalog'"),
    props("mark.present", "another comment", RECORD, "comment is 'mine'", comment="mine"),
    props("mark.present", "another tenant's route", ROUTE, "tenant is 'fern'", tenant="fern"),
    props("mark.present", "labels known only later", SUBSCRIPTION, "known only after", metadata=UNKNOWN),
    missing("mark.present", MACHINE, "metadata", "metadata is missing"),
    missing("mark.present", RECORD, "comment", "comment is missing"),
    # names
    Case(
        "name.place",
        "a volume of no tenant",
        lambda world: world.twice(VOLUME, "acme-spare-volume"),
        "it belongs to no tenant of cell main",
    ),
    Case(
        "name.place",
        "a kind that nobody knows",
        lambda world: replace(
            world, resources=(*world.resources, replace(world.named(RECORD), type="cloudflare:index/loadBalancer:LoadBalancer"))
        ),
        "it belongs to no tenant of cell main",
    ),
    Case(
        "name.place",
        "nothing is said of it",
        lambda world: replace(
            world, resources=(*world.resources, replace(world.named("edge-app"), name="other-app", urn="urn", props={}, protect=True))
        ),
        "it belongs to no tenant",
        missing=True,
    ),
    props("name.vendor", "another app's name", "acme-main-app", "name is 'acme'", name="acme"),
    props("name.vendor", "another network", "acme-main-app", "network is 'shared'", network="shared"),
    props("name.vendor", "in another tenant's app", VOLUME, "app is 'fern-main'", app="fern-main"),
    props("name.vendor", "another hostname", "acme-main-gate-application", "domain is", domain="x.example.com", also=("gate.one-application",)),
    props("name.vendor", "an application's name", APPLICATION, "name is 'Login'", name="Login"),
    props("name.vendor", "a policy's name", POLICY, "name is 'members'", name="members"),
    props("name.vendor", "a tunnel's name", "edge-tunnel", "name is 'tunnel'", name="tunnel"),
    props("name.vendor", "a machine of the edge", "edge-machine-2", "name is 'edge-1'", name="edge-1"),
    props("name.vendor", "a price's key", "rowhouse_aether_pro_base", "lookupKey is 'pro'", lookupKey="pro"),
    props("name.vendor", "a name known only later", MACHINE, "known only after", name=UNKNOWN),
    missing("name.vendor", VOLUME, "name", "name is missing"),
    missing("name.vendor", "acme-main-secrets", "app", "app is missing"),
    missing("name.vendor", "rowhouse_aether_running_hours_cent", "eventName", "eventName is missing"),
    # ceilings
    Case("ceiling.passed", "too many policies", _crowd(501, POLICY), "needs 501 reusable Access policies", also=frozenset({"ceiling.resources"})),
    Case("ceiling.passed", "too many applications", _crowd(501, APPLICATION), "`cell: main-2`", also=_MANY | {"ceiling.resources"}),
    Case(
        "ceiling.passed",
        "of which nothing is said",
        lambda world: _crowd(501, POLICY)(world.changed(POLICY, props={})),
        "needs 501",
        missing=True,
        also=frozenset({"ceiling.resources", "gate.members", "gate.nobody-else", "name.vendor"}),
    ),
    Case("ceiling.near", "many policies", _crowd(401, POLICY), "more than four fifths of the 500"),
    Case(
        "ceiling.near",
        "of which nothing is said",
        lambda world: _crowd(401, POLICY)(world.changed(POLICY, props={})),
        "needs 401",
        missing=True,
        also=frozenset({"gate.members", "gate.nobody-else", "name.vendor"}),
    ),
    Case("ceiling.resources", "many resources", _crowd(451, "fern-billing-customer"), "451 resources"),
    Case(
        "ceiling.resources",
        "of which nothing is said",
        lambda world: _crowd(451, "fern-billing-customer")(world.changed("fern-billing-customer", props={})),
        "451 resources",
        missing=True,
        also=frozenset({"mark.present"}),
    ),
)  # fmt: skip
