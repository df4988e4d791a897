"""No way to an instance but its gate: no public address, no public port, no name and no tunnel that leads past the gateway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from policies.rules import kinds
from policies.rules.places import place_of
from policies.rules.reading import LATER, differs, entries, is_unknown, of_type, said
from rowhouse.spec import names
from rowhouse.spec.policy import Facts, Resource, ResourceRule, StackRule
from rowhouse.spec.slug import show

__all__ = ["RULES"]

_PRIVATE: Final = "private_v6"
_HTTP: Final = {"port": 80, "handlers": ["http"]}
_TUNNEL_SUFFIX: Final = ".cfargotunnel.com"
_REFUSAL: Final = "http_status:"
_WHY_ADDRESS: Final = (
    "Whoever knows a public address reaches the instance without passing its gate: no login, no hold, no suspension applies."
)


def _address(resource: Resource, facts: Facts) -> Iterator[str]:
    if why := differs(resource, "type", _PRIVATE):
        yield f"{why}."
    network = names.edge_network_name(facts.project, facts.stack, zone=facts.zone)
    if why := differs(resource, "network", network, later=True):
        yield f"{why}, the network of this cell's edge."


def _services(resource: Resource, facts: Facts) -> Iterator[str]:
    services, place = said(resource, "services"), place_of(resource, facts)
    if is_unknown(services):
        yield f"services {LATER}."
    elif place is None or place.tenant is None:
        if services:
            yield "services are given, though only an instance has one. The edge is reached through its tunnel, which dials out."
    elif services is not None and not isinstance(services, list | tuple):
        yield f"services is {show(services)}; it must be a list."
    elif len(entries(services)) > 1:
        yield f"it has {len(entries(services))} services; one is allowed, the app's port."
    else:
        for service in entries(services):
            yield from _service(service, place.tenant.app.port)


def _service(service: Any, port: int) -> Iterator[str]:
    """What is wrong with an instance's one service."""
    if not isinstance(service, Mapping):
        yield f"services[0] is {show(service)}; it must say protocol, internal_port and ports."
        return
    if service.get("internal_port") != port:
        yield f"services[0].internal_port is {show(service.get('internal_port'))}; it must be {port}, the app's port."
    if service.get("protocol") != "tcp":
        yield f"services[0].protocol is {show(service.get('protocol'))}; it must be 'tcp'."
    if [_plain_port(item) for item in entries(service.get("ports"))] != [_HTTP]:
        yield f"services[0].ports is {show(service.get('ports'))}; it must be port 80 with the handler http alone, for the edge's network."


def _plain_port(port: Any) -> Any:
    """A port without what was not given."""
    return {key: value for key, value in port.items() if value is not None} if isinstance(port, Mapping) else port


def _name(resource: Resource, facts: Facts) -> Iterator[str]:
    del facts
    if why := differs(resource, "type", "CNAME"):
        yield f"{why}."
    if said(resource, "proxied") is not True:
        yield f"proxied is {show(said(resource, 'proxied'))}; it must be true, or the name shows an address past Cloudflare Access."
    content = said(resource, "content")
    if not is_unknown(content) and not (isinstance(content, str) and content.endswith(_TUNNEL_SUFFIX)):
        yield f"content is {show(content)}; it must be the cell's tunnel, <id>{_TUNNEL_SUFFIX}."


def _own_tunnel(resources: Sequence[Resource], facts: Facts) -> Iterator[tuple[str, str]]:
    del facts
    tunnels = {resource.urn for resource in of_type(resources, kinds.TUNNEL)}
    for record in of_type(resources, kinds.DNS_RECORD):
        if not tunnels.intersection(record.comes_from.get("content", ())):
            yield record.urn, "content does not come from the tunnel of this stack; it must, or requests go to a tunnel nobody here runs."


def _tunnel(resource: Resource, facts: Facts) -> Iterator[str]:
    config = said(resource, "config")
    if not isinstance(config, Mapping):
        yield f"config {LATER if is_unknown(config) else 'is missing'}; it must send every name to the gateway."
        return
    rules = entries(config.get("ingresses"))
    if not rules:
        yield "config.ingresses is missing; it must send every name to the gateway."
    for number, rule in enumerate(rules):
        service = rule.get("service") if isinstance(rule, Mapping) else None
        if not _is_gateway(service):
            yield f"config.ingresses[{number}].service is {show(service)}; it must be http://localhost:<port> or {_REFUSAL}404."
        hostname = rule.get("hostname") if isinstance(rule, Mapping) else None
        if hostname is not None and hostname != f"*.{facts.zone}":
            yield f"config.ingresses[{number}].hostname is {show(hostname)}; it must be {show(f'*.{facts.zone}')} or left out."
    routing = config.get("warpRouting")
    if isinstance(routing, Mapping) and routing.get("enabled"):
        yield "config.warpRouting is enabled; it must not be: it opens the edge's network to every enrolled device."


def _is_gateway(service: Any) -> bool:
    if not isinstance(service, str):
        return False
    if service.startswith(_REFUSAL):
        return True
    try:
        parts = urlsplit(service)
        return (parts.scheme, parts.hostname, parts.username) == ("http", "localhost", None) and parts.port is not None
    except ValueError:  # a port that is none
        return False


RULES: Final = (
    ResourceRule(
        id="exposure.address",
        level="mandatory",
        wants="An address is a private one on the network of the cell's edge.",
        why=_WHY_ADDRESS,
        mend="Take the address out of the component. Instances are reached through their gates (docs/decisions/no-public-address.md).",
        types=frozenset({kinds.FLY_IP}),
        check=_address,
    ),
    ResourceRule(
        id="exposure.service",
        level="mandatory",
        wants="An instance's machine offers the app's port as plain HTTP on port 80 and nothing else; one of the edge offers nothing.",
        why="A second service, or one with TLS, is a door that no gate stands before.",
        mend="Take the service out of the component; what an app offers is the `port` of its file in apps/.",
        types=frozenset({kinds.FLY_MACHINE}),
        check=_services,
    ),
    ResourceRule(
        id="exposure.name",
        level="mandatory",
        wants="A DNS record is a proxied CNAME to a Cloudflare tunnel.",
        why="A record that is not proxied shows where things are, and requests to it never meet Cloudflare Access.",
        mend="Leave DNS to the gate component; a name for something else belongs into a zone that Rowhouse does not manage.",
        types=frozenset({kinds.DNS_RECORD}),
        check=_name,
    ),
    StackRule(
        id="exposure.own-tunnel",
        level="mandatory",
        wants="A DNS record leads to the tunnel of its own stack.",
        why="Another tunnel ends at machines that this cell does not run, with the tenant's name over them.",
        mend="Let the record's content be an output of the edge's tunnel.",
        check=_own_tunnel,
    ),
    ResourceRule(
        id="exposure.tunnel",
        level="mandatory",
        wants="The tunnel sends every name below the zone to the gateway beside it, and refuses the rest.",
        why="A rule that leads elsewhere lets requests pass by the gateway, which checks identity, holds and suspension.",
        mend="Restore the tunnel's rules in components/edge.py; a tenant's change never touches them.",
        types=frozenset({kinds.TUNNEL_CONFIG}),
        check=_tunnel,
    ),
)
