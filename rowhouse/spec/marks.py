"""The mark that everything of ours carries at a vendor: who manages it, for which project, stack and tenant.

The same dictionary serves Stripe metadata, Fly machine metadata and anything else with key-value labels. Reconcile speaks only about
what carries the mark, so the mark is given as a plain input by each component and never by a transform.
"""

from __future__ import annotations

__all__ = ["EDGE", "MANAGED_BY", "labels_for"]

MANAGED_BY = "rowhouse"
EDGE = "edge"
"""Stands for the tenant in the mark of what a cell's tenants share; no tenant may have that id."""


def labels_for(project: str, stack: str, tenant: str, instance: str | None = None) -> dict[str, str]:
    """The mark of one tenant's things, with the instance where a thing belongs to one.

    Shapes: keys are at most 40 characters without brackets (Stripe's rule for metadata keys); values are passed through.
    """
    labels = {"managed-by": MANAGED_BY, "project": project, "stack": stack, "tenant": tenant}
    if instance is not None:
        labels["instance"] = instance
    return labels
