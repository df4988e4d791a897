"""What only a review can object to, because it knows both sides: a policy pack sees what will be, never what was.

Does: tell what leaves, moves, is renamed or loses data, and who is interrupted. Does not: judge single resources (policies/ does) or money.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rowhouse.review.affected import Affected, Affection
from rowhouse.review.changes import Change
from rowhouse.spec.guardrails import Guardrails
from rowhouse.spec.kept import KeptVolume, unfollowed
from rowhouse.spec.model import Fleet, Tenant
from rowhouse.spec.slug import show

__all__ = [
    "INTERRUPTS_LABEL",
    "RULES",
    "Objection",
    "Rule",
    "gone_volumes",
    "interruption",
    "interruptions_over",
    "leaving",
    "lost_data",
    "lost_stacks",
    "of_other_paths",
]

INTERRUPTS_LABEL: Final = "interrupts-many"

_MACHINE: Final = "rowhouse:fly:Machine"
_VOLUME: Final = "rowhouse:fly:Volume"
_ROUTE: Final = "rowhouse:edge:Route"
_DNS: Final = "cloudflare:index/dnsRecord:DnsRecord"
_APPLICATION: Final = "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication"
_QUIET: Final = frozenset({"metadata", "autostop", "autostart"})
"""Of a machine what changes without a restart: marks, and what the proxy in front of it does."""
_GONE: Final = frozenset({"delete", "replace", "create-replacement", "delete-replaced"})
_RENAMED: Final = 0.6


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that the review itself wants."""

    id: str
    level: Literal["mandatory", "advisory"]
    wants: str


RULES: Final[Mapping[str, Rule]] = {
    rule.id: rule
    for rule in (
        Rule("review.files", "mandatory", "Every file is one that `rowhouse check` takes."),
        Rule("review.volume-kept", "mandatory", "No volume is deleted, replaced, moved or made smaller."),
        Rule("review.id-for-ever", "mandatory", "A tenant keeps its id: hostnames, volumes and invoices are named by it."),
        Rule(
            "review.leaves-in-two-steps",
            "mandatory",
            "A tenant's file goes only after its data is gone; before that its state says it leaves.",
        ),
        Rule("review.instance-kept", "mandatory", "An instance stays as long as its tenant does."),
        Rule("review.stays-in-cell", "mandatory", "A tenant stays in its cell: another stack knows nothing of its volume."),
        Rule("review.stack-kept", "mandatory", "A cell keeps its stack file as long as it has tenants."),
        Rule("review.can-be-made", "mandatory", "What the files ask for can be made of what there is."),
        Rule("review.interrupted", "mandatory", "One change interrupts no more tenants than the project allows, or has the label for it."),
        Rule(
            "review.program",
            "advisory",
            "A change of the program is read by people: its code does not run in a review, so its effect is not shown.",
        ),
        Rule("review.own-limits", "advisory", "A change of policies or limits is read by people: it is not held against itself."),
    )
}


@dataclass(frozen=True, slots=True, order=True)
class Objection:
    """One thing that speaks against a change."""

    rule: str
    tenant: str
    """Empty where it concerns no single tenant."""
    message: str
    """What is wrong, what is allowed, what to do next."""

    @property
    def is_mandatory(self) -> bool:
        """Whether it blocks the merge."""
        return RULES[self.rule].level == "mandatory"


def leaving(affected: Affected) -> list[Objection]:
    """Files that went, tenants that were renamed or moved to another cell, instances that were dropped."""
    found = []
    arrived = [one for one in affected.tenants.values() if one.kind == "added"]
    for one in affected.tenants.values():
        if one.kind == "removed":
            found.append(_gone(one, arrived))
        elif one.kind == "moved":
            found.append(_moved(one))
        if one.before is not None and one.after is not None:
            names = {instance.name for instance in one.after.instances}
            found += [_dropped(one.tenant, instance.name) for instance in one.before.instances if instance.name not in names]
    return found


def _gone(one: Affection, arrived: Sequence[Affection]) -> Objection:
    assert one.before is not None
    state = one.before.state
    new = _successor(one.before, arrived)
    if new:
        return Objection(
            "review.id-for-ever",
            one.tenant,
            f"tenants/{one.tenant}.yaml is gone and tenants/{new}.yaml looks like the same tenant. An id is for ever: hostnames, volumes "
            f"and invoices are named by it, and {new} would begin with an empty volume. Keep the file's name; `owner.name` and an "
            "instance's `hostname` are what customers see.",
        )
    todo = {
        "active": "Restore the file and write `state: offboarding` (`rowhouse archive` does both).",
        "suspended": "Restore the file and write `state: offboarding` (`rowhouse archive` does both).",
        "offboarding": f"Restore it: the data is kept for {one.before.plan.lifecycle.grace_days} days from when it left, and until a "
        "backup is verified.",
    }.get(state, "Restore it until the purge is applied.")
    return Objection(
        "review.leaves-in-two-steps",
        one.tenant,
        f"tenants/{one.tenant}.yaml is gone while the tenant is {state} and has data. A tenant leaves in steps. {todo}",
    )


