"""The kinds of values that tenant, plan and app files hold, as annotated types with their own error texts.

Each validator's error carries a rule id of RULES as its type and a full message, so that explain.py only adds the place.
Does not: look at other files or at what a vendor sells (see checks and hosts.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from rowhouse.spec.placeholders import why_not_filled
from rowhouse.spec.slug import SLUG_PATTERN, show, why_not_slug

__all__ = [
    "IMAGE_BY_DIGEST",
    "AbsolutePath",
    "Allowance",
    "Autostop",
    "CountLimit",
    "Currency",
    "Email",
    "EnvName",
    "EnvValue",
    "Host",
    "Image",
    "Member",
    "MeterName",
    "Money",
    "PlanRef",
    "Quantity",
    "SecretRef",
    "Slug",
    "State",
    "Text",
    "UnitPrice",
    "failure",
]

Host = Literal["fly", "railway", "docker"]
State = Literal["active", "suspended", "offboarding", "purge"]
Autostop = Literal["stop", "suspend", "off"]
# Two-decimal currencies only: rounding to the minor unit is tested for them.
Currency = Literal["usd", "eur", "gbp", "chf", "cad", "aud", "sek", "nok", "dkk", "pln"]

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = rf"({_LABEL}\.)+[a-z]([a-z0-9-]{{0,61}}[a-z0-9])"
_EMAIL = re.compile(rf"[a-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_DOMAIN}", re.ASCII)
_MEMBER_DOMAIN = re.compile(rf"@{_DOMAIN}", re.ASCII)
_METER = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
IMAGE_BY_DIGEST = re.compile(r"[a-z0-9]+([._:/-][a-z0-9]+)*@sha256:[0-9a-f]{64}", re.ASCII)
_ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,99}", re.ASCII)
_SECRET_ENV = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]{0,199}", re.ASCII)
# Whoever may open a pull request may name a secret: neither the operator's own credentials nor any file of theirs may reach an app
# that way.
_OPERATORS_OWN = ("ACTIONS_", "AWS_", "CLOUDFLARE_", "FLY_", "GH_", "GITHUB_", "PULUMI_", "RAILWAY_", "ROWHOUSE_", "STRIPE_")
_SECRET_FILE = re.compile(r"file:(/run/secrets/)?[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", re.ASCII)
_MONEY = re.compile(r"(0|[1-9][0-9]{0,6})\.[0-9]{2}", re.ASCII)
_UNIT_PRICE = re.compile(r"(0|[1-9][0-9]{0,6})(\.[0-9]{1,12})?", re.ASCII)
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?", re.ASCII)
_PLAN = re.compile(rf"{SLUG_PATTERN[1:-1].replace('(?=.{1,39}$)', '')}/{SLUG_PATTERN[1:-1].replace('(?=.{1,39}$)', '')}", re.ASCII)


def failure(rule: str, message: str) -> PydanticCustomError:
    """A validation error whose type is a rule id; the message goes through a context so that braces in it stay text."""
    return PydanticCustomError(rule, "{text}", {"text": message})


def _text_of(value: object, rule: str, example: str) -> str:
    """The value when it is text; a number or a boolean is not silently made into text."""
    if isinstance(value, str):
        return value
    kind = {bool: "true or false", int: "a number", Decimal: "a number", list: "a list", dict: "a mapping", type(None): "nothing"}
    raise failure(
        rule,
        f"this is {kind.get(type(value), 'no text')}, and text is wanted. Write text such as {example}, in quotes where it looks "
        f"like a number.",
    )


def _matching(rule: str, pattern: re.Pattern[str], wanted: str, limit: int, *, lower: bool = False) -> Callable[[object], str]:
    """A validator for text of one shape; the message shows a valid example."""

    def check(value: object) -> str:
        text = _text_of(value, rule, wanted)
        text = text.lower() if lower else text
        if len(text) > limit or pattern.fullmatch(text) is None:
            raise failure(rule, f"{show(value)} does not fit. It must look like {wanted}, with at most {limit} characters. Correct it.")
        return text

    return check


def _schema(pattern: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, **more})


def _check_slug(value: object) -> str:
    text = _text_of(value, "spec.id", "`acme-labs`")
    why = why_not_slug(text)
    if why:
        raise failure(
            "spec.id",
            f"{show(text)} cannot be an id: {why}. Ids have lower-case ASCII letters, digits and single dashes, a letter first, "
            "at most 39 characters. Choose another.",
        )
    return text


def _check_email(value: object) -> str:
    text = _text_of(value, "spec.email", "`ops@acme.example`").lower()
    if len(text) > 254 or _EMAIL.fullmatch(text) is None or ".." in text or text.startswith(".") or ".@" in text:
        raise failure(
            "spec.email", f"{show(value)} is not an e-mail address. It must look like `ops@acme.example`, ASCII only. Correct it."
        )
    return text


def _check_member(value: object) -> str:
    text = _text_of(value, "spec.member", "`ana@acme.example` or `@acme.example`").lower()
    if text.startswith("@"):
        if len(text) > 254 or _MEMBER_DOMAIN.fullmatch(text) is None:
            raise failure("spec.member", f"{show(value)} is not `@` and a domain. It must look like `@acme.example`. Correct it.")
        return text
    if len(text) > 254 or _EMAIL.fullmatch(text) is None or ".." in text or text.startswith(".") or ".@" in text:
        raise failure(
            "spec.member",
            f"{show(value)} is no member. It must look like `ana@acme.example` or, for everyone there, `@acme.example`. Correct it.",
        )
    return text


def _check_secret(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if _SECRET_ENV.fullmatch(text):
        if text[4:].upper().startswith(_OPERATORS_OWN):
            raise failure(
                "spec.secret-reference",
                f"{show(text)} is a credential of whoever runs Rowhouse, and an app would get it. Not allowed: names that start with "
                f"{', '.join(_OPERATORS_OWN)}. Give the app a variable of its own, such as `env:ACME_API_KEY`.",
            )
        return text
    if len(text) <= 500 and _SECRET_FILE.fullmatch(text):
        return text
    # The value may be the secret itself: it is not repeated.
    raise failure(
        "spec.secret-reference",
        "this is no reference to a secret. Allowed are `env:NAME` (a variable where `rowhouse up` runs) and `file:PATH` (below "
        "the project's "
        "root or in /run/secrets/, without `..`, `~` and hidden names). Put the value there and name it here; if a real secret stood here, "
        "replace it at its issuer.",
    )


def _check_env_name(value: object) -> str:
    text = _text_of(value, "spec.env-name", "`USER_NAME`")
    if _ENV_NAME.fullmatch(text) is None:
        raise failure(
            "spec.env-name",
            f"{show(text)} is no variable name. Names have upper-case ASCII letters, digits and underscores. Write `USER_NAME`.",
        )
    if text.startswith(("FLY_", "ROWHOUSE_")):
        raise failure(
            "spec.env-name", f"{show(text)} is set by the host or by Rowhouse. Names may not start with FLY_ or ROWHOUSE_. Choose another."
        )
    return text


def _check_env_value(value: object) -> str:
    text = _text_of(value, "spec.value", '"8080"')
    if len(text) > 8000:
        raise failure("spec.value", f"this value has {len(text):,} characters, the most is 8,000. Put it in a file of the image or volume.")
    why = why_not_filled(text)
    if why:
        raise failure("spec.placeholder", why)
    return text


def _check_path(value: object) -> str:
    text = _text_of(value, "spec.path", "`/data`")
    if not re.fullmatch(r"/[A-Za-z0-9._/-]{0,199}", text) or ".." in text.split("/") or "//" in text:
        raise failure("spec.path", f"{show(text)} is no plain absolute path. It must look like `/data`, without `..`. Correct it.")
    return text


def _decimal(rule: str, pattern: re.Pattern[str], example: str, *, bare: bool) -> Callable[[object], Decimal]:
    """A validator for a decimal number; `bare` lets it stand without quotes."""

    def check(value: object) -> Decimal:
        if bare and isinstance(value, int | Decimal) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise failure(
                rule,
                f'this is not written as text. It must be a decimal number in quotes, because readers round numbers. Write "{example}".',
            )
        if pattern.fullmatch(value) is None:
            raise failure(rule, f'{show(value)} does not fit. It must look like "{example}". Correct it.')
        return Decimal(value)

    return check


def _check_allowance(value: object) -> Decimal | None:
    return None if value == "unlimited" else _quantity(value)


_quantity = _decimal("spec.quantity", _AMOUNT, "12.5", bare=True)

Slug = Annotated[str, BeforeValidator(_check_slug), _schema(SLUG_PATTERN)]
MeterName = Annotated[
    str, BeforeValidator(_matching("spec.id", _METER, "`running_hours`", 39)), _schema(rf"^{_METER.pattern}$", maxLength=39)
]
Email = Annotated[str, BeforeValidator(_check_email), WithJsonSchema({"type": "string", "format": "email", "maxLength": 254})]
Member = Annotated[str, BeforeValidator(_check_member), _schema("^[^@\\s]*@[^@\\s]+$", maxLength=254)]
Image = Annotated[
    str,
    BeforeValidator(_matching("spec.image", IMAGE_BY_DIGEST, "`registry.example/app@sha256:<64 hexadecimal digits>`", 300)),
    _schema("^.+@sha256:[0-9a-f]{64}$"),
]
EnvName = Annotated[str, BeforeValidator(_check_env_name), _schema("^[A-Z_][A-Z0-9_]{0,99}$")]
EnvValue = Annotated[str, BeforeValidator(_check_env_value), WithJsonSchema({"type": "string", "maxLength": 8000})]
SecretRef = Annotated[str, BeforeValidator(_check_secret), _schema("^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")]
AbsolutePath = Annotated[str, BeforeValidator(_check_path), _schema("^/[A-Za-z0-9._/-]*$")]
PlanRef = Annotated[
    str,
    BeforeValidator(_matching("spec.value", _PLAN, "`<catalog>/<plan>`, such as `aether/pro`", 79)),
    _schema("^[a-z][a-z0-9-]*/[a-z][a-z0-9-]*$"),
]
Money = Annotated[Decimal, BeforeValidator(_decimal("spec.money", _MONEY, "20.00", bare=False)), _schema(rf"^{_MONEY.pattern}$")]
"""An amount in the currency's major unit with its two decimals."""
UnitPrice = Annotated[
    Decimal, BeforeValidator(_decimal("spec.money", _UNIT_PRICE, "0.10", bare=False)), _schema(rf"^{_UNIT_PRICE.pattern}$")
]
"""A price for one unit, in the currency's major unit, with up to twelve decimals."""
Allowance = Annotated[
    Decimal | None,
    BeforeValidator(_check_allowance),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": rf"^({_AMOUNT.pattern}|unlimited)$"}]}),
]
"""A quantity, or `unlimited` (None)."""
Quantity = Annotated[
    Decimal,
    BeforeValidator(_quantity),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": rf"^({_AMOUNT.pattern})$"}]}),
]


def _check_count(value: object) -> int | None:
    if value == "unlimited":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100_000:
        return value
    raise failure("spec.value", f"{show(value)} is no limit. It must be a whole number from 1 to 100,000, or `unlimited`. Correct it.")


CountLimit = Annotated[
    int | None,
    BeforeValidator(_check_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 100_000}, {"const": "unlimited"}]}),
]
"""A count, or `unlimited` (None)."""


def _check_text(text: str) -> str:
    if not text.strip() or len(text) > 200 or "\n" in text:
        raise failure("spec.value", "this text is empty, has several lines or more than 200 characters. Write one short line.")
    return text


Text = Annotated[str, AfterValidator(_check_text), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 200})]
