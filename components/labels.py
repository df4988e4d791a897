"""The marks that say an object at a vendor is ours, in the shapes that the vendors take."""

from __future__ import annotations

from components.cell import Cell
from rowhouse.spec.marks import labels_for

__all__ = ["marks"]


def marks(cell: Cell, tenant: str, instance: str | None = None) -> dict[str, str]:
    """Metadata of one object of one tenant (`edge` and `catalog` stand for what all tenants share)."""
    return labels_for(cell.project, cell.stack, tenant, instance)