def _successor(old: Tenant, arrived: Iterable[Affection]) -> str:
    """The new tenant that an old one was most likely renamed to; empty when there is none."""
    best, most = "", _RENAMED
    for one in arrived:
        assert one.after is not None
        hostnames = {instance.hostname for instance in old.instances} & {instance.hostname for instance in one.after.instances}
        alike = difflib.SequenceMatcher(None, old.id, one.tenant).ratio()
        score = 1 + alike if old.owner.email == one.after.owner.email or hostnames else 0.0
        if score > most:
            best, most = one.tenant, score
    return best


def _moved(one: Affection) -> Objection:
    assert one.before is not None
    assert one.after is not None
    return Objection(
        "review.stays-in-cell",
        one.tenant,
        f"tenants/{one.tenant}.yaml moves from cell {one.before.cell} to {one.after.cell}. Its volume is in {one.before.cell}'s stack, and "
        f"{one.after.cell} would make an empty one. Write `cell: {one.before.cell}`; new tenants may go to {one.after.cell}.",
    )


def _dropped(tenant: str, instance: str) -> Objection:
    return Objection(
        "review.instance-kept",
        tenant,
        f"tenants/{tenant}.yaml: instance {instance} is gone, and its volume holds data. An instance stays as long as its tenant. Put it "
        "back under `instances:`; it may sleep.",
    )


def lost_data(after: Fleet, affected: Affected) -> list[Objection]:
    """Volumes that cannot become what the files say: they neither move nor shrink."""
    found = []
    for one in affected.tenants.values():
        if one.before is None or one.after is None:
            continue
        volumes = {instance.name: KeptVolume(instance.region, instance.volume_gb) for instance in one.before.instances}
        for problems in unfollowed(after, one.after, volumes).values():
            found += [
                Objection("review.volume-kept", one.tenant, f"{problem.file}:{problem.line}: {problem.message}") for problem in problems
            ]
    return found


def gone_volumes(tenant: str, changes: Iterable[Change]) -> list[Objection]:
    """Volumes that an apply would delete or replace, whatever the reason."""
    return [
        Objection("review.volume-kept", tenant, f"{change.name} would be {_past(change.op)}, with the data in it. Take the change back.")
        for change in changes
        if change.type == _VOLUME and change.op in _GONE
    ]


def interruption(before: Tenant | None, changes: Iterable[Change]) -> str:
    """Why a tenant's members would notice a change while it is applied; empty when they would not.

    A new tenant has nobody to interrupt, and one that is not active has nothing running.
    """
    if before is None or not before.is_active:
        return ""
    reasons = []
    for change in changes:
        gone = change.op in _GONE
        if change.type == _MACHINE and (gone or (change.op == "update" and any(_top(path) not in _QUIET for path, *_ in change.diff))):
            stops = any(path == "running" and after is False for path, _, _, after in change.diff)
            reasons.append("the machine is replaced" if gone else "the machine stops" if stops else "the machine restarts")
        elif change.type == _ROUTE and change.op == "update" and any(path == "access" for path, *_ in change.diff):
            reasons.append("the gate closes")
        elif change.type in {_DNS, _ROUTE, _APPLICATION} and (
            gone or any(path in {"name", "hostname", "domain"} for path, *_ in change.diff)
        ):
            reasons.append("the address changes" if change.op != "delete" else "the gate goes")
    return ", ".join(dict.fromkeys(reasons))


def interruptions_over(interrupted: Sequence[str], limits: Guardrails, labels: frozenset[str]) -> list[Objection]:
    """More tenants interrupted than one change may, without the label that says it is meant."""
    if len(interrupted) <= limits.interrupted or INTERRUPTS_LABEL in labels:
        return []
    return [
        Objection(
            "review.interrupted",
            "",
            f"{len(interrupted):,} tenants would be interrupted; one change may interrupt {limits.interrupted:,} (policies/settings.yaml). "
            f"Split it, or add the label `{INTERRUPTS_LABEL}` if it is meant.",
        )
    ]


def of_other_paths(affected: Affected, links: Sequence[str]) -> list[Objection]:
    """Code and limits that differ: what a review cannot show, and what it is not held against."""
    found = []
    if affected.program:
        found.append(
            Objection(
                "review.program",
                "",
                f"{_some(affected.program)}: the program differs. What is shown below is what the present program makes of the files; "
                "every tenant of every cell may change. Read the code, and the preview after the merge.",
            )
        )
    own = [path for path in affected.other if path.startswith(("policies/", ".github/"))]
    if own:
        found.append(
            Objection(
                "review.own-limits", "", f"{_some(own)}: differs. The change is judged by the version before it. Read this one yourself."
            )
        )
    if links:
        found.append(
            Objection(
                "review.files", "", f"{_some(links)}: a symbolic link or a submodule. Only regular files are read. Put the file there."
            )
        )
    return found


def lost_stacks(after: Fleet, stacks: Collection[str]) -> list[Objection]:
    """Cells that have tenants and no stack file: nobody could apply them."""
    return [
        Objection(
            "review.stack-kept",
            "",
            f"cell {cell} has tenants and no stacks/Pulumi.{cell}.yaml. Copy another cell's file and set its account, or take its tenants' "
            "`cell:` back.",
        )
        for cell in after.cells()
        if f"Pulumi.{cell}.yaml" not in stacks
    ]


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(show(path)[1:-1] for path in paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3:,} more"


def _top(path: str) -> str:
    return path.split(".", 1)[0].split("[", 1)[0]


def _past(op: str) -> str:
    return "deleted" if op == "delete" else "replaced"
