"""usage, explain-bill, report and export as commands: data and prose apart, exit codes, a ledger that is not there."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rowhouse.cli.app import app
from rowhouse.usage.model import DAY_MS, HOUR_MS
from rowhouse.vendors.store_file import FileStore
from tests.usage.books import NOVEMBER, at, machine_rows, pass_row, plan_row, volume_rows, write

ROOT = Path(__file__).resolve().parents[2]
BORN = NOVEMBER.start - DAY_MS
UNTIL = at(2026, 12, 1, 1)
NOBODY = "Run `rowhouse reconcile`"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The shipped project with an empty store."""
    for name in ("Pulumi.yaml", "stacks", "plans", "apps"):
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    (tmp_path / "tenants").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROWHOUSE_STORE_URL", (tmp_path / "store").as_uri())
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    return tmp_path


@pytest.fixture
def billed(project):
    """One tenant's November, over and vouched for; its file was deleted since."""
    rows = [plan_row("acme", BORN, "aether/pro"), *volume_rows("acme", BORN, 20, "12", UNTIL)]
    rows += machine_rows("acme", BORN, [(at(2026, 11, 3), at(2026, 11, 3) + int(212.5 * HOUR_MS))], UNTIL)
    write(FileStore(project / "store"), [*rows, pass_row(UNTIL)])
    return project


def run(*words):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    "words", [("usage", "acme"), ("explain-bill", "acme", "2026-11"), ("report",), ("export", "--to", "out")], ids=lambda words: words[0]
)
def test_without_a_ledger_each_says_what_to_run_and_does_nothing(project, words):
    ran = run(*words)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert NOBODY in " ".join(ran.stderr.split())
    assert not (project / "out").exists()


def test_usage_shows_the_months_and_warns(billed):
    ran = run("usage", "acme", "--period", "2026-11")
    assert ran.exit_code == 0
    assert "22.25 USD" in ran.stdout
    assert "all of 200 hours are used" in ran.stderr
    document = json.loads(run("usage", "acme", "--period", "2026-11", "--json").stdout)
    assert (document["usage"]["running_hours"], document["usage"]["running_hours_percent"]) == ("212.5", 106)
    assert [row["month"] for row in document["history"]] == ["2026-11", "2026-10"]


def test_a_bill_is_explained_down_to_the_segment(billed):
    whole = run("explain-bill", "acme", "2026-11")
    assert (whole.exit_code, whole.stdout.splitlines()[0]) == (0, "acme, 2026-11: 22.25 USD")
    assert "--line running_hours" in " ".join(whole.stderr.split())
    line = run("explain-bill", "acme", "2026-11", "--line", "running_hours")
    assert "12.5 hours x 0.1 USD = 1.25 USD" in line.stdout
    assert "acme-main-001" in "".join(line.stdout.split())  # a narrow terminal folds it
    assert "ledger/main/fly/2026-11/20261103T000000Z.jsonl.gz" in line.stdout
    document = json.loads(run("explain-bill", "acme", "2026-11", "--line", "running_hours", "--json").stdout)
    assert [place["key"] for place in document["evidence"]["segments"]][-1].startswith("ledger/main/fly/2026-")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("usage", "nobody", "--period", "2026-11"), "'nobody' had no plan in 2026-11"),
        (("usage", "acme", "--period", "2026-13"), "'2026-13' is not a month"),
        (("usage", "acme", "--period", "2031-01"), "2031-01 had not begun when the last pass was made"),
        (("report", "--period", "2031-01"), "2031-01 had not begun"),
        (("explain-bill", "acme", "2031-01"), "2031-01 had not begun"),
        (("export", "--to", ""), "an export needs a place"),
        (("explain-bill", "acme", "2026-11", "--line", "hours"), "no line 'hours'"),
        (("report", "--csv", "--json"), "--csv and --json"),
        (("report", "--prices", "none.yaml"), "none.yaml"),
        (("export", "--to", "out", "--since", "november"), "--since: 'november' is not a month"),
        (("export", "--to", "out", "--verify"), "there is no export of cell main there"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(billed, words, told):
    ran = run(*words)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert told in " ".join(ran.stderr.split())


def test_a_report_of_a_month_that_is_over_is_well_and_a_page(billed, monkeypatch):
    monkeypatch.setattr("rowhouse.cli.report.now_ms", lambda _env: UNTIL + 90 * DAY_MS)
    ran = run("report", "--period", "2026-11")
    assert ran.exit_code == 0, ran.stderr
    page = (billed / ".rowhouse/reports/main-2026-11.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "acme" in page
    assert run("report", "--period", "2026-11", "--csv").stdout.startswith("period,tenant,plan,currency,revenue")


def test_a_stale_report_ends_with_1_and_says_why(billed, monkeypatch):
    monkeypatch.setattr("rowhouse.cli.report.now_ms", lambda _env: UNTIL + 3 * HOUR_MS)
    ran = run("report", "--json")  # December, which nobody has looked at since its first hour
    assert ran.exit_code == 1
    assert [problem["rule"] for problem in json.loads(ran.stdout)["problems"]] == ["stale"]
    assert "3 hours ago" in ran.stderr


def test_an_export_is_written_once_and_verified(billed):
    first = run("export", "--to", "out", "--json")
    assert first.exit_code == 0, first.stderr
    assert json.loads(first.stdout)["closed_until"] == "2026-12-01T01:00:00Z"
    assert "0 files written" in run("export", "--to", "out").stdout
    assert run("export", "--to", "out", "--verify").exit_code == 0
    (billed / "out/export/main/2026-11/plans.parquet").write_bytes(b"other")
    again = run("export", "--to", "out", "--verify", "--json")
    assert (again.exit_code, json.loads(again.stdout)["wrong"][0].split(":")[0]) == (1, "export/main/2026-11/plans.parquet")
