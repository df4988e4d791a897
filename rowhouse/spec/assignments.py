"""`plan=aether/pro`, `members+=bo@acme.example`: changes of a tenant file as a person or a form writes them.

Does: read the words by the schema of the keys, never by the look of the value, and carry them out on a file's text. Does not: judge values
(the checks of the whole fleet do) or touch a disk.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel

from rowhouse.spec.document import parse
from rowhouse.spec.edit import Add, Drop, Edit, EditError, Put, Remove, edited
from rowhouse.spec.explain import dotted, plain_annotation, unknown_key
from rowhouse.spec.files import TenantFile
from rowhouse.spec.problem import did_you_mean, listed
from rowhouse.spec.slug import show
from rowhouse.spec.source import Source
from rowhouse.spec.written import Value

__all__ = ["Assignment", "assigned", "assignments_in"]

Kind = Literal["text", "number", "list", "mapping"]

_WORD: Final = re.compile(r"(?P<key>[^=]*?)(?P<how>[+-]?=)(?P<value>.*)", re.DOTALL)
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_MEMBERS: Final = ("members",)
_VARIABLES: Final = frozenset({"env", "secrets"})
_FORMS: Final = "Allowed: KEY=VALUE, LIST+=ITEM, LIST-=ITEM"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One wish: what shall become of a key."""

    path: tuple[str, ...]
    how: Literal["=", "+=", "-=", "unset"]
    value: str = ""

    @property
    def name(self) -> str:
        """The key as people write it: `instances.main.cpus`."""
        return dotted(self.path)


def assignments_in(words: Iterable[str], unset: Iterable[str] = ()) -> list[Assignment]:
    """The wishes in a command's words, then those in its `--unset`s.

    Raises: EditError for a word that is none, and for a key with two fates. Values are not repeated: one may be a credential.
    """
    wishes: list[Assignment] = []
    for number, word in enumerate(words, 1):
        found = _WORD.fullmatch(word)
        if found is None:
            raise EditError(f"change {number} has no `=`. {_FORMS}; `--unset KEY` takes a key out. Write it so.")
        how: Any = found["how"]
        wishes.append(Assignment(_path(found["key"], f"change {number}"), how, found["value"]))
    wishes.extend(Assignment(_path(key, "--unset"), "unset") for key in unset)
    seen: set[tuple[str, ...]] = set()
    for wish in wishes:
        if wish.path in seen and wish.how in {"=", "unset"}:
            raise EditError(f"{wish.name} is changed twice in one go. A key gets one value. Leave one of the changes out.")
        if wish.how in {"=", "unset"}:
            seen.add(wish.path)
    return wishes


def assigned(source: Source, wishes: Iterable[Assignment]) -> str:
    """A tenant file's text after all wishes; the same text where they change nothing.

    Raises: SpecError where the file is no plain YAML; EditError where a wish does not fit the schema or the file.
    """
    text = source.text
    for wish in wishes:
        here = Source(source.slug, source.file, text)
        document, _ = parse(here)
        text = edited(here, _edits(source.file, wish, document.data if document is not None else {}))
    return text


def _path(key: str, place: str) -> tuple[str, ...]:
    path = tuple(key.split("."))
    if not all(path):
        raise EditError(f"{place}: {show(key)} is no key. Allowed: names with dots between them, such as owner.email. Correct it.")
    return path


def _edits(file: str, wish: Assignment, data: dict[str, Any]) -> Sequence[Edit]:
    """What one wish means for a document."""
    kind = _kind(file, wish.path)
    if wish.how == "unset":
        return _taken_out(wish, data)
    if wish.how != "=":
        if kind != "list":
            raise EditError(f"{file}: {wish.name} is no list. `+=` and `-=` are for lists, such as members. Write `{wish.name}=VALUE`.")
        return _item_edits(file, wish, data)
    put = Put(wish.path, _value(file, wish, kind))
    if wish.path[0] == "instances" and len(wish.path) > 1 and wish.path[1] != "main" and data.get("instances") is None:
        # Without the key there is one instance, main; a key that names another alone would take main away.
        return [Put(("instances", "main"), {}), put]
    return [put]


def _kind(file: str, path: tuple[str, ...]) -> Kind:
    """What kind of value a key of a tenant file takes. Raises: EditError for a key that there is not, with a suggestion."""
    annotation: Any = TenantFile
    for depth, key in enumerate(path):
        annotation = plain_annotation(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if key not in annotation.model_fields:
                raise EditError(f"{file}: {unknown_key(TenantFile, path[: depth + 1])}")
            annotation = annotation.model_fields[key].annotation
        elif typing.get_origin(annotation) is dict:
            annotation = typing.get_args(annotation)[1]
        else:
            above = dotted(path[:depth])
            raise EditError(f"{file}: {above} holds no further keys, so there is no {dotted(path[: depth + 1])}. Change {above} itself.")
    annotation = plain_annotation(annotation)
    origin = typing.get_origin(annotation)
    if origin is list:
        return "list"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "mapping"
    return "number" if annotation is int else "text"


def _value(file: str, wish: Assignment, kind: Kind) -> Value:
    """A value as its key takes it; one that does not fit stays text, and the checks say what is wrong with it."""
    if kind == "number" and _NUMBER.fullmatch(wish.value):
        return int(wish.value)
    if kind == "list":
        return [item.strip() for item in wish.value.split(",")] if wish.value.strip() else []
    if kind == "mapping":
        if wish.value != "{}":
            raise EditError(f"{file}: {wish.name} is a mapping. Allowed: {wish.name}.KEY=VALUE, or {{}} for an empty one. Name the key.")
        return {}
    return wish.value


def _taken_out(wish: Assignment, data: dict[str, Any]) -> Sequence[Edit]:
    """The key out of its mapping; with the last variable goes the mapping, which says nothing any more."""
    held = data.get(wish.path[0])
    if wish.path[0] in _VARIABLES and isinstance(held, dict) and set(held) == {*wish.path[1:]}:
        return [Drop(wish.path[:1])]
    return [Drop(wish.path)]


def _item_edits(file: str, wish: Assignment, data: dict[str, Any]) -> Sequence[Edit]:
    """An item into the list of members or out of it; letters' case does not tell addresses apart."""
    assert wish.path == _MEMBERS, "the only list of a tenant file"
    held = data.get("members")
    owner = data.get("owner")
    email = owner.get("email") if isinstance(owner, dict) else None
    # Without the key the owner is the only member, and stays one when another is added.
    items: list[str] = [item for item in (held if isinstance(held, list) else [email]) if isinstance(item, str)]
    same = [item for item in items if item.lower() == wish.value.lower()]
    if wish.how == "+=":
        if same:
            return []
        return [Add(_MEMBERS, wish.value)] if held is not None else [Put(_MEMBERS, [*items, wish.value])]
    if not same:
        raise EditError(
            f"{file}: {show(wish.value)} is not in {wish.name}. {did_you_mean(wish.value, items)}"
            f"Members: {listed(map(show, items)) or 'none'}. Name one of them."
        )
    return [Remove(_MEMBERS, item) for item in dict.fromkeys(same)] if held is not None else [Put(_MEMBERS, [])]
