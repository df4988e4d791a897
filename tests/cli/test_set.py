"""set and archive: one value of a tenant's file, after the whole fleet was checked, or nothing at all."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rowhouse.cli.app import app
from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.cli.tenant_files import FileChangedError, tenant_file, write_tenant_file
from rowhouse.spec import load_fleet
from rowhouse.spec.assignments import assigned, assignments_in
from tests.spec.project import TENANT, project

NEW = TENANT.replace("aether/pro", "aether/free")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project(tmp_path)
    (tmp_path / "Pulumi.yaml").write_text("name: rowhouse\nruntime: python\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


def acme(root: Path) -> Path:
    return root / "tenants" / "acme.yaml"


def files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "tenants").iterdir())


def test_several_changes_are_made_in_one_go_and_shown(root: Path):
    acme(root).write_bytes(b"# ours\r\n" + TENANT.replace("\n", "\r\n").encode())
    ran = run("set", "acme", "plan=aether/free", "members+=bo@acme.example", "env.GREETING=on", "instances.main.hostname=acme-labs")
    assert ran.exit_code == 0
    assert acme(root).read_bytes().decode() == (
        "# ours\r\nowner: {name: Acme Ltd, email: ops@acme.example}\r\nplan: aether/free\r\n"
        'members: [ops@acme.example, bo@acme.example]\r\nenv:\r\n  GREETING: "on"\r\ninstances:\r\n  main: {hostname: acme-labs}\r\n'
    )
    assert ran.stdout.splitlines()[:6] == [
        "--- a/tenants/acme.yaml",
        "+++ b/tenants/acme.yaml",
        "@@ -1,3 +1,8 @@",
        " # ours",
        " owner: {name: Acme Ltd, email: ops@acme.example}",
        "-plan: aether/pro",
    ]
    assert "links to 'acme' lead nowhere" in ran.stderr
    assert files(root) == ["acme.yaml"]


def test_one_wrong_change_of_several_writes_nothing(root: Path):
    ran = run("set", "acme", "members+=bo@acme.example", "plan=aether/prro", "instances.main.memory_mb=2G")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "tenants/acme.yaml was not written:\n" in ran.stderr
    for told in ("Did you mean 'pro'?", "Wanted: a whole number"):
        assert told in ran.stderr, told
    assert acme(root).read_text() == TENANT


def test_an_error_that_the_change_makes_in_another_tenants_file_refuses_it_too(root: Path):
    (root / "tenants" / "oak.yaml").write_text(TENANT)
    ran = run("set", "acme", "instances.main.hostname=oak")
    assert ran.exit_code == 2
    assert "tenants/oak.yaml:1:1: error hostname.taken" in ran.stderr
    assert acme(root).read_text() == TENANT
    new = run("new", "birch", "--plan", "aether/pro", "--email", "mo@birch.example", "--set", "instances.main.hostname=oak")
    assert (new.exit_code, "hostname.taken" in new.stderr, files(root)) == (2, True, ["acme.yaml", "oak.yaml"])


def test_an_error_that_another_file_had_before_does_not_refuse_it(root: Path):
    (root / "tenants" / "oak.yaml").write_text("plan: [\n")
    assert run("set", "acme", "plan=aether/free").exit_code == 0
    assert acme(root).read_text() == NEW


def test_a_change_that_changes_nothing_writes_nothing_and_says_so(root: Path):
    before = acme(root).stat()
    ran = run("set", "acme", "plan=aether/pro", "--unset", "env.NOT_THERE")
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert ran.stderr == "tenants/acme.yaml says this already: nothing to write.\n"
    after = acme(root).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_dry_run_shows_all_and_writes_nothing(root: Path):
    ran = run("set", "acme", "plan=aether/free", "--dry-run", "--json")
    told = json.loads(ran.stdout)
    assert (ran.exit_code, told["changed"], told["written"]) == (0, True, False)
    assert (told["file"], told["before"], told["after"]) == ("tenants/acme.yaml", TENANT, NEW)
    assert "+plan: aether/free\n" in told["diff"]
    assert acme(root).read_text() == TENANT
    assert json.loads(run("set", "acme", "plan=aether/free", "--json").stdout)["written"] is True
    assert acme(root).read_text() == NEW


def test_a_file_with_a_mistake_can_be_mended_but_not_worsened(root: Path):
    acme(root).write_text(TENANT.replace("aether/pro", "aether/prro"))
    assert run("set", "acme", "state=suspended").exit_code == 2
    assert run("set", "acme", "plan=aether/pro").exit_code == 0
    assert acme(root).read_text() == TENANT


@pytest.mark.parametrize(
    "value",
    [
        "${{ secrets.KEY }}",
        "$(rm -rf /)",
        "`id`",
        "<script>",
        "](http://x.example)",
        "a\nplan: aether/free",
        "'\"",
        "# no comment",
        "{owner",
    ],
)
def test_a_hostile_value_is_a_value_or_refused_and_never_more(root: Path, value: str):
    ran = run("set", "acme", f"env.TEXT={value}")
    if ran.exit_code == 0:
        tenant = load_fleet(root).tenant("acme")
        assert (tenant.env["TEXT"], tenant.plan.ref) == (value, "aether/pro")
    else:
        assert (ran.exit_code, acme(root).read_text()) == (2, TENANT)
        assert all(line.isprintable() for line in ran.stderr.splitlines())


@pytest.mark.parametrize("value", ["\x1b[31m", "a\u202eb", "\x00", "x" * 1_000_000, "x" * 8_001])
def test_a_value_that_no_file_may_hold_is_refused_and_not_repeated(root: Path, value: str):
    for word in (f"env.TEXT={value}", f"owner.name={value}", f"members+={value}", f"{value}=x", f"env.{value}=x"):
        ran = run("set", "acme", word)
        assert (ran.exit_code, ran.stdout) == (2, ""), word[:20]
        assert all(line.isprintable() for line in ran.stderr.splitlines())
        assert len(ran.stderr) < 2000
    assert acme(root).read_text() == TENANT


def test_a_credential_as_a_value_is_refused_and_not_repeated(root: Path):
    ran = run("set", "acme", "env.TOKEN=sk_live_0123456789abcdefghijklmn", "secrets.KEY=sk_live_0123456789abcdefghijklmn", "--json")
    assert (ran.exit_code, ran.stdout, "sk_live" in ran.stderr) == (2, "", False)
    ran = run("set", "acme", "env.TOKEN=sk_live_0123456789abcdefghijklmn", "--dry-run")
    assert (ran.exit_code, ran.stdout, "tenant.secret-in-env" in ran.stderr, "sk_live" in ran.stderr) == (2, "", True, False)


@pytest.mark.parametrize("tenant", ["../apps/notebook", "acme/../acme", "/etc/passwd", "ACME", "acme.yaml", "", "_acme", "oak"])
def test_what_names_no_tenant_is_refused(root: Path, tenant: str):
    for words in (["set", tenant, "plan=aether/free"], ["archive", tenant]):
        ran = run(*words)
        assert (ran.exit_code, ran.stdout) == (2, "")
    assert (files(root), acme(root).read_text()) == (["acme.yaml"], TENANT)


def test_a_file_that_is_no_yaml_is_refused_with_its_line(root: Path):
    acme(root).write_text("plan: [aether\nowner: x\n")
    ran = run("set", "acme", "plan=aether/free")
    assert (ran.exit_code, "tenants/acme.yaml:2:6: error yaml.syntax" in ran.stderr) == (2, True)


def test_a_link_is_refused_and_what_it_leads_to_stays(root: Path):
    aside = root / "aside.yaml"
    acme(root).rename(aside)
    acme(root).symlink_to(aside)
    for words in (
        ["set", "acme", "plan=aether/free"],
        ["archive", "acme"],
        ["new", "acme", "--plan", "aether/free", "--email", "a@b.example"],
    ):
        assert run(*words).exit_code == 2
    with pytest.raises(EnvironmentProblemError):
        write_tenant_file(root, "acme", TENANT, NEW)
    assert (acme(root).is_symlink(), aside.read_text()) == (True, TENANT)


def test_rights_and_a_byte_order_mark_are_kept(root: Path):
    acme(root).write_bytes(b"\xef\xbb\xbf" + TENANT.encode())
    acme(root).chmod(0o640)
    assert run("set", "acme", "plan=aether/free").exit_code == 0
    assert acme(root).read_bytes() == b"\xef\xbb\xbf" + NEW.encode()
    assert stat.S_IMODE(acme(root).stat().st_mode) == 0o640


def test_what_somebody_else_wrote_meanwhile_is_not_lost(root: Path):
    acme(root).write_text(TENANT + "state: suspended\n")
    with pytest.raises(
        FileChangedError, match=r"tenants/acme\.yaml was changed by somebody else while this command ran; nothing was written"
    ):
        write_tenant_file(root, "acme", TENANT, NEW)
    assert acme(root).read_text() == TENANT + "state: suspended\n"
    acme(root).unlink()
    with pytest.raises(FileChangedError, match="is gone"):
        write_tenant_file(root, "acme", TENANT, NEW)
    (root / "tenants" / "oak.yaml").write_text(NEW)
    with pytest.raises(FileChangedError, match="exists already"):
        write_tenant_file(root, "oak", None, TENANT)
    assert ((root / "tenants" / "oak.yaml").read_text(), files(root)) == (NEW, ["oak.yaml"])


def test_of_many_changes_at_once_each_is_in_the_file_or_refused(root: Path):
    def change(number: int) -> str | None:
        source = tenant_file(root, "acme")
        member = f"p{number}@acme.example"
        try:
            write_tenant_file(root, "acme", source.text, assigned(source, assignments_in([f"members+={member}"])))
        except FileChangedError:
            return None
        return member

    with ThreadPoolExecutor(8) as pool:
        made = {member for member in pool.map(change, range(40)) if member}
    assert made
    assert set(load_fleet(root).tenant("acme").members) == {"ops@acme.example", *made}
    assert files(root) == ["acme.yaml"]


KILLED = """
import os, signal, sys
from pathlib import Path
from rowhouse.cli.tenant_files import write_tenant_file
os.replace = os.link = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
write_tenant_file(Path(sys.argv[1]), sys.argv[2], sys.stdin.read() or None, "plan: x\\n")
"""


def test_a_kill_before_the_renaming_leaves_all_as_it_was_and_the_next_run_goes_on(root: Path):
    for tenant, before in (("acme", TENANT), ("oak", "")):
        ran = subprocess.run([sys.executable, "-c", KILLED, str(root), tenant], input=before, text=True, timeout=60, check=False)
        assert ran.returncode == -signal.SIGKILL
    assert files(root) == ["_acme.yaml.new", "_oak.yaml.new", "acme.yaml"]
    assert acme(root).read_text() == TENANT
    assert run("check").exit_code == 0
    assert run("set", "acme", "plan=aether/free").exit_code == 0
    assert run("new", "oak", "--plan", "aether/free", "--email", "mo@oak.example").exit_code == 0
    assert files(root) == ["acme.yaml", "oak.yaml"]


FULL = """
import resource, sys
from pathlib import Path
from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.cli.tenant_files import write_tenant_file
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    write_tenant_file(Path(sys.argv[1]), "acme", sys.stdin.read(), "plan: aether/free\\n")
except EnvironmentProblemError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_leaves_the_file_as_it_was(root: Path):
    command = [sys.executable, "-c", FULL, str(root)]
    ran = subprocess.run(command, input=TENANT, text=True, timeout=60, stderr=subprocess.PIPE, check=False)
    told = "tenants/acme.yaml was not written (File too large); it is as it was. Give the folder tenants/ rights and space, and run"
    assert (ran.returncode, ran.stderr) == (1, f"{told} the command again.\n")
    assert (files(root), acme(root).read_text()) == (["acme.yaml"], TENANT)


