"""`rowhouse review` on a laptop: which ledgers it reads."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rowhouse.cli.app import app
from tests.review.nurseries import nursery, warm  # noqa: F401 - fixtures
from tests.review.scratch import TENANTS, Scratch

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port at which nobody answers and everybody who connects is seen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


def connected(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def remote(listener: socket.socket) -> str:
    return f"s3://acme-rowhouse/main?endpoint=http://127.0.0.1:{listener.getsockname()[1]}&region=auto"


@pytest.fixture
def scratch(tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    """A clone whose stack file names a remote store, as the README tells operators to write it."""
    made = Scratch(tmp_path / "clone", {"birch": TENANTS["birch"]})
    file = made.root / "stacks/Pulumi.main.yaml"
    file.write_text(f"{file.read_text().rstrip()}\n  account:store: {remote(listener)}\n")
    made.base = made.commit()
    monkeypatch.chdir(made.root)
    monkeypatch.delenv("ROWHOUSE_STORE_URL", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "somebody")
    return made


def reviewed(scratch: Scratch, *options: str) -> Any:
    scratch.write("tenants/birch.yaml", TENANTS["birch"] + "members: [x@birch.example]\n")
    return CliRunner().invoke(app, ["review", f"{scratch.base}..{scratch.commit()}", *options])


def test_a_remote_ledger_of_the_stack_file_is_not_read_and_the_review_says_how_to_have_it_read(scratch: Scratch, listener: socket.socket):
    ended = reviewed(scratch)
    assert ended.exit_code == 0, ended.output
    assert not connected(listener)
    assert "ledger of cell main was not read" in ended.output
    assert "ROWHOUSE\\_STORE\\_URL" in ended.output
    assert "estimate" in ended.output


def test_the_document_names_the_cells_whose_ledger_was_not_read(scratch: Scratch):
    money = json.loads(reviewed(scratch, "--json").stdout)["money"]
    assert (money["unopened"], money["months"]) == (["main"], {"main": None})


def test_a_remote_ledger_is_read_where_the_environment_names_it(
    scratch: Scratch, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("ROWHOUSE_STORE_URL", (tmp_path / "elsewhere").as_uri())
    assert json.loads(reviewed(scratch, "--json").stdout)["money"]["unopened"] == []
    assert not connected(listener)


def test_a_ledger_in_the_projects_own_folder_is_read_and_nothing_is_said_of_it(scratch: Scratch):
    scratch.edit("stacks/Pulumi.main.yaml", "account:store: s3:", "account:store: file:")
    scratch.base = scratch.commit()
    assert json.loads(reviewed(scratch, "--json").stdout)["money"]["unopened"] == []
