"""The rules as policies of pulumi-policy, and the project that they hold resources against.

Does: turn each rule into a policy, and read the facts of a stack from the project's root and from what the CLI says of the run.
Does not: know a rule by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pulumi_policy import EnforcementLevel, Policy, PolicyPack, ReportViolation, ResourceValidationPolicy, StackValidationPolicy

from policies import RULES
from policies.adapter import resource_of, resources_of
from rowhouse.errors import RowhouseError
from rowhouse.spec import load_fleet
from rowhouse.spec.guardrails import load_guardrails
from rowhouse.spec.policy import Facts, ResourceRule, Rule, StackRule

__all__ = ["NAME", "facts_of", "policy_of", "served"]

NAME: Final = "rowhouse"
_LEVELS: Final = {"mandatory": EnforcementLevel.MANDATORY, "advisory": EnforcementLevel.ADVISORY}


def facts_of(root: Path, project: str, stack: str) -> Facts:
    """What the rules hold a stack of the project at `root` against.

    Raises: RowhouseError when its files or settings are broken, or the stack has none.
    """
    return Facts(load_fleet(root), load_guardrails(root), project, stack, _zone(root, stack))


def _zone(root: Path, stack: str) -> str:
    file = f"stacks/Pulumi.{stack}.yaml"
    path = root / file
    if not path.is_file():
        raise RowhouseError(f"{file}: there is no such file, so nothing says which zone the stack has. Restore it.")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RowhouseError(f"{file}: cannot be read: {error}. Correct it.") from error
    config = document.get("config") if isinstance(document, dict) else None
    zone = config.get("account:zone") if isinstance(config, dict) else None
    if not isinstance(zone, str):
        raise RowhouseError(f"{file}: account:zone is missing or no text. Set it to the zone of the stack.")
    return zone


def policy_of(rule: Rule, facts: Facts) -> Policy:
    """A rule as a policy. Its name is the rule's id, its description what the rule wants and how to mend it."""
    common: dict[str, Any] = {
        "name": rule.id,
        "description": rule.wants,
        "enforcement_level": _LEVELS[rule.level],
        "remediation_steps": rule.mend,
    }
    if isinstance(rule, StackRule):
        return StackValidationPolicy(validate=_of_stack(rule, facts), **common)
    return ResourceValidationPolicy(validate=_of_resource(rule, facts), **common)


def _of_stack(rule: StackRule, facts: Facts) -> Callable[[Any, ReportViolation], None]:
    def validate(args: Any, report: ReportViolation) -> None:
        for urn, message in rule.check(resources_of(args.resources), facts):
            report(f"{message} {rule.mend}", urn or None)

    return validate


def _of_resource(rule: ResourceRule, facts: Facts) -> Callable[[Any, ReportViolation], None]:
    def validate(args: Any, report: ReportViolation) -> None:
        if rule.types and args.resource_type not in rule.types:
            return
        for message in rule.check(resource_of(args), facts):
            report(f"{message} {rule.mend}", None)

    return validate


def served(root: Path, env: Mapping[str, str]) -> None:
    """Serve all rules to the CLI until it is done. The CLI says project and stack in the environment.

    Raises: RowhouseError when the project's files or settings are broken, or this was not started by the CLI.
    """
    missing = [name for name in ("PULUMI_PROJECT", "PULUMI_STACK") if not env.get(name)]
    if missing:
        raise RowhouseError(f"{', '.join(missing)} missing: the Pulumi CLI starts this pack. Run `pulumi preview --policy-pack policies`.")
    facts = facts_of(root, env["PULUMI_PROJECT"], env["PULUMI_STACK"])
    PolicyPack(NAME, [policy_of(rule, facts) for rule in RULES], EnforcementLevel.MANDATORY)
