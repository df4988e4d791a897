"""The policy pack as the Pulumi CLI runs it: `pulumi preview --policy-pack policies`.

Does: hand every rule, and the project beside this folder, to pulumi-policy. Does not: judge; see rules/.
"""

import os
import sys
from pathlib import Path

# The CLI runs this file by its path: neither this package nor the project's own are on sys.path then.
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from policies.pack import served  # noqa: E402
from rowhouse.errors import RowhouseError  # noqa: E402

try:
    served(ROOT, os.environ)
except RowhouseError as error:
    sys.exit(str(error))
