"""What the driver makes of the CLI's words, and how it treats the CLI's process, lock and leavings."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from rowhouse.cli.drive_pulumi import PulumiDriver
from rowhouse.cli.progress import Teller
from rowhouse.cli.pulumi_command import run_pulumi
from rowhouse.cli.pulumi_locks import lock_problem
from rowhouse.cli.surroundings import EnvironmentProblemError

URN = "urn:pulumi:main::box::rowhouse:fly:App::a"
STACK = "urn:pulumi:main::box::pulumi:pulumi:Stack::box-main"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "[secret]"}


class FakeCli:
    """A `pulumi` that answers by its first words from a table, and notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        self.answers: dict[str, list[dict[str, Any]]] = {"stack select": [{}], "stack export": [{"out": json.dumps({"deployment": {}})}]}
        script = folder / "bin" / "pulumi"
        script.write_text(
            f"#!{sys.executable} -IS\n"
            "import json, os, sys\n"
            f"folder = {str(folder)!r}\n"
            "with open(folder + '/calls', 'a') as calls: calls.write(json.dumps(sys.argv[1:]) + '\\n')\n"
            "table = json.load(open(folder + '/answers.json'))\n"
            "key = next(key for key in sorted(table, key=len, reverse=True) if ' '.join(sys.argv[1:]).startswith(key))\n"
            "count = folder + '/count-' + key.replace(' ', '-')\n"
            "number = len(open(count).read()) if os.path.exists(count) else 0\n"
            "open(count, 'a').write('.')\n"
            "answer = table[key][min(number, len(table[key]) - 1)]\n"
            "sys.stdout.write(answer.get('out', '')); sys.stderr.write(answer.get('err', '')); sys.exit(answer.get('code', 0))\n"
        )
        script.chmod(0o755)

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def calls(self) -> list[str]:
        return [" ".join(json.loads(line)) for line in (self.folder / "calls").read_text().splitlines()]

    def run(self, verb: str, **options: Any) -> tuple[Any, Teller, list[str]]:
        (self.folder / "answers.json").write_text(json.dumps(self.answers))
        with Path(os.devnull).open("w") as quiet:
            teller = Teller(Console(file=quiet), "testing")
            driver = PulumiDriver(self.folder, "main", self.env)
            outcome = asyncio.run(getattr(driver, verb)(teller, **options))
        return outcome, teller, self.calls()


@pytest.fixture
def cli(tmp_path: Path) -> FakeCli:
    return FakeCli(tmp_path)


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def diagnostic(urn: str, message: str, severity: str = "error") -> dict[str, Any]:
    return {"diagnosticEvent": {"urn": urn, "message": message, "severity": severity}}


def failed(urn: str) -> dict[str, Any]:
    return {"resOpFailedEvent": {"metadata": {"urn": urn, "op": "create"}}}


