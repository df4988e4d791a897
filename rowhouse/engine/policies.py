"""Policies: what a caller has judged before anything is asked of a provider, and what becomes of a no.

Does: show resources to an `Analyzer` and record what it says. A mandatory violation of one resource keeps it from being made or
changed; one of the whole stack fails the run; an advisory one is told. A preview goes on after a no, so that it shows all of them.
Does not: hold a rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rowhouse.wire.values import UNKNOWN, ResourceRef, Secret

if TYPE_CHECKING:
    from rowhouse.engine.report import Result
    from rowhouse.engine.run import Run
    from rowhouse.engine.state import State

__all__ = ["Analyzer", "PolicyResource", "PolicyViolation", "judge_stack", "permits", "stands"]


@dataclass(frozen=True)
class PolicyResource:
    """A resource as it would be registered."""

    urn: str
    type: str
    name: str
    props: Mapping[str, Any]
    """Plain values; `[secret]` for secrets, UNKNOWN for what is known only later. Before it is made: its checked inputs. In a whole stack
    also the outputs that are known."""
    parent: str = ""
    protect: bool = False
    retain_on_delete: bool = False
    comes_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Property to the URNs of the resources that its value is an output of."""


@dataclass(frozen=True, order=True)
class PolicyViolation:
    """A broken rule."""

    rule: str
    urn: str
    """Empty where no single resource is to blame."""
    message: str
    level: Literal["mandatory", "advisory"] = "mandatory"
    mend: str = ""
    """What to do."""


class Analyzer(Protocol):
    """Who judges. Both verbs are pure: they are asked in the preview and again in the apply."""

    def analyze(self, resource: PolicyResource) -> list[PolicyViolation]:
        """What is wrong with one resource; asked after its inputs are checked, before it is made or changed."""
        ...

    def analyze_stack(self, resources: Sequence[PolicyResource]) -> list[PolicyViolation]:
        """What is wrong with all that the program registered; asked once, at the end of a preview and of an apply."""
        ...


def permits(run: Run, new: State) -> bool:
    """Whether a resource may be made or changed. Records what is wrong with it; without an analyzer everything may."""
    if run.options.policies is None:
        return True
    found = run.options.policies.analyze(_resource(new, new.inputs))
    _record(run, found)
    refusal = next((violation for violation in found if violation.level == "mandatory"), None)
    if refusal is None or run.dry_run:
        return True
    run.failed[new.urn] = f"refused by the policy {refusal.rule}: {refusal.message}"
    return False


def judge_stack(run: Run) -> None:
    """Have everything judged together that the program registered, what failed in this run included."""
    if run.options.policies is None:
        return
    states = [run.news.get(urn, state) for urn, state in sorted(run.wanted.items())]
    _record(run, run.options.policies.analyze_stack([_resource(state, _known(state)) for state in states]))


def stands(plan: Result) -> bool:
    """Whether nothing mandatory is broken, and all could be judged: the program came to its end."""
    broken = any(violation.level == "mandatory" for violation in plan.violations)
    return not broken and all(failure.urn for failure in plan.failures)


def _record(run: Run, found: Sequence[PolicyViolation]) -> None:
    for violation in found:
        run.result.violations.append(violation)
        text = f"policy {violation.rule}: {violation.message} {violation.mend}".strip()
        # Not a warning: whoever runs this shows violations of the result, in which each stands once.
        run.say("error" if violation.level == "mandatory" else "info", text, violation.urn)


def _resource(state: State, props: Mapping[str, Any]) -> PolicyResource:
    return PolicyResource(
        urn=state.urn,
        type=state.type,
        name=state.urn.rsplit("::", 1)[-1],
        props=_plain(props),
        parent=state.parent,
        protect=state.protect,
        retain_on_delete=state.retain_on_delete,
        comes_from={key: tuple(urns) for key, urns in state.property_dependencies.items() if urns},
    )


def _known(state: State) -> dict[str, Any]:
    """Inputs, and outputs where there is no input or it is not known yet."""
    return {**state.inputs, **{key: value for key, value in state.outputs.items() if state.inputs.get(key, UNKNOWN) is UNKNOWN}}


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return "[secret]"
    if isinstance(value, ResourceRef):
        return value.urn if value.id is None else value.id
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if not key.startswith("__")}
    return [_plain(item) for item in value] if isinstance(value, list) else value
