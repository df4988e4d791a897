"""Ten thousand tenant files, loaded and checked: seconds and peak megabytes.

Writes a fleet of varied tenants beside the catalogs and apps of this repository into a temporary folder, measures `load_fleet` in a fresh
process, and, in its pair, the mere parsing of the same files with PyYAML's C loader, so that the figure says what the models and
checks cost. Prints one JSON document. Usage: `python bench/fleet.py [--tenants 10000]`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLANS = ("aether/pro", "aether/team", "ai-diy/standard", "ai-diy-roadmap/basic", "llamasketch/starter", "my-jarvis/usage")
TENANTS_A_CELL = 36  # about 450 resources: the size of a quick apply
LIMITS = {"seconds": 20.0, "megabytes": 600.0}


def tenant_file(index: int) -> str:
    """One tenant; every third has members, every fifth an environment, every seventh (of a plan that allows it) two instances."""
    plan = PLANS[index % len(PLANS)]
    lines = [
        f"owner: {{name: Customer {index}, email: owner{index}@c{index}.example}}",
        f"plan: {plan}",
        f"cell: cell-{index // TENANTS_A_CELL}",
    ]
    if index % 3 == 0:
        lines.append(f"members: [ana@c{index}.example, '@c{index}.example']")
    if index % 5 == 0:
        lines.append("env: {USER_NAME: '{owner.name}', MODE: quiet}")
    if plan.startswith("aether/") and index % 7 == 0:
        lines += ["instances:", "  main: {memory_mb: 1024, volume_gb: 10}", "  lab: {memory_mb: 256, volume_gb: 1}"]
    return "\n".join(lines) + "\n"


def write_fleet(root: Path, count: int) -> None:
    """A project's data folders with `count` tenants."""
    for name in ("plans", "apps"):
        shutil.copytree(ROOT / name, root / name)
    (root / "tenants").mkdir()
    for index in range(count):
        (root / "tenants" / f"customer-{index:05d}.yaml").write_text(tenant_file(index))


def measure(what: str, root: Path) -> dict[str, Any]:
    """Run one measurement in a process of its own, for its own peak of memory."""
    done = subprocess.run([sys.executable, __file__, "--measure", what, str(root)], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def _measured(what: str, root: Path) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    if what == "parse":
        import yaml

        count = len([yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader) for path in sorted((root / "tenants").glob("*.yaml"))])
    else:
        sys.path.insert(0, str(ROOT))
        from rowhouse.spec.load import load_fleet

        count = len(load_fleet(root).tenants)
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "megabytes_before": round(before, 1),
        "tenants": count,
    }


def main() -> int:
    """Print the document; exit code 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "ROOT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(options.measure[0], Path(options.measure[1]))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_fleet(root, options.tenants)
        loaded, parsed = measure("load", root), measure("parse", root)
    within = loaded["seconds"] < LIMITS["seconds"] and loaded["megabytes"] < LIMITS["megabytes"]
    complete = loaded["tenants"] == parsed["tenants"] == options.tenants
    print(
        json.dumps(
            {"fleet": {"tenants": options.tenants, "load_and_check": loaded, "parse_only": parsed, "limits": LIMITS, "within": within}}
        )
    )
    return 0 if within and complete else 1


if __name__ == "__main__":
    raise SystemExit(main())
