"""Before each hostname stands one application, with the one policy that names the tenant's members, and the route asks for its tokens.

Values are compared where they are known. Where one is made by the same change, the resource that it is an output of is compared instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from policies.rules import kinds
from policies.rules.places import place_of
from policies.rules.reading import LATER, differs, entries, is_unknown, known_text, of_type, said
from rowhouse.spec.policy import Facts, Resource, ResourceRule, StackRule
from rowhouse.spec.problem import listed
from rowhouse.spec.slug import show

__all__ = ["RULES"]

_NAMING: Final = {"email": "email", "emailDomain": "domain"}
"""The selectors that name members, to the key under which they do."""


def _selectors(resource: Resource) -> Iterator[tuple[str, Any]]:
    """Kind and content of each selector of a policy's includes; what is no selector under an empty kind."""
    for entry in entries(said(resource, "includes")):
        given = {key: value for key, value in entry.items() if value is not None} if isinstance(entry, Mapping) else {}
        if not given:
            yield "", entry
        yield from given.items()


def _named(kind: str, content: Any) -> str | None:
    """The member that a selector names, as a tenant's file writes him; None for any other selector."""
    key = _NAMING.get(kind)
    name = content.get(key) if key and isinstance(content, Mapping) else None
    if not isinstance(name, str):
        return None
    return name.lower() if kind == "email" else f"@{name.lower()}"


def _nobody_else(resource: Resource, facts: Facts) -> Iterator[str]:
    del facts
    if why := differs(resource, "decision", "allow"):
        yield f"{why}."
    includes = said(resource, "includes")
    if not isinstance(includes, list | tuple):
        yield f"includes {LATER if is_unknown(includes) else 'is missing'}; it must name the tenant's members."
    for kind, content in _selectors(resource):
        if is_unknown(content) or is_unknown(kind):
            yield f"a selector in includes {LATER}."
        elif _named(kind, content) is None:
            yield f"includes has the selector {show(kind or content)}; allowed are email and emailDomain, which name members."


def _members(resource: Resource, facts: Facts) -> Iterator[str]:
    place = place_of(resource, facts)
    if place is None or place.tenant is None:
        return  # names.place says so
    wanted = set(place.tenant.members)
    found = {name for kind, content in _selectors(resource) if (name := _named(kind, content)) is not None}
    if extra := sorted(found - wanted):
        yield f"it lets in {listed(map(show, extra))}, whom tenants/{place.tenant.id}.yaml does not name as members."
    if absent := sorted(wanted - found):
        yield f"it does not let in {listed(map(show, absent))}, whom tenants/{place.tenant.id}.yaml names as members."


def _hostname(resource: Resource) -> str:
    """The hostname that a part of a gate is for; empty where it says none."""
    key = {kinds.ROUTE: "hostname", kinds.DNS_RECORD: "name"}.get(resource.type, "domain")
    return (known_text(resource, key) or "").lower()


def _one_application(resources: Sequence[Resource], facts: Facts) -> Iterator[tuple[str, str]]:
    del facts
    applications = of_type(resources, kinds.ACCESS_APPLICATION)
    counts = Counter(_hostname(one) for one in applications)
    routed = Counter(_hostname(one) for one in of_type(resources, kinds.ROUTE))
    for part in (*of_type(resources, kinds.ROUTE), *of_type(resources, kinds.DNS_RECORD)):
        hostname = _hostname(part)
        if not hostname:
            yield part.urn, "its hostname is missing, so nothing tells which application stands before it."
        elif counts[hostname] != 1:
            yield part.urn, f"{counts[hostname]} applications stand before {show(hostname)}; it must be exactly one."
    for one in applications:
        hostname = _hostname(one)
        if not hostname:
            yield one.urn, "domain is missing; it must be the hostname that the application stands before."
        elif routed[hostname] != 1:
            yield one.urn, f"{routed[hostname]} routes lead on from {show(hostname)}; it must be exactly one."


def _one_hostname(resource: Resource, facts: Facts) -> Iterator[str]:
    del facts
    if why := differs(resource, "type", "self_hosted"):
        yield f"{why}."
    for key in ("destinations", "selfHostedDomains"):
        if said(resource, key) not in (None, []):
            yield f"{key} is given; it must be left out: an application stands before the hostname in domain and no other."