def locked_by(pid: int, *, host: str = "", since: datetime | None = None, scheme: str = "file://") -> str:
    at = (since or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%f123Z")
    return (
        "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock file with "
        f"`pulumi cancel`.\n  {scheme}/b/.pulumi/locks/organization/box/main/x.json: created by ana@{host or socket.gethostname()} (pid {pid}) at {at}"
    )


def ended_pid() -> int:
    done = subprocess.Popen([sys.executable, "-ISc", ""])
    done.wait()
    return done.pid


# -- words ------------------------------------------------------------------------------------------------------------------------------


def test_a_changed_secret_is_shown_as_a_secret(cli: FakeCli):
    before, after = {"inputs": {"token": SECRET, "list": [SECRET], "size": 1}}, {"inputs": {"token": SECRET, "list": [SECRET], "size": 2}}
    step = {"op": "update", "urn": URN, "oldState": before, "newState": after}
    step["detailedDiff"] = {"token": {"kind": "update"}, "list[0]": {"kind": "update"}, "size": {"kind": "update"}}
    cli.answers["preview"] = [{"out": json.dumps({"steps": [step], "changeSummary": {"same": 7, "update": 1}})}]
    outcome, _, _ = cli.run("preview")
    assert outcome.changes[0].diff == (
        ("list[0]", "update", "[secret]", "[secret]"),
        ("size", "update", 1, 2),
        ("token", "update", "[secret]", "[secret]"),
    )
    assert outcome.unchanged == 7


def test_a_failed_operation_is_told_once_with_the_plugins_words(cli: FakeCli):
    out = lines(diagnostic(URN, "<{%fg 1%}>no capacity<{%reset%}>"), failed(URN), diagnostic(STACK, "update failed"))
    cli.answers["up"] = [{"out": out, "code": 255}]
    outcome, _, calls = cli.run("up")
    assert [(failure.urn, failure.message) for failure in outcome.failures] == [(URN, "no capacity")]
    assert sum(call.startswith("up ") for call in calls) == 1


def test_a_refused_property_is_gone_around_so_that_others_are_applied(cli: FakeCli):
    other = URN.replace("::a", "::b")
    told = {
        "resOutputsEvent": {"metadata": {"op": "create", "urn": other, "type": "rowhouse:fly:App", "new": {"type": "rowhouse:fly:App"}}}
    }
    cli.answers["up"] = [{"out": lines(diagnostic(URN, "'size' must be a number")), "code": 255}, {"out": lines(told)}]
    outcome, _, calls = cli.run("up")
    assert [failure.urn for failure in outcome.failures] == [URN]
    assert [change.urn for change in outcome.changes] == [other]
    second = [call for call in calls if call.startswith("up ")][1]
    assert f"--exclude {URN} --exclude-dependents" in second


def refused_in_preview(*others: dict[str, Any]) -> list[dict[str, Any]]:
    """A preview that one refused property ends, and the one without it."""
    refusal = {"diagnostics": [{"urn": URN, "message": "'size' must be a number", "severity": "error"}]}
    return [{"out": json.dumps(refusal), "code": 255}, {"out": json.dumps({"steps": list(others), "changeSummary": {"same": 3}})}]


def test_a_preview_goes_around_a_refused_property_too(cli: FakeCli):
    other = URN.replace("::a", "::b")
    cli.answers["preview"] = refused_in_preview({"op": "create", "urn": other, "newState": {"type": "rowhouse:fly:App"}})
    outcome, _, calls = cli.run("preview")
    assert [failure.message for failure in outcome.failures] == ["'size' must be a number"]
    assert ([change.urn for change in outcome.changes], outcome.unchanged) == ([other], 3)
    assert f"--exclude {URN} --exclude-dependents" in [call for call in calls if call.startswith("preview ")][1]


def test_a_reviewer_is_asked_about_the_others_when_one_is_refused(cli: FakeCli):
    cli.answers |= {"preview": refused_in_preview(), "up": [{}]}
    asked: list[int] = []

    def review(planned: Any) -> bool:
        asked.append(len(planned.failures))
        return False

    outcome, _, calls = cli.run("up", review=review)
    assert (asked, outcome.declined) == ([1], True)
    assert not any(call.startswith("up ") for call in calls)


def test_a_reviewer_is_not_asked_about_a_run_that_cannot_begin(cli: FakeCli):
    cli.answers["preview"] = [{"err": "error: could not load plugin\n", "code": 1}]
    outcome, _, _ = cli.run("up", review=lambda planned: pytest.fail(str(planned)))
    assert (len(outcome.failures), outcome.declined) == (1, False)


def test_a_resource_that_is_refused_again_ends_the_attempts(cli: FakeCli):
    cli.answers["up"] = [{"out": lines(diagnostic(URN, "'size' must be a number")), "code": 255}]
    outcome, _, calls = cli.run("up")
    assert len(outcome.failures) == 1
    assert sum(call.startswith("up ") for call in calls) == 2


def test_what_the_cli_says_without_events_is_the_failure(cli: FakeCli):
    cli.answers["up"] = [{"err": "error: could not load plugin\n", "code": 1}]
    outcome, _, _ = cli.run("up")
    assert [failure.message for failure in outcome.failures] == ["pulumi up: could not load plugin"]


def test_a_state_that_cannot_be_read_is_one_sentence(cli: FakeCli):
    cli.answers["stack export"] = [{"err": "error: PULUMI_CONFIG_PASSPHRASE must be set\n", "code": 1}]
    with pytest.raises(EnvironmentProblemError, match="PASSPHRASE must be set"):
        cli.run("up")


@pytest.mark.parametrize("torn", ["", '{"user.cache_con'])
def test_attributes_that_a_killed_cli_left_half_written_are_removed_and_no_others(cli: FakeCli, torn: str):
    backend = cli.folder / "a backend"
    kept, locks, stacks = (backend / ".pulumi" / part for part in ("history/x", "locks/x", "stacks/x"))
    for folder in (kept, locks, stacks):
        folder.mkdir(parents=True)
        (folder / "main.json").write_text("{}")
        (folder / "main.json.attrs").write_text(torn)
        (folder / "good.json.attrs").write_text('{"md5":"x"}')
    cli.answers["whoami"] = [{"out": json.dumps({"user": "me", "url": f"file://{backend}"})}]
    cli.answers["stack export"] = [{"err": "error: failed to load checkpoint: EOF\n", "code": 1}, {"out": json.dumps({"deployment": {}})}]
    cli.answers["up"] = [{}]
    outcome, _, calls = cli.run("up")
    assert outcome.failures == []
    assert [call for call in calls if call.startswith("whoami")] == ["whoami --json --non-interactive"]
    assert sorted(file.name for part in (locks, stacks) for file in part.iterdir()) == ["good.json.attrs"] * 2 + ["main.json"] * 2
    assert (kept / "main.json.attrs").exists()


@pytest.mark.parametrize("url", ["s3://bucket", "https://app.pulumi.com/me"])
def test_a_state_that_is_not_in_a_local_folder_is_left_to_a_person(cli: FakeCli, url: str):
    cli.answers["whoami"] = [{"out": json.dumps({"user": "me", "url": url})}]
    cli.answers["stack export"] = [{"err": "error: failed to load checkpoint: EOF\n", "code": 1}]
    with pytest.raises(EnvironmentProblemError, match="failed to load checkpoint: EOF"):
        cli.run("up")


# -- locks ------------------------------------------------------------------------------------------------------------------------------


def test_the_lock_of_a_process_that_is_gone_is_released_and_said(cli: FakeCli):
    pid = ended_pid()
    cli.answers |= {"up": [{"err": locked_by(pid), "code": 255}, {}], "cancel": [{}]}
    outcome, teller, calls = cli.run("up")
    assert not outcome.failures
    assert [call.split()[0] for call in calls][-3:] == ["up", "cancel", "up"]
    assert f"process {pid} of ana" in teller.diagnostics[0][1]


@pytest.mark.parametrize(
    "said",
    [
        locked_by(os.getpid()),
        locked_by(2**22 - 3, host="another-machine"),
        locked_by(2**22 - 3, scheme="s3://"),
        locked_by(2**22 - 3) + "\n" + locked_by(os.getpid()).splitlines()[1],
        "error: [409] Conflict: Another update is currently in progress.",
    ],
    ids=["alive", "elsewhere", "in a bucket", "one of two alive", "in the cloud"],
)
def test_any_other_lock_is_left_to_a_person_who_is_told_how(cli: FakeCli, said: str):
    cli.answers |= {"up": [{"err": said, "code": 255}], "cancel": [{}]}
    outcome, _, calls = cli.run("up")
    assert not any(call.startswith("cancel") for call in calls)
    assert "pulumi cancel --stack main" in outcome.failures[0].message
    assert "locked by" in outcome.failures[0].message


def test_a_number_that_another_process_inherited_does_not_keep_the_lock():
    old = datetime.now(UTC) - timedelta(days=1)
    if datetime.fromtimestamp(psutil.Process().create_time(), UTC) < old:
        pytest.skip("this process is older than a day")
    problem = lock_problem("main", locked_by(os.getpid(), since=old))
    assert problem is not None
    assert problem.stale


# -- what a killed run left --------------------------------------------------------------------------------------------------------------


def test_unfinished_creations_are_cleared_before_up_and_only_then(cli: FakeCli):
    pending = [{"type": "creating", "resource": {"urn": URN, "type": "rowhouse:fly:App"}}]
    state = {"deployment": {"resources": [{"urn": STACK, "type": "pulumi:pulumi:Stack"}], "pending_operations": pending}}
    cli.answers |= {"stack export": [{"out": json.dumps(state)}], "refresh": [{}], "up": [{}]}
    _, _, calls = cli.run("up")
    verbs = [call for call in calls if call.startswith(("refresh", "up"))]
    assert verbs[0].startswith(f"refresh --clear-pending-creates --target {STACK} ")
    assert verbs[1].startswith("up ")


def test_destroy_refuses_while_something_of_ours_may_exist_unknown(cli: FakeCli):
    pending = [{"type": "creating", "resource": {"urn": URN, "type": "rowhouse:fly:App"}}]
    cli.answers |= {"stack export": [{"out": json.dumps({"deployment": {"pending_operations": pending}})}], "destroy": [{}]}
    with pytest.raises(EnvironmentProblemError, match="Run `rowhouse up` first"):
        cli.run("destroy", delete_data=True)


# -- a stack that does not exist yet ------------------------------------------------------------------------------------------------------

NO_STACK = {"err": "error: no stack named 'main' found\n", "code": 6}


def test_a_missing_stack_is_an_empty_state_to_what_only_looks_and_is_not_made(cli: FakeCli):
    step = {"op": "create", "urn": URN, "newState": {"type": "rowhouse:fly:App"}}
    (cli.folder / "Pulumi.yaml").write_text("name: box\n")
    cli.answers |= {"stack export": [NO_STACK], "stack init": [{}], "preview": [{"out": json.dumps({"steps": [step]})}]}
    outcome, _, calls = cli.run("preview", refresh=True)
    assert [change.op for change in outcome.changes] == ["create"]
    assert [call.split()[:2] for call in calls] == [["stack", "export"], ["stack", "init"], ["preview", "--json"]]
    assert "--no-select" in calls[1]
    for verb, options in (("refresh", {}), ("destroy", {"delete_data": True})):
        outcome, _, calls = cli.run(verb, **options)
        assert (outcome.changes, outcome.failures) == ([], [])
    assert calls.count(calls[0]) == len(calls) - 2


def test_a_missing_stack_is_made_when_something_is_applied_and_not_before_a_person_agreed(cli: FakeCli):
    (cli.folder / "Pulumi.yaml").write_text("name: box\n")
    cli.answers |= {"stack export": [NO_STACK], "stack init": [{}], "preview": [{"out": '{"steps": []}'}], "up": [{}]}
    outcome, _, calls = cli.run("up", review=lambda _: False)
    assert outcome.declined
    assert not any("--create" in call for call in calls)
    outcome, _, calls = cli.run("up", review=lambda _: True)
    assert not outcome.failures
    assert [call.split()[:2] for call in calls][-2:] == [["stack", "select"], ["up", "--continue-on-error"]]


# -- the process -------------------------------------------------------------------------------------------------------------------------


def script(folder: Path, body: str) -> dict[str, str]:
    path = folder / "pulumi"
    path.write_text(f"#!{sys.executable} -IS\nimport os, signal, subprocess, sys, time\n{body}")
    path.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_an_interruption_is_passed_on_once_and_waited_for(tmp_path: Path):
    env = script(
        tmp_path,
        "count = []\n"
        "def asked(*_):\n    count.append(1)\n"
        "signal.signal(signal.SIGINT, asked)\n"
        "print('ready', flush=True)\n"
        "while not count: time.sleep(0.01)\n"
        "time.sleep(0.1)\nprint(f'ended after {len(count)}', flush=True)\n",
    )
    heard: list[bytes] = []

    async def run() -> Any:
        task = asyncio.ensure_future(run_pulumi(tmp_path, env, "up", on_line=heard.append))
        while not heard:
            await asyncio.sleep(0.01)
        task.cancel()
        return await task

    ended = asyncio.run(run())
    assert ended.interrupted
    assert heard == [b"ready\n", b"ended after 1\n"]


def test_sigterm_to_us_is_an_interruption_of_the_cli(tmp_path: Path):
    env = script(tmp_path, "signal.signal(signal.SIGINT, lambda *_: sys.exit(3))\nprint('ready', flush=True)\ntime.sleep(30)\n")

    async def run() -> Any:
        return await run_pulumi(tmp_path, env, "up", on_line=lambda _: os.kill(os.getpid(), signal.SIGTERM))

    began = time.monotonic()
    ended = asyncio.run(run())
    assert (ended.code, ended.interrupted) == (3, True)
    assert time.monotonic() - began < 10


def test_what_a_killed_cli_leaves_behind_is_ended(tmp_path: Path):
    env = script(
        tmp_path,
        "child = subprocess.Popen([sys.executable, '-ISc', 'import time; time.sleep(60)'], process_group=0)\n"
        "print(child.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n",
    )
    ended = asyncio.run(run_pulumi(tmp_path, env, "up"))
    assert ended.code == -signal.SIGKILL
    left = int(ended.out)
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE
