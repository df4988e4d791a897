"""A review of 10, 1,000 and 10,000 tenants: how long selection and the whole take for one changed file, and for a changed plan of all.

Each in a process of its own over a scratch clone. The pair of each figure is the same review of the small clone: a review of one tenant
must not depend on how many others there are. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.fleet import ROOT, TENANTS_A_CELL, tenant_file

SIZES = (10, 1_000, 10_000)
PROGRAM = ("Pulumi.yaml", "stacks", "components", "rowhouse", "policies", "plans", "apps")
LIMITS = {"select_s": 2.0, "one_s": 5.0, "flat": 1.5, "all_s": 30.0, "all_megabytes": 1000.0, "comment": 60_000}
ROUNDS = 3


def clone(root: Path, count: int, *, one_plan: bool) -> Path:
    """A committed project of so many tenants. Args: one_plan: all on one plan, else on six."""
    ignored = shutil.ignore_patterns("__pycache__")
    root.mkdir()
    for name in PROGRAM:
        source = ROOT / name
        shutil.copytree(source, root / name, ignore=ignored) if source.is_dir() else shutil.copy(source, root / name)
    (root / "tenants").mkdir()
    for index in range(count):
        lines = tenant_file(index * 6 if one_plan else index).splitlines()
        lines[0] = f"owner: {{name: Customer {index}, email: owner{index}@c{index}.example}}"
        lines[2] = f"cell: cell-{index // TENANTS_A_CELL}"
        (root / "tenants" / f"customer-{index:05d}.yaml").write_text("\n".join(lines) + "\n")
    for cell in range(-(-count // TENANTS_A_CELL)):
        shutil.copy(root / "stacks/Pulumi.main.yaml", root / f"stacks/Pulumi.cell-{cell}.yaml")
    git(root, "init", "-q", "-b", "main")
    commit(root, "as it is")
    return root


def git(root: Path, *args: str) -> None:
    who = ("-c", "user.name=B", "-c", "user.email=b@rowhouse.example", "-c", "commit.gpgsign=false", "-c", "gc.auto=0")
    subprocess.run(["git", *who, *args], cwd=root, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})


def commit(root: Path, message: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", message)


def measure(what: str, root: Path) -> dict[str, Any]:
    """The quickest of some runs, each a process of its own: its time without that of starting Python, and its peak of memory."""
    runs = []
    for _ in range(ROUNDS if what != "all" else 1):
        done = subprocess.run(
            [sys.executable, "-m", "bench.review", "--measure", what, str(root)], check=True, capture_output=True, cwd=ROOT
        )
        runs.append(json.loads(done.stdout))
    return min(runs, key=lambda run: run["seconds"])


def _measured(what: str, root: Path) -> dict[str, Any]:
    from rowhouse.cli.reviewing import house_review, house_selection  # what every command has imported before it begins

    started = time.perf_counter()
    if what == "select":
        told: dict[str, Any] = {"tenants": len(house_selection(root, "HEAD~1", "HEAD").tenants)}
    else:
        review = house_review(root, "HEAD~1", "HEAD", labels=frozenset({"interrupts-many", "changes-bills"}))
        told = {"tenants": len(review.tenants), "blocked": list(review.blocked)[:3], "comment": len(review.markdown())}
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"seconds": round(time.perf_counter() - started, 2), "megabytes": round(peak / 1024), **told}


def main() -> int:
    """Print the document; exit code 1 when a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", nargs=2)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(options.measure[0], Path(options.measure[1]))))
        return 0
    one: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            root = clone(Path(folder) / str(size), size, one_plan=False)
            file = root / "tenants/customer-00003.yaml"
            file.write_text(file.read_text().replace("members: [ana@", "members: [bo@"))
            commit(root, "one tenant")
            one[str(size)] = {"select": measure("select", root), "review": measure("one", root)}
            shutil.rmtree(root)
        root = clone(Path(folder) / "all", SIZES[-1], one_plan=True)
        catalog = root / "plans/aether.yaml"
        catalog.write_text(catalog.read_text().replace('price: "20.00"', 'price: "21.00"'))
        commit(root, "a plan of all")
        everybody = measure("all", root)
    small, large = one[str(SIZES[0])], one[str(SIZES[-1])]
    ratio = round(large["review"]["seconds"] / small["review"]["seconds"], 2)
    within = (
        large["select"]["seconds"] < LIMITS["select_s"]
        and all(one[str(size)]["review"]["seconds"] < LIMITS["one_s"] for size in SIZES)
        and ratio < LIMITS["flat"]
        and everybody["seconds"] < LIMITS["all_s"]
        and everybody["megabytes"] < LIMITS["all_megabytes"]
        and everybody["comment"] < LIMITS["comment"]
        and everybody["tenants"] == SIZES[-1]
        and not everybody["blocked"]
    )
    document = {"one_changed_tenant": one, "largest_to_smallest": ratio, "one_plan_of_all": everybody, "limits": LIMITS, "within": within}
    print(json.dumps({"review": document}))
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main())
