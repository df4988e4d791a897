"""What a Fly machine's events say of how its process ended.

Does: find the exit in an event, in either place where Fly writes it, and word it. Does not: judge, or meter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["exit_of", "how_ended", "said_in"]


def said_in(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an event says beside its type and time; of one that Fly's monitor wrote, what the monitor saw."""
    request = event.get("request")
    if not isinstance(request, Mapping):
        return {}
    inner = request.get("MonitorEvent")
    return inner if isinstance(inner, Mapping) and "exit_event" in inner else request


def exit_of(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The exit that an event tells of (`exit_code`, `oom_killed`, `requested_stop`, ...); None where it tells of none."""
    return said_in(event).get("exit_event")


def how_ended(ended: Mapping[str, Any]) -> str:
    """`ended with code 1 (out of memory)`."""
    return f"ended with code {ended.get('exit_code')}{' (out of memory)' if ended.get('oom_killed') else ''}"
