"""Who failed, by the document of `rowhouse up`."""

from __future__ import annotations

from typing import Any

import pytest

from rowhouse.cli.ci_verbs import Ran, failed_tenants, worst
from rowhouse.review.changes import Failed, Outcome

NOBODY: frozenset[str] = frozenset()


def failure(tenant: str | None) -> dict[str, Any]:
    return {"tenant": tenant, "urn": "u", "message": "no", "skipped": False}


@pytest.mark.parametrize(
    ("code", "document", "failed"),
    [
        (0, {"failures": []}, NOBODY),
        (1, {"failures": [failure("acme"), failure("acme"), failure("bolt")]}, frozenset({"acme", "bolt"})),
        (1, {"failures": [failure("acme"), failure(None)]}, None),
        (1, {"failures": []}, None),
        (2, None, None),
        (0, None, None),
        (2, {"failures": [failure("acme")]}, None),
        (1, {"failures": [failure("acme")], "declined": True}, None),
        (0, {"failures": "none"}, None),
        (1, {"failures": ["acme"]}, None),
        (0, {}, None),
    ],
)
def test_everybody_counts_as_failed_unless_the_document_says_who_did(code: int, document: Any, failed: frozenset[str] | None):
    assert failed_tenants(Ran(code, document)) == failed


def test_the_houses_own_outcome_is_understood():
    tenant = "urn:pulumi:main::p::rowhouse:index:Tenant::acme"
    outcome = Outcome(failures=[Failed(tenant, "no")])
    assert failed_tenants(Ran(1, outcome.document())) == {"acme"}
    assert failed_tenants(Ran(0, Outcome().document())) == NOBODY


@pytest.mark.parametrize(("codes", "code"), [([], 0), ([0, 0], 0), ([0, 1], 1), ([3, 1], 3), ([137], 1), ([2, 137], 2)])
def test_a_job_ends_with_the_worst_of_its_cells(codes: list[int], code: int):
    assert worst(codes) == code
