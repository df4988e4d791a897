"""A check for credentials in plain text, in tenants, plans and apps. A message never repeats the value."""

from __future__ import annotations

import re
from typing import Final

from rowhouse.spec.model import Fleet
from rowhouse.spec.problem import Problem

__all__ = ["check_plain_secrets", "looks_secret"]

_SHAPES: Final = (
    ("a Stripe key", re.compile(r"\b[rs]k_(live|test)_\w{4,}|\bwhsec_\w{8,}")),
    ("a Fly token", re.compile(r"\bFlyV1\b|\bfm[12][a-z]?_\w{4,}")),
    ("a signed token", re.compile(r"\beyJ[\w-]{8,}")),
    ("an AWS key", re.compile(r"\bA(KIA|SIA)[0-9A-Z]{12,}")),
    ("a private key", re.compile(r"PRIVATE KEY")),
    ("a GitHub token", re.compile(r"\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[\w-]{8,}")),
    ("an AI vendor's key", re.compile(r"\bsk-[\w-]{16,}|\bAIza[\w-]{30,}")),
    ("an address with a password", re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://[^/\s:@]*:[^/\s:@]+@")),
)
_SECRET_NAME: Final = re.compile(r"(^|_)(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|SECRET_?KEY|ACCESS_?KEY|CREDENTIALS?)$")
_SHORTEST_SECRET: Final = 8


def looks_secret(name: str, value: str) -> str:
    """What a variable's value looks like when it looks like a credential, by its shape or by its name; else the empty text."""
    for what, shape in _SHAPES:
        if shape.search(value):
            return what
    if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET:
        return "a credential by its name"
    return ""


def check_plain_secrets(fleet: Fleet) -> list[Problem]:
    """No variable of an app, plan or tenant holds what looks like a credential; inherited ones are named once, where they stand."""
    problems: list[Problem] = []
    for app in fleet.apps:
        problems.extend(
            _found(fleet, "apps", app.id, ("env",), name, value) for name, value in app.env.items() if looks_secret(name, value)
        )
    for catalog in fleet.catalogs:
        for plan in catalog.plans:
            path = ("plans", plan.name, "env")
            problems.extend(
                _found(fleet, "plans", catalog.id, path, name, value) for name, value in plan.env.items() if looks_secret(name, value)
            )
    for tenant in fleet.tenants:
        inherited = {**tenant.app.env, **tenant.plan.env}
        problems.extend(
            _found(fleet, "tenants", tenant.id, ("env",), name, value)
            for name, value in tenant.env.items()
            if inherited.get(name) != value and looks_secret(name, value)
        )
    return problems


def _found(fleet: Fleet, folder: str, slug: str, path: tuple[str, ...], name: str, value: str) -> Problem:
    return Problem(
        *fleet.locate(folder, slug, (*path, name)),
        "tenant.secret-in-env",
        f"the value of {name} looks like {looks_secret(name, value)}. Files are read by many and kept for ever. Write `secrets: "
        f"{{{name}: env:{name}}}` instead, "
        "and replace the credential at its issuer if this was ever pushed.",
    )
