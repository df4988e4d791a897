"""The `rowhouse` command."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command; the verbs are imported here, because most of what imports this package does not want them."""
    from rowhouse.cli.app import app

    app()
