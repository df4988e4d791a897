"""What a change may do without a second thought: `policies/settings.yaml`, read like every other file of the project.

Does: say which registries, how many interruptions, how much money, and in which waves a new image goes out. Does not: enforce; the policy
pack and the review do, always with the settings that were in force before the change, so that no change loosens its own limits.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from rowhouse.errors import SpecError
from rowhouse.spec.document import parse
from rowhouse.spec.explain import validated
from rowhouse.spec.fields import Slug, Text
from rowhouse.spec.problem import Problem
from rowhouse.spec.source import Source, read_file

__all__ = ["FILE", "Guardrails", "Rollout", "guardrails_in", "load_guardrails"]

FILE: Final = "policies/settings.yaml"


class Rollout(BaseModel):
    """How a new image reaches the tenants that run it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    canary: list[Slug] = Field(default_factory=list, description="Tenants that take a new image first; best your own.")
    waves_percent: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        default=[1, 10, 100], description="Then so many percent of the others, ascending; the last is 100."
    )
    health_seconds: int = Field(
        default=60,
        ge=1,
        le=900,
        description="So long after a wave its machines are looked at; where one is not healthy then, the rollout halts.",
    )


class Guardrails(BaseModel):
    """The project's limits on a change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    registries: list[Text] = Field(
        default_factory=list,
        description="Where images may come from: the start of an image's name up to a `/`. Empty: none is refused for where it is from.",
    )
    interrupted: int = Field(
        default=25,
        ge=0,
        le=100_000,
        description="So many tenants may be interrupted by one change (a machine is replaced or restarted, a gate or hostname changes) "
        "without the label `interrupts-many`.",
    )
    bill_change_percent: int = Field(
        default=25,
        ge=0,
        le=100_000,
        description="By so many percent one change may alter a customer's bill of the last closed month without the label `changes-bills`.",
    )
    negative_margin: Literal["refuse", "warn"] = Field(
        default="refuse", description="What becomes of a change after which a tenant that brought money costs more than it brings."
    )
    rollout: Rollout = Field(default_factory=Rollout, description="How a new image goes out.")

    @property
    def bill_change(self) -> Decimal:
        """The share of a bill by which it may change, 0.25 for 25 %."""
        return Decimal(self.bill_change_percent) / 100


def guardrails_in(text: str) -> Guardrails:
    """The limits that a file's text sets. Raises: SpecError with every problem."""
    return _checked(Source("settings", FILE, text))


def load_guardrails(root: Path) -> Guardrails:
    """The limits of a project; the defaults where it has no such file. Raises: SpecError with every problem."""
    path = root / FILE
    if not path.exists() and not path.is_symlink():
        return Guardrails()
    source = read_file(path, "settings", FILE)
    if not isinstance(source, Source):
        raise SpecError([source])
    return _checked(source)


def _checked(source: Source) -> Guardrails:
    document, problems = parse(source)
    if document is None or problems:
        raise SpecError(problems)
    held, wrong = validated(Guardrails, document)
    if held is None:
        raise SpecError(wrong)
    waves = held.rollout.waves_percent
    if waves[-1:] != [100] or sorted(set(waves)) != waves:
        line, column = document.at(("rollout", "waves_percent"))
        why = f"waves {waves} do not ascend to 100. Write such as `[1, 10, 100]`: in the end all must get it."
        raise SpecError([Problem(FILE, line, column, "spec.value", why)])
    return held
