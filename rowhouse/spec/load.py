"""From a project's root to its fleet: read all, check all, report all.

Does: read tenants/, plans/ and apps/ once each, and collect every problem of every file before anything is built. Does not: stop at the
first problem, and does not read a clock, the environment or the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel

from rowhouse.errors import RowhouseError, SpecError
from rowhouse.spec.checks import ALL_CHECKS
from rowhouse.spec.document import MAX_VALUES, Document, parse
from rowhouse.spec.explain import validated
from rowhouse.spec.files import AppFile, CatalogFile, TenantFile
from rowhouse.spec.model import App, Catalog, Fleet, Plan, Tenant
from rowhouse.spec.problem import Problem, did_you_mean, listed, only_errors, sorted_problems
from rowhouse.spec.resolve import resolved_app, resolved_catalog, resolved_tenant
from rowhouse.spec.slug import show
from rowhouse.spec.source import Source, read_folder, refused_name, text_of

__all__ = ["Memory", "TooMuchError", "check_fleet", "load_fleet", "read_fleet"]

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")


@dataclass(slots=True)
class _Folder(Generic[M]):
    """The files of one folder: those that hold a model, and all names, so that a broken file is not also called missing."""

    files: dict[str, M] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What stands in files that hold no model: what they refer to is checked all the same."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What one file says by itself."""

    data: dict[str, Any] | None
    """None where its YAML cannot be believed."""
    held: BaseModel | None
    """None where anything in it is wrong."""
    problems: list[Problem]


class TooMuchError(RowhouseError):
    """All files together hold more than whoever reads them wants to read."""


class Memory:
    """What files said that were read before, and what was made of them."""

    def __init__(self, most: int | None = None) -> None:
        """Args: most: how many values all files may hold together; None: as many as they do."""
        self.said: dict[Source, _Said] = {}
        self._left = most
        self._most = most
        self._made: dict[tuple[int, ...], tuple[tuple[Any, ...], Any]] = {}

    def spend(self, source: Source, values: int) -> None:
        """Count what one file held. Raises: TooMuchError."""
        if self._left is None:
            return
        self._left -= values
        if self._left < 0:
            raise TooMuchError(
                f"the data files hold more than {self._most:,} values together, which is all that is read; {source.file} is one too many. "
                "A tenant needs about ten lines. Shorten the longest files."
            )

    def made(self, make: Callable[..., R], slug: str, *parts: Any) -> R:
        """What `make` made of the very same parts before, or makes of them now."""
        key = (id(make), *map(id, parts))
        known = self._made.get(key)
        if known is None:
            # The parts are kept too: while they live nothing else has their ids.
            known = self._made[key] = (parts, make(slug, *parts))
        return cast("R", known[1])


def load_fleet(root: Path) -> Fleet:
    """The fleet in a project's files. Raises SpecError with every problem when there is an error; warnings do not stop it."""
    fleet, problems = read_fleet(root)
    if only_errors(problems):
        raise SpecError(problems)
    return fleet


def check_fleet(root: Path) -> list[Problem]:
    """Every problem, errors and warnings, in the order of files and lines; empty when all is well."""
    return read_fleet(root)[1]


