"""Which steps of an apply are the ones that were reviewed: the review knew no id, the apply does, and a written value must be the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rowhouse.engine import FORESEEN
from rowhouse.review.approved import Approved, unapproved
from rowhouse.review.changes import Failed, Outcome, Step

URN = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant$rowhouse:stripe:Subscription::acme-billing-subscription"
PRICE = "urn:pulumi:main::rowhouse::rowhouse:stripe:Price::base"
OF_PRICE = {"items": [PRICE]}


def step(op: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, urn: str = URN, **sources: list[str]) -> Step:
    return Step(op, urn, "rowhouse:stripe:Subscription", before, after, sources)


def items(price: str, quantity: int = 1) -> dict[str, Any]:
    return {"items": [{"price": price, "quantity": quantity}]}


def approved(*chain: Step, standing: Step | None = None) -> Approved:
    found = Approved()
    for one in chain:
        found.steps.setdefault(one.urn, []).append(one)
    if standing is not None:
        found.standing[standing.urn] = standing
    return found


REVIEWED = approved(step("update", items(FORESEEN), items("[unknown]", 2), items=[PRICE]))


def test_what_the_review_could_not_know_may_be_anything():
    assert REVIEWED.covers(step("update", items("price_1"), items("price_2", 2)))
    assert REVIEWED.covers(step("update", items("price_1"), items("[unknown]", 2)))
    assert REVIEWED.covers(step("update", items("price_1"), {"items": "04da6b54-80e4-46f7-96ec-b56ff0331ba9"}))


@pytest.mark.parametrize(
    "real",
    [
        step("update", items("price_1"), items("price_2", 3)),
        step("update", items("price_1", 7), items("price_2", 2)),
        step("update", items("price_1"), {"items": [*items("p", 2)["items"], *items("q", 2)["items"]]}),
        step("update", {**items("price_1"), "days": 1}, {**items("price_1", 2), "days": 2}),
        step("replace", items("price_1"), items("price_2", 2)),
        step("create", None, items("price_2", 2), urn=URN + "-other"),
        step("delete", items("price_1"), None),
    ],
    ids=["another value", "from another value", "one more", "another property", "replaced", "another resource", "deleted"],
)
def test_a_written_value_that_differs_was_not_reviewed(real: Step):
    assert not REVIEWED.covers(real)


def test_a_word_in_a_file_is_no_unknown_value():
    found = approved(step("update", {"text": "[unknown]"}, {"text": "[unknown]", "other": FORESEEN}))
    assert not found.covers(step("update", {"text": "a"}, {"text": "b"}))
    assert not found.covers(step("update", {}, {"other": "anything"}))


def test_what_is_created_has_what_was_reviewed_and_nothing_more_or_less():
    found = approved(step("create", None, {"name": "a", "owner": "[unknown]"}, owner=[PRICE]))
    assert found.covers(step("create", None, {"name": "a", "owner": "cus_1", "__defaults": []}))
    for inputs in ({"name": "a"}, {"name": "b", "owner": "cus_1"}, {"name": "a", "owner": "cus_1", "more": 1}):
        assert not found.covers(step("create", None, inputs))


def test_doing_less_than_was_reviewed_is_finishing_it():
    found = approved(step("update", {"a": 1, "b": 1}, {"a": 2, "b": 2}))
    assert found.covers(step("update", {"a": 2, "b": 1}, {"a": 2, "b": 2}))
    assert found.covers(step("update", {"a": 2, "b": 2}, {"a": 2, "b": 2}))
    assert not Approved().covers(step("update", {"a": 2}, {"a": 2}))


def test_ranges_one_after_another_end_where_the_last_one_does():
    found = approved(step("update", {"a": 1}, {"a": 2}), step("update", {"a": 2}, {"a": 3}))
    assert found.covers(step("update", {"a": 1}, {"a": 3}))
    assert found.covers(step("update", {"a": 2}, {"a": 3}))
    assert not found.covers(step("update", {"a": 1}, {"a": 2})), "half of what was reviewed is not what the files say"
    assert not found.covers(step("update", {"a": 9}, {"a": 3}))
    gone = approved(step("update", {"a": 1}, {"a": 2}), step("delete", {"a": 2}, None))
    assert gone.covers(step("delete", {"a": 1}, None))
    assert not gone.covers(step("update", {"a": 1}, {"a": 2}))


def test_ranges_from_one_base_each_settle_what_they_change():
    image = step("update", {"image": "a", "env": 1}, {"image": "b", "env": 1})
    env = step("update", {"image": "a", "env": 1}, {"image": "a", "env": 2})
    found = approved(image, env)
    assert found.covers(step("update", {"image": "a", "env": 1}, {"image": "b", "env": 2}))
    assert not found.covers(step("update", {"image": "a", "env": 1}, {"image": "c", "env": 2}))


def test_who_could_not_be_previewed_is_not_applied():
    tenant = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant::acme"
    preview = Outcome(parents={URN: tenant, tenant: ""})
    assert unapproved(preview, Approved()) == {}
    preview.failures = [Failed(URN, "Stripe does not answer"), Failed(PRICE, "it depends on", skipped=True)]
    assert list(unapproved(preview, Approved())) == ["acme"]
    assert "Stripe does not answer" in unapproved(preview, Approved())["acme"]
    preview.failures = [Failed("", "the program ended")]
    assert list(unapproved(preview, Approved())) == [""]


def test_what_follows_a_reviewed_object_may_follow_it_and_no_more():
    route = step("same", {"aud": FORESEEN, "host": "a"}, {"aud": FORESEEN, "host": "a"}, urn=URN + "-route", aud=[PRICE])
    price = step("replace", {"amount": 1}, {"amount": 2}, urn=PRICE)
    follows = step("update", {"aud": "1", "host": "a"}, {"aud": "[unknown]", "host": "a"}, urn=URN + "-route")
    assert approved(price, standing=route).covers(follows)
    assert not approved(standing=route).covers(follows), "nothing that it stands on was reviewed"
    assert not approved(price, standing=route).covers(step("update", {"host": "a"}, {"host": "b"}, urn=URN + "-route"))
    assert not approved(price, standing=route).covers(step("delete", {"host": "a"}, None, urn=URN + "-route"))
