"""Which machines stop a rollout: those that fail, and not those that sleep."""

from __future__ import annotations

from typing import Any

import pytest

from rowhouse.cli.rollout import why_unwell

UPDATE = {"type": "update", "status": "replacing", "source": "user"}


def ended(code: int, *, requested: bool = False, oom: bool = False, monitor: bool = False) -> dict[str, Any]:
    event = {"exit_event": {"exit_code": code, "requested_stop": requested, "oom_killed": oom}}
    return {"type": "exit", "status": "stopped", "source": "flyd", "request": {"MonitorEvent": event} if monitor else event}


def lying(*events: dict[str, Any], state: str = "stopped") -> dict[str, Any]:
    """A machine that does not run; its events, the newest first."""
    return {"state": state, "events": list(events)}


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (lying(ended(1), ended(1), UPDATE), "its process ended with code 1, and the host gave up"),
        (lying(ended(1, monitor=True), UPDATE), "its process ended with code 1, and the host gave up"),
        (lying(ended(0, oom=True), UPDATE), "its process ended with code 0 (out of memory), and the host gave up"),
        (lying(UPDATE, ended(1)), ""),
        (lying(ended(143, requested=True), ended(1), UPDATE), ""),
        (lying(ended(0), UPDATE), ""),
        (lying(state="suspended"), ""),
        (lying(), ""),
        (None, "it is gone"),
        ({"state": "failed"}, "it is failed"),
        ({"state": "started", "checks": [{"name": "http", "status": "critical"}]}, "http does not pass"),
        ({"state": "starting"}, "it is starting"),
        ({"state": "started", "checks": [{"name": "http", "status": "passing"}]}, ""),
    ],
    ids=[
        "crashed",
        "crashed, told elsewhere",
        "memory",
        "before",
        "told to stop",
        "ended by itself",
        "suspended",
        "never ran",
        "gone",
        "failed",
        "check",
        "starts",
        "well",
    ],
)
def test_a_machine_that_fell_over_is_unwell_and_one_that_sleeps_is_not(machine: dict[str, Any] | None, why: str):
    assert why_unwell(machine) == why