def read_fleet(
    root: Path,
    proposed: Mapping[str, str] | None = None,
    *,
    read: Callable[[str], tuple[list[Source], list[Problem]]] | None = None,
    memory: Memory | None = None,
) -> tuple[Fleet, list[Problem]]:
    """What could be resolved, and every problem. The fleet is complete only when no problem is an error.

    Args:
        root: of the project; kept in the fleet.
        proposed: texts of tenant files, by id, that are not written yet and are checked as if they were, in place of those that are.
        read: from a folder's name to its files, where they are not on disk below `root`.
        memory: what files said that were read before; a second fleet that shares most files with the first is read twice as quickly.
    Raises: TooMuchError where the memory has a bound and the files go beyond it.
    """
    take = read or (lambda folder: read_folder(root, folder))
    memory = memory or Memory()
    apps = _folder(take("apps"), "apps", AppFile, memory)
    catalogs = _folder(take("plans"), "plans", CatalogFile, memory)
    tenants = _folder(take("tenants"), "tenants", TenantFile, memory, proposed or {})
    places = _Places({"apps": apps.sources, "plans": catalogs.sources, "tenants": tenants.sources})
    problems = [*apps.problems, *catalogs.problems, *tenants.problems]

    made = memory.made
    resolved_apps = {slug: made(resolved_app, slug, file) for slug, file in apps.files.items()}
    resolved_catalogs = {slug: made(resolved_catalog, slug, file, apps.files.get(file.app)) for slug, file in catalogs.files.items()}
    plans = {plan.ref: plan for catalog in resolved_catalogs.values() for plan in catalog.plans}
    resolved: list[Tenant] = []
    for slug, file in tenants.files.items():
        plan = plans.get(file.plan)
        app_id = file.app or (plan.app if plan is not None else None)
        app = resolved_apps.get(app_id) if app_id is not None else None
        problems.extend(_unknown_in_tenant(places, slug, file.plan, file.app, plans, catalogs, apps))
        if plan is not None and app is not None:
            resolved.append(made(resolved_tenant, slug, file, plan, catalogs.files[plan.catalog], app, apps.files[app.id]))
    taken = {(problem.file, problem.line, problem.column) for problem in problems}
    for slug, data in tenants.broken.items():
        found = _unknown_in_tenant(places, slug, data.get("plan"), data.get("app"), plans, catalogs, apps)
        problems.extend(problem for problem in found if (problem.file, problem.line, problem.column) not in taken)
    for slug, catalog in catalogs.files.items():
        problems.extend(_unknown_meters(places, slug, catalog))
        if catalog.app not in apps.sources:
            problems.append(_unknown_app(places("plans", slug, ("app",)), catalog.app, sorted(apps.sources)))

    fleet = Fleet(tenants=tuple(resolved), catalogs=_values(resolved_catalogs), apps=_values(resolved_apps), root=root, locate=places)
    for check in ALL_CHECKS:
        problems.extend(check(fleet))
    return fleet, sorted_problems(problems)


T = TypeVar("T", App, Catalog)


def _values(by_slug: dict[str, T]) -> tuple[T, ...]:
    return tuple(by_slug[slug] for slug in sorted(by_slug))


def _folder(
    read: tuple[list[Source], list[Problem]],
    folder: str,
    model: type[M],
    memory: Memory,
    proposed: Mapping[str, str] | None = None,
) -> _Folder[M]:
    """Everything in one folder, files in the order of their ids; `proposed` as if it stood there too."""
    taken: _Folder[M] = _Folder()
    sources, problems = read
    if proposed:
        sources, problems = _with_proposed(folder, sources, problems, proposed)
    sources.sort(key=lambda source: source.slug)
    refused_files = {problem.file for problem in problems}
    taken.problems.extend(problems)
    for source in sources:
        taken.sources[source.slug] = source
        said = memory.said.get(source)
        if said is None:
            said = memory.said[source] = _said(source, model, memory)
        taken.problems.extend(said.problems)
        if said.data is None:
            continue
        if isinstance(said.held, model) and source.file not in refused_files:
            taken.files[source.slug] = said.held
        else:
            taken.broken[source.slug] = said.data
    # A file that was refused before it was read still exists: what refers to it is not wrong as well.
    for problem in problems:
        slug = problem.file.removeprefix(f"{folder}/").removesuffix(".yaml")
        taken.sources.setdefault(slug, Source(slug, problem.file, ""))
    return taken


