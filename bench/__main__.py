"""All measurements, one JSON document on standard output; progress on standard error."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from typing import Any

PARTS = ("fleet", "calls", "gateway", "cloud", "engine", "metering", "observe", "passes", "review")


def main() -> int:
    """Run each measurement in a process of its own; a failing one is named and the others go on."""
    document: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    failed = 0
    for part in sys.argv[1:] or PARTS:
        began = time.monotonic()
        print(f"bench: {part} ...", file=sys.stderr, flush=True)
        ran = subprocess.run([sys.executable, "-m", f"bench.{part}"], stdout=subprocess.PIPE, check=False)
        try:
            document[part] = json.loads(ran.stdout)
        except ValueError:
            document[part] = {"failed": f"exit code {ran.returncode}"}
        failed += ran.returncode != 0
        print(f"bench: {part} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(json.dumps(document, indent=2))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
