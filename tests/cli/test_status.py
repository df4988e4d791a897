"""How tenants stand, as a person reads it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from rowhouse.cli import status as module
from rowhouse.cli.app import app
from rowhouse.cli.status import rows, status_table
from rowhouse.cli.surroundings import Surroundings
from rowhouse.vendors.fly import Fly
from tests.spec.project import project

INSTANCE = {"url": "https://acme.example.com", "host": "fly", "app": "acme-main-x", "machine": "m1"}


def shown(**summary: Any) -> str:
    """The row of a tenant whose machine is stopped."""
    tenant = {"plan": "shop/pro", "members": [], "monthly_price": "20.00 USD", "instances": {"main": INSTANCE}, **summary}

    async def ask() -> str:
        answer = httpx.MockTransport(lambda _: httpx.Response(200, json={"id": "m1", "state": "stopped"}))
        fly = Fly("fm2_x", base_url="http://fly", transport=answer)
        console = Console(width=300, record=True, file=io.StringIO())
        console.print(status_table(await rows({"acme": tenant}, fly, {})))
        await fly.close()
        return console.export_text()

    return asyncio.run(ask())


@pytest.mark.parametrize(("state", "expected"), [("offboarding", "offboarding (stopped)"), ("suspended", "suspended (stopped)")])
def test_who_leaves_or_is_suspended_is_shown_as_such(state: str, expected: str):
    assert expected in shown(state=state)
    assert "(" not in shown(state="active")


def test_who_leaves_is_not_billed_and_who_is_suspended_is():
    assert "not billed" in shown(state="offboarding")
    assert "20.00 USD" not in shown(state="offboarding")
    assert "20.00 USD" in shown(state="suspended")


def test_a_plan_without_a_base_price_shows_what_use_costs():
    usage = shown(monthly_price="0.00 USD", rates=["0.10 USD an hour", "0.05 USD each"])
    assert "0.10 USD an hour, 0.05 USD each" in usage
    assert "0.00 USD" not in usage
    assert "0.00 USD" in shown(monthly_price="0.00 USD", rates=[])
    assert "20.00 USD" in shown(rates=["0.10 USD an hour"])


def test_with_files_and_nothing_applied_the_next_step_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Nothing:
        async def export(self) -> dict[str, Any]:
            return {}

    where = Surroundings(project(tmp_path), "real", "embedded", {"FLY_API_TOKEN": "fm2_x"})
    monkeypatch.setattr(module, "surroundings", lambda *_, **__: where)
    monkeypatch.setattr(module, "driver_for", lambda *_: Nothing())
    assert (
        CliRunner().invoke(app, ["status"]).stdout
        == "Nothing applied yet, 1 file in tenants/: `rowhouse up` makes what is written there.\n"
    )
    (tmp_path / "tenants" / "acme.yaml").unlink()
    assert CliRunner().invoke(app, ["status"]).stdout.startswith("No tenants yet. `rowhouse new`")
