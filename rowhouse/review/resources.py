"""Resources as an engine foresees them, in the shape that policies are told of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rowhouse import engine
from rowhouse.engine.properties import redacted
from rowhouse.spec.policy import UNKNOWN, Resource

__all__ = ["NOT_KNOWN", "resources_of"]

NOT_KNOWN = frozenset({"[unknown]", engine.FORESEEN})
"""Texts that stand for values which only an apply knows."""


def resources_of(states: Iterable[engine.State]) -> list[Resource]:
    """What a policy is asked about: everything but providers; secrets hidden, what is known only later as UNKNOWN."""
    return [
        Resource(
            urn=state.urn,
            type=state.type,
            name=state.urn.rsplit("::", 1)[-1],
            props={key: _opened(value) for key, value in redacted(_known(state)).items() if value is not None},
            parent=state.parent,
            protect=state.protect,
            retain_on_delete=state.retain_on_delete,
            comes_from={key: tuple(urns) for key, urns in state.property_dependencies.items() if urns},
        )
        for state in states
        if not state.type.startswith("pulumi:")
    ]


def _known(state: engine.State) -> dict[str, Any]:
    """Inputs, and outputs that are known where there is no input."""
    outputs = {key: value for key, value in state.outputs.items() if value is not engine.UNKNOWN}
    return {**outputs, **state.inputs}


def _opened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _opened(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    return UNKNOWN if isinstance(value, str) and value in NOT_KNOWN else value
