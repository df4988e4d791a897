"""`python -m rowhouse.edge`: run one gateway until SIGTERM."""

import sys

from rowhouse.edge.service import main

if __name__ == "__main__":
    sys.exit(main())
