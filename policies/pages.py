"""docs/policies.md, printed from the rules and from the settings of a change.

python -m policies.pages --check     say whether the page is out of date (exit code 1)
python -m policies.pages --write     bring it up to date
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from policies import RULES
from rowhouse.spec.guardrails import FILE, Guardrails
from rowhouse.spec.policy import ResourceRule, Rule
from rowhouse.spec.schema import keep_current, key_table

__all__ = ["PAGE", "main", "page"]

PAGE: Final = "docs/policies.md"

_HEAD: Final = f"""\
<!-- printed by `python -m policies.pages --write` from policies/rules/ and rowhouse/spec/guardrails.py -->
# Policies

What may never be merged, whoever wrote it: tenants' files, plans or the components themselves.
The files are checked first (`rowhouse check`). The policies then judge what the program would register, so a mistake in a component is
caught too.

- `rowhouse preview` and `rowhouse up` run them on both engines. A **mandatory** violation makes a preview end with exit code 1, and `up`
  apply nothing (exit code 2). An **advisory** one is shown. With `--json` they stand under `policies`.
- The Pulumi CLI runs them alone, too: `pulumi preview --policy-pack policies`. A bare `pulumi up` does not; `pulumi up --policy-pack
  policies` does, and its own preview stops it. With `--skip-preview` rules about a whole stack speak only when it is applied.
- A rule sees what will be, not what was. What is deleted or replaced, how many tenants are interrupted, and what bills become is the
  review's to judge.
- What is known only after something else was made is judged by where its value comes from, or, where the rule says so, once it is known:
  just before the thing is made.
- Secrets: the embedded engine shows a rule `[secret]`, the Pulumi CLI the value itself. A rule never repeats a value that looks like one.

A rule is a pure function in `policies/rules/`. A new one needs an id that stays for ever, and in `tests/policies/cases.py` a case in which
it fires and one in which what it looks at is missing.

## Settings

`{FILE}` sets the limits of one change. A change is held against the settings that were in force before it.

"""


def page() -> str:
    """The text that the page should have."""
    index = ["| rule | level | what it wants |", "|---|---|---|"]
    index += [f"| [`{rule.id}`](#{_anchor(rule)}) | {rule.level} | {rule.wants} |" for rule in RULES]
    return f"{_HEAD}{key_table(Guardrails)}\n\n## Rules\n\n" + "\n".join(index) + "\n\n" + "\n".join(map(_section, RULES))


def _anchor(rule: Rule) -> str:
    """The fragment that GitHub gives to a rule's heading."""
    return rule.id.replace(".", "")


def _section(rule: Rule) -> str:
    if not isinstance(rule, ResourceRule):
        judged = "all resources of a stack together"
    elif rule.types:
        judged = ", ".join(f"`{type_}`" for type_ in sorted(rule.types))
    else:
        judged = "every resource"
    lines = [f"### {rule.id}", "", rule.wants, "", f"- Level: {rule.level}", f"- Judges: {judged}", f"- Why: {rule.why}"]
    return "\n".join([*lines, f"- How to mend: {rule.mend}", ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page of the project in the working directory (or --root)."""
    return keep_current("policies.pages", "Keep the page of the policies current.", lambda root: {root / PAGE: page()}, arguments)


if __name__ == "__main__":
    sys.exit(main())
