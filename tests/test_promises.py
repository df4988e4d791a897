"""What the documents promise is there, and what is there is documented."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from rowhouse.cli.app import app
from rowhouse.spec import load_fleet

ROOT = Path(__file__).resolve().parents[1]
DAILY_FIRST = ("new", "up", "status", "reconcile", "close", "check")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_documented(name: str):
    rows = [line for line in (ROOT / "docs/commands.md").read_text().splitlines() if f"`rowhouse {name}" in line]
    assert len(rows) == 1, f"docs/commands.md has {len(rows)} rows for {name}"
    assert COMMANDS[name].help, f"{name} says nothing of itself"
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            if option.startswith("--") and option != "--help":
                assert f"`{option}`" in rows[0], f"{name} {option} is not documented"


def test_no_command_is_documented_that_is_not_there():
    told = set(re.findall(r"^\| `rowhouse ([\w-]+)", (ROOT / "docs/commands.md").read_text(), re.MULTILINE))
    assert told == set(COMMANDS)


def test_the_daily_verbs_come_first_in_the_help():
    ran = subprocess.run([sys.executable, "-m", "rowhouse.cli", "-h"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert [ran.stdout.index(f" {verb} ") for verb in DAILY_FIRST] == sorted(ran.stdout.index(f" {verb} ") for verb in DAILY_FIRST)


def links(document: Path) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()) if "://" not in link]


@pytest.mark.parametrize("document", sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=str)
def test_links_lead_somewhere(document: Path):
    for link in links(ROOT / document):
        assert ((ROOT / document).parent / link).exists(), f"{document}: {link}"


def test_every_decision_is_listed():
    listed = set(links(ROOT / "docs/decisions/README.md"))
    assert listed == {path.name for path in (ROOT / "docs/decisions").glob("*.md")} - {"README.md"}


def test_files_named_in_the_documents_exist():
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for path in re.findall(r"`((?:tests|rowhouse|components|stacks|docs|examples|scripts|bench)/[\w/.-]+)`", document.read_text()):
            assert (ROOT / path.rstrip("/")).exists(), f"{document.name}: {path}"


def test_the_shipped_tenants_show_all_five_businesses_and_two_instances():
    fleet = load_fleet(ROOT)
    assert len(fleet.tenants) >= 6
    assert len({tenant.plan.catalog for tenant in fleet.tenants}) == 5
    assert any(len(tenant.instances) == 2 for tenant in fleet.tenants)


def test_locks_carry_hashes_and_no_index_address():
    for lock in ("requirements.txt", "requirements-dev.txt", "requirements-uv.txt"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert "--index" not in text
        pinned = re.findall(r"^[\w.\[\]-]+==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
        assert pinned
        assert all("--hash=sha256:" in entry for entry in pinned)
