"""What the memory of use and money is asked and told by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rowhouse.cli.app import app
from rowhouse.cli.ledger import open_ledger
from rowhouse.usage.intake import collect
from tests.usage.stores import filled

ROOT = Path(__file__).resolve().parents[2]
PAID = "2026-11-21T08:00:00Z"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone's files, without any account."""
    for folder in ("tenants", "plans", "apps", "stacks"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("ROWHOUSE_STORE_URL", "ROWHOUSE_STACK", "STRIPE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def document(result: Result) -> dict:
    return json.loads(result.stdout)


class TestVerify:
    def test_a_whole_ledger_is_exit_0_and_tells_what_was_read(self, project: Path):
        ledger = filled(open_ledger(project, "main", {}).store, 4)
        ran = run("ledger", "verify", "--json")
        assert ran.exit_code == 0, ran.output
        assert document(ran) == {"cell": "main", "segments": 4, "entries": 8, "heads": ledger.heads(), "faults": []}
        assert run("ledger", "verify").stdout == "4 segments with 8 entries in 1 chains: as they were written\n"

    def test_no_ledger_at_all_is_not_well(self, project: Path):
        """A mistyped address, or an emptied store, must not look like a memory that is as it was written."""
        ran = run("ledger", "verify")
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert "has no ledger in this store yet" in ran.stderr

    def test_a_removed_segment_is_exit_1_and_named(self, project: Path):
        filled(open_ledger(project, "main", {}).store, 4)
        key = "ledger/main/fly/2026-11/20261128T120000Z.jsonl.gz"
        (project / ".rowhouse" / "store" / key).unlink()
        ran = run("ledger", "verify", "--json")
        assert ran.exit_code == 1
        assert [(fault["key"], fault["kind"]) for fault in document(ran)["faults"]] == [(key, "missing")]
        assert run("ledger", "verify").stdout.startswith(f"{key}: missing: ")

    def test_an_unknown_stack_is_exit_2(self, project: Path):
        ran = run("ledger", "verify", "--stack", "elsewhere")
        assert ran.exit_code == 2
        assert "there is no such stack" in ran.stderr


class TestPurchase:
    def test_a_purchase_is_booked_once(self, project: Path):
        words = ("purchase", "brook-studio", "credits-500", "--payment", "pi_1", "--at", PAID, "--json")
        assert document(run(*words))["outcome"] == "recorded"
        assert document(run(*words))["outcome"] == "known"
        ledger = open_ledger(project, "main", {})
        assert collect(ledger.store, ledger).taken == 1
        assert document(run(*words))["outcome"] == "known"
        (entry,) = ledger.read("account")
        assert (entry.tenant, entry.subject, entry.value, entry.id, entry.at) == (
            "brook-studio",
            "credits-500",
            "500",
            "pi_1",
            1_795_248_000_000,
        )

    def test_the_same_payment_for_another_tenant_is_refused(self, project: Path):
        assert run("purchase", "brook-studio", "credits-500", "--payment", "pi_1", "--at", PAID).exit_code == 0
        ran = run("purchase", "brook-studio", "credits-500", "--payment", "pi_1", "--at", "2026-11-22T08:00:00Z")
        assert ran.exit_code == 2
        assert "payment pi_1 is recorded already" in ran.stderr

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("nobody", "credits-500"), "has no file in tenants/"),
            (("brook-studio", "credits-50"), "Did you mean"),
            (("acme", "credits-500"), "Packs: none"),
        ],
    )
    def test_what_is_not_sold_is_refused_with_what_is(self, project: Path, words: tuple[str, str], told: str):
        ran = run("purchase", *words, "--payment", "pi_1", "--at", PAID)
        assert ran.exit_code == 2
        assert told in ran.stderr
        assert not (project / ".rowhouse").exists()

    def test_a_purchase_is_taken_back_once_with_a_reason(self, project: Path):
        assert run("purchase", "brook-studio", "credits-500", "--payment", "pi_1", "--at", PAID).exit_code == 0
        words = ("refund", "pi_1", "--reason", "charged back", "--at", PAID, "--json")
        assert document(run(*words)) == {"payment": "pi_1", "tenant": "brook-studio", "outcome": "recorded"}
        assert document(run(*words))["outcome"] == "known"
        ledger = open_ledger(project, "main", {})
        assert collect(ledger.store, ledger).taken == 2
        assert {(entry.id, entry.state) for entry in ledger.read("account")} == {("pi_1", None), ("pi_1", "undone")}
        ran = run("refund", "pi_2", "--reason", "x", "--at", PAID)
        assert (ran.exit_code, "no pack was recorded under payment 'pi_2'" in ran.stderr) == (2, True)
        assert run("refund", "pi_1", "--reason", " ", "--at", PAID).exit_code == 2

    def test_a_time_that_is_none_is_refused(self, project: Path):
        ran = run("purchase", "brook-studio", "credits-500", "--payment", "pi_1", "--at", "yesterday")
        assert ran.exit_code == 2
        assert "--at" in ran.stderr

    def test_without_a_time_stripe_is_asked_and_its_absence_told(self, project: Path):
        ran = run("purchase", "brook-studio", "credits-500", "--payment", "pi_1")
        assert ran.exit_code == 2
        assert "STRIPE_API_KEY" in ran.stderr
