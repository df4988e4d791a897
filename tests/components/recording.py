"""What the components register, without an engine: every registration as the program sent it, in a form that a person can read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime import mocks
from pulumi.runtime.proto import resource_pb2

with warnings.catch_warnings():
    # pulumi_cloudflare 6.23 warns of its own old names while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from components.catalog import Catalog
    from components.cell import Cell
    from components.edge import Edge
    from components.tenant import Tenant, TenantArgs
from rowhouse.spec import model
from rowhouse.wire.values import Secret, decode

CELL = Cell(
    project="rowhouse",
    stack="main",
    zone="example.com",
    zone_id="zone",
    account_id="account",
    fly_org="org",
    access_issuer="https://team.cloudflareaccess.com",
    access_certs_url="https://team.cloudflareaccess.com/cdn-cgi/access/certs",
    edge_image="registry.example/edge@sha256:" + "e" * 64,
    edge_region="fra",
    store_url="s3://bucket/prefix",
)
_OUTPUTS = ("appId", "ip", "volumeId", "machineId", "customerId", "subscriptionId", "meterId", "productId", "priceId", "aud", "version")


@dataclass(frozen=True)
class Registered:
    """One registration."""

    type: str
    name: str
    parent: str
    """The parent's name."""
    inputs: dict[str, Any]
    depends_on: tuple[str, ...]
    """Names, sorted."""
    protected: bool
    retained: bool

    @property
    def is_component(self) -> bool:
        """Whether it only groups others."""
        return self.type.startswith(("rowhouse:index:", "pulumi:pulumi:"))

    def text(self) -> str:
        """A paragraph for a golden file: type, name, marks, inputs by key, dependencies."""
        marks = "".join(f" [{word}]" for word, on in (("protected", self.protected), ("retained", self.retained)) if on)
        lines = [f"{self.type} {self.name}{marks}"]
        lines += [f"  {key}: {json.dumps(shown(value), sort_keys=True)}" for key, value in sorted(self.inputs.items())]
        lines += [f"  depends on {name}" for name in self.depends_on]
        return "\n".join(lines)


def shown(value: Any) -> Any:
    """The value with secrets hidden."""
    if isinstance(value, Secret):
        return "[secret]"
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list) else value


class Vendors(mocks.Mocks):
    """Every object is made and has its name for all that a vendor would think of."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Answer a registration."""
        made = {key: 1 if key == "version" else f"<{args.name} {key}>" for key in _OUTPUTS}
        return f"<{args.name}>", {**made, **args.inputs}

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        """Answer a question: the tunnel's token is the only one."""
        return {**args.args, "token": "<tunnel token>"}


@contextlib.contextmanager
def _own_loop() -> Iterator[None]:
    """A loop for the calling thread that is closed again; the SDK would make one for each thread and leave it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class Recorder(mocks.MockMonitor):
    """The engine's side: remembers each request before it is answered."""

    def __init__(self, answers: mocks.Mocks) -> None:
        super().__init__(answers)
        self.requests: list[resource_pb2.RegisterResourceRequest] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        """Remember and answer."""
        self.requests.append(request)
        with _own_loop():
            return super().RegisterResource(request)

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        """Answer."""
        with _own_loop():
            return super().Invoke(request)

    def registered(self) -> dict[str, Registered]:
        """All registrations by name."""
        found = {}
        for request in self.requests:
            found[request.name] = Registered(
                request.type,
                request.name,
                request.parent.rsplit("::", 1)[-1],
                decode(request.object),
                tuple(sorted({urn.rsplit("::", 1)[-1] for urn in request.dependencies})),
                bool(request.protect),
                bool(request.retainOnDelete),
            )
        assert len(found) == len(self.requests), "two registrations of one name"
        return found


def plan_of(tenants: Sequence[model.Tenant], catalogs: Sequence[model.Catalog], cell: Cell = CELL) -> dict[str, Registered]:
    """What the program registers for these tenants, by name."""
    found = recorded(tenants, catalogs, cell).registered()
    return {name: one for name, one in found.items() if one.type != "pulumi:pulumi:Stack"}


def recorded(tenants: Sequence[model.Tenant], catalogs: Sequence[model.Catalog], cell: Cell = CELL) -> Recorder:
    """Who heard all that the program registers for these tenants."""
    recorder = Recorder(Vendors())
    with _own_loop():
        mocks.set_mocks(Vendors(), project=cell.project, stack=cell.stack, preview=False, monitor=recorder)
        _build(tenants, catalogs, cell)
    return recorder


@pulumi.runtime.test
def _build(tenants: Sequence[model.Tenant], catalogs: Sequence[model.Catalog], cell: Cell) -> pulumi.Output[Any]:
    """The program's own sentence, as in stacks/__main__.py; the test waits for what it gives back."""
    catalog, edge = Catalog("catalog", cell, catalogs), Edge("edge", cell)
    made = [Tenant(one.id, TenantArgs(cell=cell, tenant=one, edge=edge, prices=catalog.items(one.plan))) for one in tenants]
    return pulumi.Output.all(*[one.summary for one in made])


def owner_of(plan: dict[str, Registered], name: str) -> str:
    """The tenant that a registration belongs to; empty for what all share."""
    while name in plan:
        if plan[name].type == Tenant.TOKEN:
            return name
        name = plan[name].parent
    return ""


def text_of(plan: dict[str, Registered], tenant: str) -> str:
    """The golden text of one tenant (empty: of what all share), components left out."""
    own = [one for name, one in plan.items() if owner_of(plan, name) == tenant and not one.is_component]
    return "\n\n".join(one.text() for one in sorted(own, key=lambda one: (one.type, one.name))) + "\n"
