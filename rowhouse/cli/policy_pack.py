"""The project's policy pack for both engines: its rules, what they are held against, and the embedded engine's analyzer.

Does: import `policies/` of the project's own root, whatever this command was started from. Does not: judge, or print.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from rowhouse import engine
from rowhouse.cli import guards
from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.spec import load_fleet
from rowhouse.spec.guardrails import load_guardrails
from rowhouse.spec.policy import UNKNOWN, Facts, Level, Resource, ResourceRule, Rule, StackRule, Violation, violations_of
from rowhouse.wire.values import Unknown

__all__ = ["FOLDER", "Pack", "has_pack", "pack_for", "rules_of", "violation_from", "violations_in"]

FOLDER: Final = "policies"


def has_pack(root: Path) -> bool:
    """Whether the project has policies at all."""
    return (root / FOLDER / "__init__.py").is_file()


def rules_of(root: Path) -> tuple[Rule, ...]:
    """The rules of a project; none where it has no pack. Runs the code in its `policies/`.

    Raises: EnvironmentProblemError when that code cannot be imported.
    """
    if not has_pack(root):
        return ()
    file = str((root / FOLDER / "__init__.py").resolve())
    loaded = sys.modules.get(FOLDER)
    if loaded is None or str(Path(loaded.__file__ or "").resolve()) != file:
        # Another project's pack has the same name: it goes, with its parts.
        for name in [name for name in sys.modules if name == FOLDER or name.startswith(f"{FOLDER}.")]:
            del sys.modules[name]
        loaded = _imported(root)
    found = getattr(loaded, "RULES", None)
    if not isinstance(found, tuple) or not all(isinstance(rule, ResourceRule | StackRule) for rule in found):
        raise EnvironmentProblemError(f"{FOLDER}/__init__.py: RULES is no tuple of rules. Restore it (docs/policies.md).")
    return found


def _imported(root: Path) -> ModuleType:
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module(FOLDER)
    except Exception as error:
        raise EnvironmentProblemError(f"{FOLDER}/: its rules cannot be imported: {error!r}. Mend or restore them.") from error
    finally:
        sys.path.remove(str(root))


def pack_for(root: Path, stack: str, project: str) -> Pack | None:
    """Who judges a stack of the project at `root`; None where the project has no policies.

    Raises: SpecError, EnvironmentProblemError.
    """
    rules = rules_of(root)
    if not rules:
        return None
    zone = str(guards.stack_settings(root, stack).get("zone", ""))
    return Pack(rules, Facts(load_fleet(root), load_guardrails(root), project, stack, zone))


class Pack:
    """An analyzer of the embedded engine over the rules of a project."""

    def __init__(self, rules: Sequence[Rule], facts: Facts) -> None:
        self._of_resources = [rule for rule in rules if isinstance(rule, ResourceRule)]
        self._of_stacks = [rule for rule in rules if isinstance(rule, StackRule)]
        self._facts = facts

    def analyze(self, resource: engine.PolicyResource) -> list[engine.PolicyViolation]:
        """What the rules about single resources say."""
        return self._said(violations_of(self._of_resources, [_resource(resource)], self._facts))

    def analyze_stack(self, resources: Sequence[engine.PolicyResource]) -> list[engine.PolicyViolation]:
        """What the rules about whole stacks say."""
        return self._said(violations_of(self._of_stacks, [_resource(one) for one in resources], self._facts))

    @staticmethod
    def _said(found: Sequence[Violation]) -> list[engine.PolicyViolation]:
        return [engine.PolicyViolation(one.rule, one.urn, one.message, one.level, one.mend) for one in found]


def _resource(one: engine.PolicyResource) -> Resource:
    return Resource(
        urn=one.urn,
        type=one.type,
        name=one.name,
        props=_plain(one.props),
        parent=one.parent,
        protect=one.protect,
        retain_on_delete=one.retain_on_delete,
        comes_from=one.comes_from,
    )


def _plain(value: Any) -> Any:
    """A value with the rules' own word for what is unknown, and without nulls in maps, which mean missing."""
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def violation_from(event: Mapping[str, Any], rules: Mapping[str, Rule]) -> Violation:
    """The Pulumi CLI's `policyEvent` in the same shape.

    The CLI knows one text: what the rule wants, on a line of its own, what is wrong, and what to do (`policies/pack.py`).
    """
    name, text = str(event.get("policyName", "")), str(event.get("message", "")).strip()
    rule = rules.get(name)
    if rule is not None:
        text = text.removeprefix(rule.wants).strip().removesuffix(rule.mend).strip()
    level: Level = "advisory" if event.get("enforcementLevel") == "advisory" else "mandatory"
    return Violation(name, str(event.get("resourceUrn") or ""), text, level, rule.mend if rule is not None else "")


def violations_in(log: Path, root: Path) -> list[Violation]:
    """What the policies of the project at `root` said in a run of the Pulumi CLI, from its log of events; nothing where there is no log."""
    lines = log.read_bytes().splitlines() if log.is_file() else []
    rules = {rule.id: rule for rule in rules_of(root)}
    events = (json.loads(line) for line in lines if b'"policyEvent"' in line)
    return [violation_from(event["policyEvent"], rules) for event in events if "policyEvent" in event]
