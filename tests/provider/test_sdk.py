"""The program's side: every class sends exactly the properties that the plugin knows."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from pulumi import CustomResource

from rowhouse.provider.clients import Clients
from rowhouse.provider.plugin import Rowhouse
from rowhouse.provider.sdk import billing, edge, fly
from rowhouse.provider.sdk.sealing import sealed
from rowhouse.wire.fields import Declared

CLASSES = [getattr(module, name) for module in (fly, billing, edge) for name in module.__all__]


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def sent_by(cls: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any], Any]:
    caught: list[Any] = []
    monkeypatch.setattr(CustomResource, "__init__", lambda self, token, name, props, opts: caught.append((token, props, opts)))
    parameters = [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind is p.KEYWORD_ONLY and p.name != "opts"]
    cls("x", **{p.name: {} if p.name == "values" else p.name for p in parameters})
    (found,) = caught
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__.rsplit('.', 1)[-1]}.{cls.__name__}")
def test_a_class_and_its_resource_agree_on_every_property(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token, props, _ = sent_by(cls, monkeypatch)
    resource = Rowhouse(Clients({})).resources[token]
    assert isinstance(resource, Declared)
    inputs = {name for name, value in props.items() if value is not None}
    assert inputs == set(resource.fields)
    computed = {name for name, value in props.items() if value is None}
    assert computed == set(resource.computed) - {"imported"}
    parameters = inspect.signature(cls.__init__).parameters
    required = {camel(p.name) for p in parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    assert required == {name for name, item in resource.fields.items() if item.required}
    for name in props:
        assert any(camel(attribute) == name for attribute in vars(cls)), name


def test_the_package_has_a_class_for_every_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {sent_by(cls, monkeypatch)[0] for cls in CLASSES} == set(Rowhouse(Clients({})).resources)


def test_literal_secrets_become_secret_and_references_stay_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> dict[str, Any]:  # an Output wants a running loop
        return sealed({"A": "env:X", "B": "file:y", "C": "literal"})

    found = asyncio.run(body())
    assert (found["A"], found["B"]) == ("env:X", "file:y")
    assert not isinstance(found["C"], str)
    _, _, opts = sent_by(fly.Secrets, monkeypatch)
    assert sorted(opts.additional_secret_outputs) == ["fingerprint", "values"]