def _own_policy(resources: Sequence[Resource], facts: Facts) -> Iterator[tuple[str, str]]:
    policies = {one.urn: one for one in of_type(resources, kinds.ACCESS_POLICY)}
    for one in of_type(resources, kinds.ACCESS_APPLICATION):
        given, place = said(one, "policies"), place_of(one, facts)
        if given is None or given == []:
            yield one.urn, "policies is missing; it must be the policy of the tenant's members alone."
            continue
        if not is_unknown(given) and len(entries(given)) != 1:
            yield one.urn, f"it has {len(entries(given))} policies; it must have one, that of the tenant's members."
        origins = one.comes_from.get("policies", ())
        if len(origins) != 1 or origins[0] not in policies:
            yield one.urn, "policies does not come from one policy of this stack; it must come from that of the tenant's members."
            continue
        owner = place_of(policies[origins[0]], facts)
        if place is not None and owner is not None and owner.tenant is not place.tenant:
            yield one.urn, "policies comes from another tenant's policy; it must come from that of its own tenant."


def _audience(resources: Sequence[Resource], facts: Facts) -> Iterator[tuple[str, str]]:
    del facts
    applications: dict[str, list[Resource]] = {}
    for one in of_type(resources, kinds.ACCESS_APPLICATION):
        applications.setdefault(_hostname(one), []).append(one)
    for route in of_type(resources, kinds.ROUTE):
        hostname, audience = _hostname(route), said(route, "audience")
        before = applications.get(hostname, [])
        if audience is None:
            yield route.urn, "audience is missing; it must be that of the application before its hostname."
        elif hostname and len(before) == 1 and not _is_of(route, audience, before[0]):
            yield route.urn, f"audience is not that of the application before {show(hostname)}; it must be, or another gate's tokens pass."


def _is_of(route: Resource, audience: Any, application: Resource) -> bool:
    """Whether a route's audience is an application's: by value where both are known, else by where it comes from."""
    own = said(application, "aud")
    if not is_unknown(audience) and own is not None and not is_unknown(own):
        return bool(audience == own)
    return route.comes_from.get("audience", ()) == (application.urn,)


RULES: Final = (
    ResourceRule(
        id="gate.nobody-else",
        level="mandatory",
        wants="An Access policy allows people by their address or their address's domain, by nothing else.",
        why="`everyone`, a network range, a service token or a bypass lets in people whom no tenant's file names.",
        mend="Write who may enter under `members:` in the tenant's file; the component makes the selectors.",
        types=frozenset({kinds.ACCESS_POLICY}),
        check=_nobody_else,
    ),
    ResourceRule(
        id="gate.members",
        level="mandatory",
        wants="An Access policy names exactly the members in its tenant's file.",
        why="One too many sees a customer's data; one too few is locked out of a service that is paid for.",
        mend="Change `members:` in the tenant's file; it is the only place.",
        types=frozenset({kinds.ACCESS_POLICY}),
        check=_members,
    ),
    StackRule(
        id="gate.one-application",
        level="mandatory",
        wants="Before each hostname stands exactly one Access application of its own, and one route leads on from it.",
        why="A name without an application is open to everyone; with two, the one that lets in more decides.",
        mend="Let each instance have one gate component, which makes application, route and DNS record together.",
        check=_one_application,
    ),
    ResourceRule(
        id="gate.one-hostname",
        level="mandatory",
        wants="An Access application is a self-hosted one before a single hostname.",
        why="One that stands before several lets whoever may enter the first enter the others.",
        mend="Let each instance have a gate component of its own.",
        types=frozenset({kinds.ACCESS_APPLICATION}),
        check=_one_hostname,
    ),
    StackRule(
        id="gate.own-policy",
        level="mandatory",
        wants="An Access application has one policy, that of its own tenant's members.",
        why="With another tenant's policy, its members enter here.",
        mend="Give the gate the id of the policy that the tenant's component made.",
        check=_own_policy,
    ),
    StackRule(
        id="gate.audience",
        level="mandatory",
        wants="A route asks for tokens of the application before its hostname.",
        why="With another audience, whoever may enter there passes here, and the tenant's own members do not.",
        mend="Give the route the audience of the application that the same gate component made.",
        check=_audience,
    ),
)