def test_a_folder_without_rights_is_named(root: Path):
    for folder in (root, root / "tenants"):
        folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)  # root writes everywhere
    try:
        with pytest.raises(EnvironmentProblemError, match=r"was not written \(Permission denied\); it is as it was\."):
            write_tenant_file(Path(), "acme", TENANT, NEW)
    finally:
        if is_root:
            os.seteuid(0)
        for folder in (root, root / "tenants"):
            folder.chmod(0o755)
    assert (files(root), acme(root).read_text()) == (["acme.yaml"], TENANT)


def test_a_tenant_leaves_and_comes_back_and_is_told_what_that_means(root: Path):
    ran = run("archive", "acme")
    assert (ran.exit_code, acme(root).read_text()) == (0, TENANT + "state: offboarding\n")
    for told in ("its gate is closed", "its machine is stopped", "its subscription ends with a last invoice", "kept for 30 days", "--undo"):
        assert told in ran.stderr, told
    again = run("archive", "acme")
    assert (again.exit_code, "acme is leaving already" in again.stderr, "`state: purge` in a second change" in again.stderr) == (
        2,
        True,
        True,
    )
    assert run("archive", "acme", "--undo").exit_code == 0
    assert acme(root).read_text() == TENANT + "state: active\n"
    active = run("archive", "acme", "--undo")
    assert (active.exit_code, "acme is active" in active.stderr) == (2, True)


