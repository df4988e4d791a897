"""What the rules are asked about in tests: the resources that the components register, recorded, and the files that they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policies import RULES
from rowhouse.spec import load_fleet, model
from rowhouse.spec.guardrails import Guardrails, load_guardrails
from rowhouse.spec.policy import UNKNOWN, Facts, Resource, Violation, violations_of
from rowhouse.wire.values import Secret, decode
from tests.components.recording import CELL, Cell, recorded, shown
from tests.support import catalog, fleet, free_plan, instance, plan, tenant

ROOT = Path(__file__).resolve().parents[2]
APPLICATION = "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication"


@dataclass(frozen=True)
class Registered:
    """Resources and what they are held against."""

    resources: tuple[Resource, ...]
    facts: Facts

    def named(self, name: str) -> Resource:
        """The resource of that name in the program."""
        (found,) = [one for one in self.resources if one.name == name]
        return found

    def changed(self, name: str, **fields: Any) -> Registered:
        """With other fields of one resource: `protect`, `comes_from`, ..."""
        self.named(name)
        return replace(self, resources=tuple(replace(one, **fields) if one.name == name else one for one in self.resources))

    def with_props(self, name: str, /, **props: Any) -> Registered:
        """With other properties of one resource."""
        return self.changed(name, props={**self.named(name).props, **props})

    def without(self, name: str, *props: str) -> Registered:
        """With properties of one resource missing."""
        return self.changed(name, props={key: value for key, value in self.named(name).props.items() if key not in props})

    def less(self, *names: str) -> Registered:
        """With some resources not registered."""
        return replace(self, resources=tuple(one for one in self.resources if one.name not in names))

    def twice(self, name: str, other: str, /, **props: Any) -> Registered:
        """With a copy of one resource under another name."""
        one = self.named(name)
        copy = replace(one, name=other, urn=f"{one.urn.rpartition('::')[0]}::{other}", props={**one.props, **props})
        return replace(self, resources=(*self.resources, copy))

    def violations(self) -> list[Violation]:
        """Everything that all rules say."""
        return violations_of(RULES, self.resources, self.facts)

    def fired(self) -> set[str]:
        """The rules that say something."""
        return {violation.rule for violation in self.violations()}


def register(
    tenants: Sequence[model.Tenant], catalogs: Sequence[model.Catalog], cell: Cell = CELL, guardrails: Guardrails | None = None
) -> Registered:
    """What the components register for these tenants, as an engine would tell it after everything is made."""
    recorder = recorded(tenants, catalogs, cell)
    resources = [
        Resource(
            urn=recorder.make_urn(request.parent, request.type, request.name),
            type=request.type,
            name=request.name,
            props={**_vendor_says(request.type, request.name), **_hidden(decode(request.object))},
            parent=request.parent,
            protect=request.protect,
            retain_on_delete=request.retainOnDelete,
            comes_from={key: tuple(found.urns) for key, found in request.propertyDependencies.items() if found.urns},
        )
        for request in recorder.requests
    ]
    whole = fleet(*tenants, catalogs=tuple(catalogs))
    return Registered(tuple(resources), Facts(whole, guardrails or Guardrails(), cell.project, cell.stack, cell.zone))


def _vendor_says(type_: str, name: str) -> dict[str, Any]:
    return {"aud": f"<{name} aud>"} if type_ == APPLICATION else {}


def _hidden(props: dict[str, Any]) -> dict[str, Any]:
    return {key: shown(value) if isinstance(value, Secret | dict | list) else value for key, value in props.items()}


def before_the_first_apply(registered: Registered) -> Registered:
    """The same while nothing is made yet: whatever comes from another resource is unknown."""

    def unknown(one: Resource) -> Resource:
        kept = {key: value for key, value in one.props.items() if key != "aud"}
        return replace(one, props={**kept, **dict.fromkeys(one.comes_from, UNKNOWN)})

    return replace(registered, resources=tuple(map(unknown, registered.resources)))


def named(slug: str, **overrides: object) -> model.Tenant:
    """A quiet tenant whose owner, members and instance carry its own name."""
    quiet = {
        "id": slug,
        "owner": model.Owner(slug.title(), f"ops@{slug}.example"),
        "members": (f"ops@{slug}.example",),
        "instances": (instance(hostname=slug),),
    }
    return tenant(**{**quiet, **overrides})


@cache
def quiet() -> Registered:
    """Tenants of every state on a paid and a free plan: no rule has anything to say."""
    acme = named(
        "acme",
        members=("ana@acme.example", "@acme.example"),
        secrets={"API_KEY": "env:ACME_API_KEY"},
        instances=(instance(), instance(name="lab", hostname="acme-lab")),
    )
    tenants = (acme, named("fern", plan=free_plan()), named("hazel", state="offboarding"), named("opal", state="suspended"))
    return register(tenants, (catalog(plan(), free_plan()),))


@cache
def shipped() -> Registered:
    """The project's own files and settings."""
    files = load_fleet(ROOT)
    config = yaml.safe_load((ROOT / "stacks" / "Pulumi.main.yaml").read_text(encoding="utf-8"))["config"]
    cell = replace(CELL, zone=config["account:zone"], edge_image=config["account:edgeImage"], edge_region=config["account:edgeRegion"])
    made = register(files.in_cell("main"), files.catalogs, cell)
    return replace(made, facts=Facts(files, load_guardrails(ROOT), cell.project, cell.stack, cell.zone))


Mutation = Callable[[Registered], Registered]


def rules_of(violations: Iterable[Violation]) -> set[str]:
    """The ids of what is broken."""
    return {violation.rule for violation in violations}