def _said(source: Source, model: type[BaseModel], memory: Memory) -> _Said:
    """What one file says, whatever the others say."""
    document, noted = parse(source)
    # One that is refused was read as far as that, which is at most what it has room for.
    memory.spend(source, min(MAX_VALUES, len(source.text) // 2) if document is None else len(document.values))
    if document is None:
        return _Said(None, None, noted)
    held, wrong = validated(model, document)
    places = {(problem.line, problem.column) for problem in noted}
    problems = [*noted, *(problem for problem in wrong if (problem.line, problem.column) not in places)]
    return _Said(document.data, None if noted else held, problems)


def _with_proposed(
    folder: str, sources: list[Source], problems: list[Problem], proposed: Mapping[str, str]
) -> tuple[list[Source], list[Problem]]:
    """A folder's files with some in place of their older selves, held to what every file is held to."""
    files = {slug: f"{folder}/{slug}.yaml" for slug in proposed}
    sources = [source for source in sources if source.slug not in files]
    problems = [problem for problem in problems if problem.file not in files.values()]
    for slug, text in proposed.items():
        taken = text_of(text.encode("utf-8", "surrogatepass"), slug, files[slug])
        if isinstance(taken, Source):
            sources.append(taken)
        else:
            problems.append(taken)
        if refused := refused_name(files[slug], slug):
            problems.append(refused)
    return sources, problems


def _unknown_in_tenant(
    places: _Places,
    slug: str,
    plan: object,
    app: object,
    plans: dict[str, Plan],
    catalogs: _Folder[CatalogFile],
    apps: _Folder[AppFile],
) -> Iterator[Problem]:
    """A tenant's plan or app does not exist; what is no text is another rule's."""
    if isinstance(plan, str) and plan not in plans:
        yield from _unknown_plan(places, slug, plan, plans, catalogs)
    if isinstance(app, str) and app not in apps.sources:
        yield _unknown_app(places("tenants", slug, ("app",)), app, sorted(apps.sources))


def _unknown_plan(places: _Places, slug: str, ref: str, plans: dict[str, Plan], catalogs: _Folder[CatalogFile]) -> list[Problem]:
    """A tenant's plan does not exist; silent when its catalog's file is itself broken."""
    catalog, _, name = ref.partition("/")
    if catalog in catalogs.sources and catalog not in catalogs.files:
        return []
    where = places("tenants", slug, ("plan",))
    if catalog in catalogs.files:
        names = sorted(catalogs.files[catalog].plans)
        message = (
            f"plan {show(ref)} is not defined. {did_you_mean(name, names)}Plans of {catalog}: {listed(names)}. "
            f"Add it to plans/{catalog}.yaml or pick one."
        )
    else:
        message = (
            f"plan {show(ref)} is not defined: there is no plans/{catalog}.yaml. {did_you_mean(ref, sorted(plans))}"
            f"Plans: {listed(sorted(plans))}. Add it to plans/ or pick one."
        )
    return [Problem(*where, "plan.unknown", message)]


def _unknown_meters(places: _Places, slug: str, catalog: CatalogFile) -> list[Problem]:
    """A plan has terms for a meter that its catalog does not define; they would be dropped without a word."""
    names = sorted(catalog.meters)
    return [
        Problem(
            *places("plans", slug, ("plans", plan, "meters", meter)),
            "plan.meter",
            f"plan {plan}: there is no meter {show(meter)}. {did_you_mean(meter, names)}"
            f"Meters of {slug}: {listed(names) or 'none'}. Define it under `meters:` or pick one.",
        )
        for plan, terms in catalog.plans.items()
        for meter in terms.meters
        if meter not in catalog.meters
    ]


def _unknown_app(where: tuple[str, int, int], app: str, apps: Sequence[str]) -> Problem:
    """An app that a file names does not exist."""
    return Problem(
        *where,
        "app.unknown",
        f"app {show(app)} is not defined. {did_you_mean(app, apps)}Apps: {listed(apps)}. Add apps/{app}.yaml or pick one.",
    )


class _Places:
    """Where values stand. Files are parsed again only for those that have a problem, so that places cost nothing for the others."""

    def __init__(self, sources: dict[str, dict[str, Source]]) -> None:
        self._sources = sources
        self._documents: dict[tuple[str, str], Document | None] = {}

    def __call__(self, folder: str, slug: str, path: tuple[str | int, ...]) -> tuple[str, int, int]:
        """File, line and column of a value, or of the nearest thing above it that the file has."""
        source = self._sources[folder].get(slug)
        if source is None:
            return (f"{folder}/{slug}.yaml", 1, 1)
        if (folder, slug) not in self._documents:
            self._documents[folder, slug] = parse(source)[0]
        found = self._documents[folder, slug]
        return (source.file, *(found.at(path) if found is not None else (1, 1)))
