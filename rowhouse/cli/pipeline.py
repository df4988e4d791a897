"""What reconcile and close work with: one cell's vendors, ledger and billing sink, opened and closed together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from rowhouse.cli.guards import checked_settings
from rowhouse.cli.ledger import open_ledger
from rowhouse.cli.surroundings import EnvironmentProblemError, ready
from rowhouse.spec.load import read_fleet
from rowhouse.usage.passes import Pipeline
from rowhouse.usage.sink import Sink
from rowhouse.usage.sources import sources_for, words_of
from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.vendors.fly import Fly
from rowhouse.vendors.http import Buckets
from rowhouse.vendors.stripe import Stripe

__all__ = ["SinkName", "opened"]

SinkName = Literal["stripe", "csv"]


@contextlib.asynccontextmanager
async def opened(
    start: Path,
    stack: str,
    env: Mapping[str, str],
    *,
    sink: SinkName = "stripe",
    local_ledger: bool = False,
    progress: Callable[[str], None] = lambda _what: None,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[Pipeline]:
    """The pipeline of a cell.

    Args: clock: seconds by which turns at the vendors' rate limits are counted, where their time is not this machine's.
    A wrong tenant file stops nobody's bill: what is billed is what the ledger remembers, and files only name the apps' counters.
    Raises: EnvironmentProblemError naming everything that is missing, before any vendor is asked.
    """
    root, vendors = ready(start, env)
    settings = checked_settings(root, stack)
    ledger = open_ledger(root, stack, env)
    if vendors == "real" and ledger.is_local and not local_ledger:
        raise EnvironmentProblemError(
            "the ledger would be a folder of this machine, and these are real vendors: whoever loses the folder loses what was used. "
            "Set `account:store` of the stack, or ROWHOUSE_STORE_URL, to a bucket (s3://...), or say --local-ledger."
        )
    project = str(_project(root)["name"])
    fleet, _ = read_fleet(root)
    tenants = fleet.in_cell(stack)
    fly, cloudflare, stripe = Fly.from_environment(env), Cloudflare.from_environment(env), Stripe.from_environment(env)
    if clock is not None:
        for http in (fly.http, fly.metrics, cloudflare.http, stripe.http):
            http.buckets = Buckets(clock=clock)
    try:
        yield Pipeline(
            ledger=ledger,
            sources=lambda: sources_for(
                fly=fly,
                cloudflare=cloudflare,
                store=ledger.store,
                org=str(settings["flyOrg"]),
                account=str(settings["cloudflareAccountId"]),
                project=project,
                stack=stack,
                words=words_of(tenants),
            ),
            sink=_sink(sink, stripe, project, stack, ledger.store),
            fleet=fleet,
            progress=progress,
            own_time=vendors == "real",
        )
    finally:
        await asyncio.gather(fly.close(), cloudflare.close(), stripe.close())


def _sink(name: SinkName, stripe: Stripe, project: str, stack: str, store: Any) -> Sink:
    if name == "csv":
        from rowhouse.usage.sink_csv import CsvSink

        return CsvSink(store)
    from rowhouse.usage.sink_stripe import StripeSink

    return StripeSink(stripe, project, stack)


def _project(root: Path) -> dict[str, Any]:
    document = yaml.safe_load((root / "Pulumi.yaml").read_text(encoding="utf-8"))
    if not isinstance(document, dict) or not document.get("name"):
        raise EnvironmentProblemError("Pulumi.yaml: the project has no name. Restore it from git.")
    return document
