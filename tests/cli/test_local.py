"""`rowhouse localcloud` as a process: what it says, who may run it, how it ends, and what it leaves behind."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rowhouse.cli.app import app
from rowhouse.cli.local import _remembers
from rowhouse.cli.local_folder import DEFAULT, LocalFolder
from rowhouse.cli.surroundings import EnvironmentProblemError, surroundings

END_S = 20
TOKENS = {"FLY_API_TOKEN": "fm2_x", "CLOUDFLARE_API_TOKEN": "c" * 40, "STRIPE_API_KEY": "sk_test_x"}
URLS = ("FLY_FLAPS_BASE_URL", "CLOUDFLARE_BASE_URL", "ROWHOUSE_STRIPE_BASE_URL")
IGNORING = (
    "import os, signal, sys; [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)]; "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.contextmanager
def running(project: Path, *args: str, ignoring: bool = False) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A started local cloud and all that it announced; killed at the end if it still runs. `ignoring`: as a shell's `&` starts it."""
    words = ["-m", "rowhouse.cli", "localcloud", *args]
    argv = [sys.executable, "-c", IGNORING, *words] if ignoring else [sys.executable, *words]
    with subprocess.Popen(argv, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            told = ""
            while not re.search(r"^Next, .*\n\Z|^}\n\Z", told, re.MULTILINE) and (line := process.stdout.readline()):
                told += line
            yield process, told
        finally:
            if process.poll() is None:
                process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code and what it still wrote to both its outputs, once it has ended."""
    assert process.stdout is not None
    assert process.stderr is not None
    return process.wait(END_S), process.stdout.read(), process.stderr.read()


def rowhouse(*args: str, **env: str) -> Result:
    """Run the command in this process, in the working directory, without other vendors' variables."""
    cleared = dict.fromkeys((*TOKENS, *URLS, "ROWHOUSE_STACK"))
    return CliRunner().invoke(app, args, env={**cleared, **env})


def variables(folder: LocalFolder) -> dict[str, str]:
    """What the file of variables says, as a shell would load it."""
    names = re.findall(r"^export (\w+)=", folder.env_file.read_text(), re.MULTILINE)
    script = f'. {folder.env_file}; for name in {" ".join(names)}; do eval "printf \'%s\\n\' \\"\\$$name\\""; done'
    values = subprocess.run(["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(zip(names, values, strict=True))


def test_a_person_reads_where_codes_arrive_how_to_stop_and_what_is_next_and_a_second_start_is_refused(project: Path):
    folder = LocalFolder(project / DEFAULT)
    with running(project) as (process, told):
        assert f"process {process.pid}" in told
        before = folder.env_file.read_bytes()
        assert folder.env_file.stat().st_mode & 0o777 == 0o600
        assert set(TOKENS) < set(variables(folder))

        refused = rowhouse("localcloud")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert f"process {process.pid}" in refused.stderr
        assert ". .rowhouse/localcloud/env" in refused.stderr
        assert folder.env_file.read_bytes() == before
        pointed = rowhouse("status", "--engine", "embedded")
        assert f"a local cloud runs here (process {process.pid})" in pointed.stderr

        process.send_signal(signal.SIGTERM)
        assert ended(process) == (0, "", "")
    lines = told.splitlines()
    assert [line for line in lines if "login codes" in line and line.endswith("/mailbox")]
    assert [line for line in lines if "Ctrl-C" in line]
    assert lines[-1] == "Next, in another terminal: . .rowhouse/localcloud/env && rowhouse up"
    assert len(lines) < 8
    assert not folder.env_file.exists()
    assert folder.holder() is None


def test_started_in_the_background_with_interrupts_ignored_it_still_ends_on_one_and_prints_one_document(project: Path):
    with running(project, "--json", ignoring=True) as (process, told):
        document = json.loads(told)
        assert document["pid"] == process.pid
        assert document["env"] == variables(LocalFolder(project / DEFAULT))
        assert document["urls"]["mailbox"].endswith("/mailbox")
        process.send_signal(signal.SIGINT)
        assert ended(process) == (0, "", "")
    assert not Path(document["env_file"]).exists()


def test_what_a_killed_one_left_is_recognised_and_replaced_by_the_next_at_the_same_ports(project: Path):
    folder = LocalFolder(project / DEFAULT)
    with running(project) as (process, _):
        process.kill()
        process.wait(END_S)
    stale = variables(folder)
    assert folder.holder() is None
    refused = rowhouse("status", "--engine", "embedded", **stale)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("The local cloud is not running (nothing answers at http://127.0.0.1:")
    assert "start it with `rowhouse localcloud`" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    (project / ".rowhouse" / "state" / "box" / "main").mkdir(parents=True)
    with running(project) as (_, told):
        assert variables(folder) == stale
    assert told.endswith(". .rowhouse/localcloud/env && rowhouse up --refresh\n")


def test_the_state_that_a_start_tells_of_is_that_of_this_project_and_of_no_folder_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    inside = tmp_path / "project" / "tenants"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    (tmp_path / ".rowhouse/state/box/main").mkdir(parents=True)
    assert not _remembers(), "there is no project here"
    (tmp_path / "project/Pulumi.yaml").touch()
    assert not _remembers()
    (tmp_path / "project/.rowhouse/state/box/main").mkdir(parents=True)
    assert _remembers()


def test_ports_that_somebody_else_has_taken_meanwhile_are_not_waited_for(project: Path):
    folder = LocalFolder(project / DEFAULT)
    folder.path.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        folder.remember({}, {"fly": port})
        with running(project):
            assert not variables(folder)["FLY_FLAPS_BASE_URL"].endswith(f":{port}")


@pytest.mark.parametrize("text", ["", "[]", '{"fly": "x"}', "{"])
def test_ports_that_cannot_be_read_are_none(tmp_path: Path, text: str):
    (tmp_path / "ports.json").write_text(text)
    assert LocalFolder(tmp_path).ports() == {}


def test_variables_of_a_cloud_that_ended_while_another_runs_here_lead_to_the_other(project: Path):
    folder = LocalFolder(project / DEFAULT)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = dict.fromkeys(URLS, f"http://127.0.0.1:{port}")
    with folder.held(), pytest.raises(EnvironmentProblemError, match=rf"process {os.getpid()} runs another one"):
        surroundings(project, {**TOKENS, **env}, engine="embedded")


def test_a_folder_that_cannot_be_written_is_one_plain_error(project: Path):
    (project / ".rowhouse").write_text("a file")
    refused = rowhouse("localcloud")
    assert refused.exit_code == 2
    assert "Choose a folder with --dir" in refused.stderr
    assert "Traceback" not in refused.stderr
