"""What a run did or would do, and what it says while it works.

Does: events for drawing progress, and the result. Everything here is safe to show: secrets become `[secret]` when a property is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rowhouse.engine.properties import redacted
from rowhouse.engine.urns import name_of

if TYPE_CHECKING:
    from rowhouse.engine.policies import PolicyViolation
    from rowhouse.engine.state import State

Op = Literal[
    "same",
    "create",
    "update",
    "delete",
    "replace",
    "create-replacement",
    "delete-replaced",
    "read",
    "read-replacement",
    "import",
    "import-replacement",
    "refresh",
    "discard",
    "discard-replaced",
    "remove-pending-replace",
]
"""As Pulumi names them. `discard`: dropped from the state, the object stays (retained, external, or gone with another)."""

Severity = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class StepReport:
    """One step, done or foreseen."""

    op: Op
    urn: str
    type: str
    detailed_diff: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Property path to `{"kind": "update", "inputDiff": true}`; kinds: add, delete, update, each with `-replace`."""
    replaces: tuple[str, ...] = ()
    """Properties that make a replacement necessary."""
    reasons: tuple[str, ...] = ()
    """Properties that differ, or why else the step is made."""
    old_state: State | None = field(default=None, repr=False)
    new_state: State | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The name in the program."""
        return name_of(self.urn)

    @property
    def old(self) -> dict[str, Any] | None:
        """The resource before the step, secrets hidden; None when there was none."""
        return shown(self.old_state)

    @property
    def new(self) -> dict[str, Any] | None:
        """The resource after the step, secrets hidden; None when there is none."""
        return shown(self.new_state)


def shown(state: State | None) -> dict[str, Any] | None:
    """A resource for people: Pulumi's keys, secrets as `[secret]`, what is not known yet as `[unknown]`."""
    if state is None:
        return None
    document: dict[str, Any] = {
        "urn": state.urn,
        "type": state.type,
        "custom": state.custom,
        "id": state.id,
        "inputs": redacted(state.inputs),
        "outputs": redacted(state.outputs),
        "parent": state.parent,
        "provider": state.provider,
        "dependencies": state.dependencies,
        "propertyDependencies": state.property_dependencies,
        "protect": state.protect,
        "deletedWith": state.deleted_with,
        "retainOnDelete": state.retain_on_delete,
        "initErrors": state.init_errors,
    }
    return {key: value for key, value in document.items() if value or key in {"urn", "type", "custom"}}


@dataclass(frozen=True)
class Failure:
    """Something that did not work; an empty URN means the program or the run itself."""

    urn: str
    message: str
    skipped: bool = False
    """The resource was left alone because one it depends on failed."""
    parent: str = ""
    """URN of its parent: a resource that never came to be is in no step and in no state that would tell."""


@dataclass(frozen=True)
class StepStarted:
    """A provider is being asked."""

    op: Op
    urn: str


@dataclass(frozen=True)
class StepEnded:
    """A step is over and durable; `error` when it failed."""

    report: StepReport
    error: str | None = None


@dataclass(frozen=True)
class Diagnostic:
    """A line for the user."""

    severity: Severity
    message: str
    urn: str = ""


@dataclass(frozen=True)
class Progress:
    """How far the run is. `known` counts the resources in the state or registered so far, whichever is more."""

    done: int
    running: int
    known: int


Event = StepStarted | StepEnded | Diagnostic | Progress
OnEvent = Callable[[Event], None]


@dataclass
class Result:
    """The outcome of a run."""

    steps: list[StepReport] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    violations: list[PolicyViolation] = field(default_factory=list)
    """What the policies say; a resource that they refuse is in no failure."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """The stack's outputs; secrets as `Secret`, which prints as `[secret]`."""
    duration_s: float = 0.0
    dry_run: bool = False
    declined: bool = False
    """A review said no: nothing was applied."""
    journal_bytes: int = 0
    """Bytes written to the journal."""
    engine_cpu_s: float = 0.0
    """Processor time of the engine process itself."""

    @property
    def ok(self) -> bool:
        """Whether everything worked."""
        return not self.failures and not any(violation.level == "mandatory" for violation in self.violations)

    @property
    def duration(self) -> float:
        """Seconds the run took."""
        return self.duration_s

    @property
    def summary(self) -> dict[str, int]:
        """Steps by operation, as Pulumi counts them: the two halves of a replacement are one `replace`."""
        counts = Counter(step.op for step in self.steps if step.op not in {"create-replacement", "delete-replaced"})
        return {str(op): count for op, count in sorted(counts.items())}

    @property
    def changes(self) -> list[StepReport]:
        """The steps that change something."""
        return [step for step in self.steps if step.op not in {"same", "read", "refresh"}]


Plan = Result
"""What a review is shown: the result of the preview."""
