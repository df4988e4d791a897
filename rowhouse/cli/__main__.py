"""`python -m rowhouse.cli` is `rowhouse`."""

from rowhouse.cli import main

main()
