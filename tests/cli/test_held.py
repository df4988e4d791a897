"""Who stays as he is when only what was reviewed may be applied, and what keeps everything from being applied."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rowhouse.cli.apply import _held
from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.review import approved
from rowhouse.review.changes import Failed, Outcome

STACK = "urn:pulumi:main::rowhouse::pulumi:pulumi:Stack::rowhouse-main"
TENANT = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant::acme"
POLICY = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant$cloudflare:index/zeroTrustAccessPolicy:ZeroTrustAccessPolicy::acme-members"


def held(preview: Outcome, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    async def nothing(*_args: Any) -> approved.Approved:
        return approved.Approved()

    async def look(*_args: Any, **_options: Any) -> Outcome:
        return preview

    monkeypatch.setattr(approved, "approved_in", nothing)
    where: Any = SimpleNamespace(root=Path())
    driver: Any = SimpleNamespace(preview=look)
    told: Any = None
    return asyncio.run(_held(where, driver, "main", [("a", "b")], told, refresh=False))


def test_a_tenant_whose_preview_fails_stays_as_it_is(monkeypatch: pytest.MonkeyPatch):
    preview = Outcome(parents={POLICY: TENANT, TENANT: STACK}, failures=[Failed(POLICY, "Cloudflare does not answer")])
    found = held(preview, monkeypatch)
    assert list(found) == [TENANT]
    assert "Cloudflare does not answer" in found[TENANT]


@pytest.mark.parametrize("failure", [Failed("", "the program ended with exit code 1"), Failed(STACK, "an unhandled error")])
def test_a_preview_that_fails_as_a_whole_approves_nothing(failure: Failed, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(EnvironmentProblemError, match=r"nothing was applied"):
        held(Outcome(parents={TENANT: STACK, STACK: ""}, failures=[failure]), monkeypatch)
