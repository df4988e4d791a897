"""From two fleets and the paths that differ to the tenants and cells that can change, each with its reasons.

Does: compare what the files say when everything is resolved, so that a comment, the place of a key or another spelling of a number selects
nobody, and a catalog exactly its tenants. Does not: know what a component makes of it (`render.py` does), or read anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from rowhouse.review.commits import Changed
from rowhouse.spec.model import App, Fleet, Plan, Tenant

__all__ = ["CATALOG_CELL", "Affected", "Affection", "affected"]

CATALOG_CELL: Final = "main"
"""The cell that registers what is for sale."""

Kind = Literal["added", "removed", "moved", "changed"]

_NAMED: Final = 3
_STACK_FILE: Final = re.compile(r"stacks/Pulumi\.([a-z0-9-]+)\.yaml")
_PROGRAM: Final = ("stacks/", "components/", "rowhouse/")
_PROGRAM_FILES: Final = frozenset({"Pulumi.yaml", "pyproject.toml", "requirements.txt", "stacks/requirements.txt"})

# What no component reads: it may change without a tenant changing.
_UNREAD: Final[Mapping[type[Any], frozenset[str]]] = {
    App: frozenset({"title", "counters"}),
    Plan: frozenset({"demo", "size", "app", "host", "region", "env"}),
}
"""Of an app its title and the words for its counters; of a plan what its tenants have resolved already, and the mark of an example."""


@dataclass(frozen=True, slots=True)
class Affection:
    """One tenant that can change."""

    tenant: str
    kind: Kind
    before: Tenant | None
    after: Tenant | None
    reasons: tuple[str, ...]
    """Paths: `tenants/acme.yaml`, `plans/aether.yaml`, `apps/notebook.yaml`, `stacks/Pulumi.main.yaml`, `components/gate.py`."""
    own: bool
    """Whether its own file differs."""


@dataclass(frozen=True, slots=True)
class Affected:
    """What a range of commits can change."""

    tenants: Mapping[str, Affection]
    """By id."""
    cells: tuple[str, ...]
    """Every cell in which something can change, sorted; also those of shared things alone."""
    program: tuple[str, ...] = ()
    """Paths of code that differ: with them everything can change."""
    stacks: tuple[str, ...] = ()
    """Cells whose stack file differs."""
    catalogs: tuple[str, ...] = ()
    """Catalogs whose terms differ, were added or removed."""
    other: tuple[str, ...] = ()
    """Paths that change nothing that is deployed: documents, tests, policies, workflows."""
    _tenants_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def in_cell(self, cell: str) -> tuple[str, ...]:
        """The affected tenants of one cell, before or after, by id."""
        return self._tenants_of.get(cell, ())


def affected(before: Fleet, after: Fleet, changed: Iterable[Changed]) -> Affected:
    """The tenants and cells that can change between two fleets, of which `changed` are the paths that differ.

    Exact for data: a tenant is affected when, and only when, something of it differs that a component reads. Code is not read: where any
    of the program differs, everybody is affected.
    """
    paths = [change.path for change in changed]
    program = tuple(path for path in paths if _is_program(path))
    stacks = tuple(sorted(match[1] for path in paths if (match := _STACK_FILE.fullmatch(path))))
    old = {tenant.id: tenant for tenant in before.tenants}
    new = {tenant.id: tenant for tenant in after.tenants}
    seen, differing = _Seen(), frozenset(paths)
    found = {}
    for slug in sorted(old.keys() | new.keys()):
        one = _affection(slug, old.get(slug), new.get(slug), seen, differing, program)
        if one is not None:
            found[slug] = one
    catalogs = _catalogs(before, after, seen)
    cells: dict[str, list[str]] = {}
    for slug, one in found.items():
        for cell in dict.fromkeys(tenant.cell for tenant in (one.before, one.after) if tenant is not None):
            cells.setdefault(cell, []).append(slug)
    shared = {*stacks, *((*before.cells(), *after.cells(), CATALOG_CELL) if program else ()), *((CATALOG_CELL,) if catalogs else ())}
    return Affected(
        tenants=found,
        cells=tuple(sorted(shared | cells.keys())),
        program=program,
        stacks=stacks,
        catalogs=catalogs,
        other=tuple(path for path in paths if not _is_deployed(path)),
        _tenants_of={cell: tuple(slugs) for cell, slugs in cells.items()},
    )


class _Seen:
    """Plans and apps as components see them; each is looked at once, however many tenants share it."""

    def __init__(self) -> None:
        self._views: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        known = self._views.get(id(value))
        if known is None:
            kind = type(value)
            names = [one.name for one in fields(kind) if one.name not in _UNREAD[kind]]
            # The value is kept too: while it lives nothing else has its id.
            known = self._views[id(value)] = (value, tuple(_plain(getattr(value, name)) for name in names))
        return known[1]

    def differs(self, old: Tenant, new: Tenant) -> bool:
        """Whether anything differs that a component reads."""
        if old is new:
            return False
        return bool(self._read(old) != self._read(new) or self(old.plan) != self(new.plan) or self(old.app) != self(new.app))

    def _read(self, tenant: Tenant) -> Any:
        instances = sorted(tenant.instances, key=lambda instance: instance.name)
        return tenant.owner, frozenset(tenant.members), tenant.state, tenant.env, tenant.secrets, tenant.cell, instances


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _affection(
    slug: str, old: Tenant | None, new: Tenant | None, seen: _Seen, differing: frozenset[str], program: tuple[str, ...]
) -> Affection | None:
    """How one tenant can change, None where it cannot."""
    file = f"tenants/{slug}.yaml"
    if old is None or new is None:
        return Affection(slug, "added" if old is None else "removed", old, new, (file,), own=True)
    shared = [f"stacks/Pulumi.{cell}.yaml" for cell in sorted({old.cell, new.cell})]
    reasons = [*(path for path in shared if path in differing), *program[:_NAMED]]
    if seen.differs(old, new):
        plans = [f"plans/{plan.catalog}.yaml" for plan in (old.plan, new.plan)]
        apps = [f"apps/{app.id}.yaml" for app in (old.app, new.app)]
        reasons = [*(path for path in dict.fromkeys([file, *plans, *apps]) if path in differing), *reasons]
    if not reasons:
        return None
    kind: Kind = "moved" if old.cell != new.cell else "changed"
    return Affection(slug, kind, old, new, tuple(reasons), own=file in differing)


def _catalogs(before: Fleet, after: Fleet, seen: _Seen) -> tuple[str, ...]:
    old, new = ({catalog.id: [seen(plan) for plan in catalog.plans] for catalog in fleet.catalogs} for fleet in (before, after))
    return tuple(sorted(slug for slug in old.keys() | new.keys() if old.get(slug) != new.get(slug)))


def _is_program(path: str) -> bool:
    if path in _PROGRAM_FILES:
        return True
    return path.startswith(_PROGRAM) and not _STACK_FILE.fullmatch(path) and not path.endswith(".md")


def _is_deployed(path: str) -> bool:
    return _is_program(path) or path.startswith(("tenants/", "plans/", "apps/")) or _STACK_FILE.fullmatch(path) is not None