def test_a_suspended_tenant_comes_back_and_one_that_is_purged_does_not(root: Path):
    acme(root).write_text(TENANT + "state: suspended # unpaid\n")
    assert run("archive", "acme", "--undo").exit_code == 0
    assert acme(root).read_text() == TENANT + "state: active # unpaid\n"
    acme(root).write_text(TENANT + "state: purge\n")
    ran = run("archive", "acme", "--undo")
    assert (ran.exit_code, "rowhouse set acme state=offboarding" in ran.stderr) == (2, True)
    assert acme(root).read_text() == TENANT + "state: purge\n"


def test_what_a_change_takes_away_is_said(root: Path):
    acme(root).write_text(
        TENANT + "members: [ana@acme.example, bo@acme.example]\ninstances:\n  main: {volume_gb: 5, region: fra}\n  lab: {}\n"
    )
    ran = run(
        "set",
        "acme",
        "instances.main.volume_gb=2",
        "instances.main.region=ams",
        "cell=two",
        "members-=bo@acme.example",
        "--unset",
        "instances.lab",
    )
    assert ran.exit_code == 0
    for told in (
        "would shrink from 5 to 2 GB",
        "would move from 'fra' to 'ams'",
        "instance lab would go",
        "leave cell main for two",
        "bo@acme.example will not pass",
    ):
        assert told in ran.stderr, told


def test_what_takes_nothing_away_is_not_warned_of(root: Path):
    ran = run("set", "acme", "instances.main.volume_gb=9", "members+=bo@acme.example", "instances.lab={}", "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["notes"]) == (0, [])
