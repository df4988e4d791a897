"""check and new: everything that is wrong is said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rowhouse.cli.app import app
from rowhouse.spec.accounts import TOKENS
from tests.spec.project import TENANT, project

SETTINGS = {"zone": "example.com", "accessTeam": "acme.cloudflareaccess.com", "flyOrgg": "acme"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project(tmp_path)
    (tmp_path / "Pulumi.yaml").write_text("name: rowhouse\nruntime: python\n")
    (tmp_path / "stacks").mkdir()
    lines = "".join(f"  account:{key}: {json.dumps(value)}\n" for key, value in SETTINGS.items())
    (tmp_path / "stacks" / "Pulumi.main.yaml").write_text(f"config:\n{lines}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, **env: str) -> Result:
    return CliRunner(env={**dict.fromkeys([*TOKENS, "ROWHOUSE_STACK"], ""), **env}).invoke(app, [*words])


def test_a_new_tenant_is_told_all_its_mistakes_at_once_and_nothing_is_written(root: Path):
    ran = run("new", "Oak_1", "--plan", "aether/prro", "--email", "nope")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("tenants/Oak_1.yaml was not written:\n")
    for told in ("'Oak_1' cannot be an id", "Did you mean 'pro'?", "'nope' is not an e-mail address"):
        assert told in ran.stderr, told
    assert [path.name for path in (root / "tenants").iterdir()] == ["acme.yaml"]


def test_an_id_that_would_leave_the_folder_or_names_a_tenant_is_refused(root: Path):
    for tenant in ("../apps/x", "a/b", "acme"):
        ran = run("new", tenant, "--plan", "aether/pro", "--email", "mo@maple.example")
        assert ran.exit_code == 2, tenant
    assert (root / "tenants" / "acme.yaml").read_text() == TENANT
    assert not (root / "apps" / "x.yaml").exists()


def test_a_good_new_tenant_is_written(root: Path):
    assert run("new", "maple", "--plan", "aether/pro", "--email", "mo@maple.example").exit_code == 0
    assert "aether/pro" in (root / "tenants" / "maple.yaml").read_text()
    assert run("check").stdout == "2 tenants with 2 instances, 1 catalog, 1 app: all well\n"


def test_a_new_tenant_is_given_everything_at_once(root: Path):
    given = ("members=mo@maple.example,@maple.example", "instances.main.memory_mb=512", "env.MODE=on", "secrets.KEY=env:MAPLE_KEY")
    words = [word for each in given for word in ("--set", each)]
    ran = run("new", "maple", "--plan", "aether/pro", "--email", "mo@maple.example", "--name", "Maple: Works", *words)
    assert ran.exit_code == 0
    assert (root / "tenants" / "maple.yaml").read_text() == (
        'owner: {name: "Maple: Works", email: mo@maple.example}\nplan: aether/pro\nmembers: [mo@maple.example, "@maple.example"]\n'
        'instances:\n  main: {memory_mb: 512}\nenv:\n  MODE: "on"\nsecrets:\n  KEY: env:MAPLE_KEY\n'
    )


def test_an_id_that_differs_from_another_in_letters_case_alone_is_refused(root: Path):
    ran = run("new", "Acme", "--plan", "aether/pro", "--email", "mo@maple.example")
    assert (ran.exit_code, "'Acme' cannot be an id: it has upper-case letters" in ran.stderr) == (2, True)
    assert [path.name for path in (root / "tenants").iterdir()] == ["acme.yaml"]


def test_a_dry_run_of_a_new_tenant_writes_nothing(root: Path):
    ran = run("new", "maple", "--plan", "aether/pro", "--email", "mo@maple.example", "--dry-run", "--json")
    told = json.loads(ran.stdout)
    assert (ran.exit_code, told["before"], told["written"]) == (0, None, False)
    assert told["after"] == "owner: {email: mo@maple.example}\nplan: aether/pro\n"
    assert [path.name for path in (root / "tenants").iterdir()] == ["acme.yaml"]


def test_check_counts_wrong_files_too_and_says_how_many_are_wrong(root: Path):
    (root / "tenants" / "oak.yaml").write_text("owner: {email: mo@maple.example}\nplan: aether/prro\nmemebrs: []\n")
    ran = run("check")
    assert (ran.exit_code, ran.stdout) == (2, "2 tenants (1 with errors), 1 catalog, 1 app: 2 errors\n")
    (root / "tenants" / "Elm_1.yaml").write_text(TENANT)
    assert run("check").stdout == "3 tenants (2 with errors), 1 catalog, 1 app: 3 errors\n"


def test_check_looks_at_a_stacks_settings_when_asked_or_when_there_are_credentials(root: Path):
    assert run("check").exit_code == 0
    asked = run("check", "--stack", "main")
    assert asked.exit_code == 2
    for told in ("Did you mean 'flyOrg'?", "account:accessTeam: ", "account:cloudflareZoneId is missing"):
        assert told in asked.stderr, told
    assert "STRIPE_API_KEY" not in asked.stderr
    with_key = run("check", "--json", STRIPE_API_KEY="pk_test_1")
    document = json.loads(with_key.stdout)
    assert (with_key.exit_code, document["ok"], document["problems"]) == (2, False, [])
    assert any("STRIPE_API_KEY is a publishable key" in text for text in document["settings"])
    assert "there is no such stack" in run("check", "--stack", "mian").stderr
