"""Ten thousand tenant files are loaded and checked within the promised time and memory."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COUNT = 10_000

MEASURE = """
import json, pathlib, re, sys, time
from rowhouse.spec import read_fleet
start = time.perf_counter()
fleet, problems = read_fleet(pathlib.Path(sys.argv[1]))
print(json.dumps({
    "tenants": len(fleet.tenants),
    "errors": [str(problem) for problem in problems if problem.severity == "error"][:3],
    "seconds": time.perf_counter() - start,
    "mb": int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024,  # ru_maxrss has the parent's too
}))
"""


def many(root: Path, count: int) -> Path:
    for folder in ("apps", "plans"):
        shutil.copytree(ROOT / folder, root / folder)
    (root / "tenants").mkdir()
    plans = ["aether/pro", "aether/free", "llamasketch/starter", "my-jarvis/fixed", "ai-diy/standard"]
    for number in range(count):
        (root / "tenants" / f"tenant-{number:05d}.yaml").write_text(
            f"owner: {{name: Tenant {number} Ltd, email: ops@t{number}.example}}\n"
            f"plan: {plans[number % len(plans)]}\n"
            f"cell: cell-{number // 40}\n"
            f'members: [ana@t{number}.example, "@t{number}.example"]\n'
            'env: {USER_NAME: "{owner.name}"}\n'
            f"secrets: {{APP_KEY: env:TENANT_{number}_KEY}}\n"
            f"instances:\n  main: {{region: fra, hostname: room-{number:05d}}}\n"
        )
    return root


def test_ten_thousand_files_take_less_than_twenty_seconds_and_six_hundred_megabytes(tmp_path: Path):
    run = subprocess.run([sys.executable, "-c", MEASURE, str(many(tmp_path, COUNT))], capture_output=True, text=True, check=True, cwd=ROOT)
    measured = json.loads(run.stdout)
    assert measured["tenants"] == COUNT
    assert measured["errors"] == []
    assert measured["seconds"] < 20
    assert measured["mb"] < 600
