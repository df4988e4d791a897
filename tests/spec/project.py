"""A project's folders on disk for tests: small, valid, one file broken at a time."""

import textwrap
from pathlib import Path

from rowhouse.spec import Problem, check_fleet
from tests.support import IMAGE

APP = f"""\
title: Notebook
image: {IMAGE}
counters:
  notes: {{description: A note was saved.}}
"""

CATALOG = """\
title: aether
demo: true
app: notebook
region: fra
meters:
  running_hours: {kind: running_hours, unit: hour, rounding: second}
  notes: {kind: counter, unit: note}
packs:
  notes-500: {meter: notes, size: 500, price: "5.00"}
plans:
  free:
    title: Free
    price: "0.00"
    meters:
      running_hours: {included: 50, beyond: refuse}
    limits: {instances: 3}
  pro:
    title: Pro
    price: "20.00"
    meters:
      running_hours: {included: 200, beyond: bill, price: "0.10", warn_at: [80, 100]}
      notes: {included: 10, credits: true, beyond: refuse}
    limits: {instances: 3, cpus: 2, memory_mb: 2048, volume_gb: 20}
"""

TENANT = """\
owner: {name: Acme Ltd, email: ops@acme.example}
plan: aether/pro
"""


def project(root: Path, **files: str | bytes) -> Path:
    """A valid project with one app, one catalog and tenant acme; keywords replace files: `tenants__acme="..."`, None leaves one out.

    Keys are `<folder>__<name>`, `.yaml` is added; a value of text is dedented.
    """
    held: dict[str, str | bytes | None] = {"apps__notebook": APP, "plans__aether": CATALOG, "tenants__acme": TENANT, **files}
    for folder in ("apps", "plans", "tenants"):
        (root / folder).mkdir(exist_ok=True)
    for key, content in held.items():
        if content is None:
            continue
        folder, _, name = key.partition("__")
        data = content if isinstance(content, bytes) else textwrap.dedent(content).encode()
        (root / folder / f"{name}.yaml").write_bytes(data)
    return root


def problems_of(root: Path, **files: str | bytes) -> list[Problem]:
    """Every problem of such a project."""
    return check_fleet(project(root, **files))


def only(problems: list[Problem]) -> Problem:
    """The one problem there is."""
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]
