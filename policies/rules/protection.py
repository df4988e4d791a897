"""What holds data or money is not deleted by accident: it carries `protect`, which engines obey whatever a change says.

Does not: look at `retain_on_delete` of customers, of which a policy pack hears nothing; tests of the components hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.rules import kinds
from policies.rules.places import place_of
from policies.rules.reading import said
from rowhouse.spec.policy import Facts, Resource, ResourceRule

__all__ = ["RULES"]


def _data(resource: Resource, facts: Facts) -> Iterator[str]:
    place = place_of(resource, facts)
    # What the edge keeps is a copy of what the object store has. What has no known place may be anybody's data.
    if not resource.protect and (place is None or place.of != "edge"):
        yield "protect is not set; it must be: deleting this deletes a customer's data."


def _money(resource: Resource, facts: Facts) -> Iterator[str]:
    del facts
    # Missing is active: so the provider takes it.
    if not resource.protect and said(resource, "active") is not False:
        yield "protect is not set on an active subscription; it must be: deleting it ends what a customer pays for."


RULES: Final = (
    ResourceRule(
        id="protect.data",
        level="mandatory",
        wants="The volume of an instance, and the app that holds it, are protected.",
        why="A file deleted by mistake would delete the customer's data with it.",
        mend="Set `protect=True` in the component. Data leaves by `state: offboarding` and `state: purge` in the tenant's file.",
        types=frozenset({kinds.FLY_VOLUME, kinds.FLY_APP}),
        check=_data,
    ),
    ResourceRule(
        id="protect.subscription",
        level="mandatory",
        wants="An active subscription is protected.",
        why="A deleted subscription is cancelled at Stripe: the customer is no longer billed, and nobody is told.",
        mend="Set `protect` in the component as long as `active` is true. A subscription ends by `state:` in the tenant's file.",
        types=frozenset({kinds.SUBSCRIPTION}),
        check=_money,
    ),
)
