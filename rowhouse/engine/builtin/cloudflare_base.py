"""What the built-in Cloudflare types have in common: adoption, checking, comparing, finding.

Does not: know any one type.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rowhouse.engine.builtin.cloudflare_api import Api, ApiError, Unclear
from rowhouse.engine.builtin.cloudflare_shapes import from_wire, paths, seen
from rowhouse.wire.contract import CheckFailure, Diff, Kind, Refused
from rowhouse.wire.values import UNKNOWN

if TYPE_CHECKING:
    from rowhouse.wire.contract import Context

Props = dict[str, Any]
_KINDS: Final = {"add": Kind.ADD, "delete": Kind.DELETE, "update": Kind.UPDATE}
TRIES: Final = 6
"""How often a refusal that is about to end is asked again."""
PAUSE_S: Final = 0.3


class Kept:
    """What one provider process knows of the account: lists read once a run, and which of their objects are taken."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._lists: dict[str, asyncio.Task[list[Props]]] = {}
        self._taken: set[str] = set()

    async def adopt(self, path: str, wanted: Props, *, fresh: bool = False, **query: str) -> Props | None:
        """An object of a list that has these values and that nobody in this run has taken; `fresh` reads the list again."""
        if fresh or path not in self._lists:
            self._lists[path] = asyncio.ensure_future(self.api.list(path, **query))
        try:
            items = await asyncio.shield(self._lists[path])
        except ApiError:
            self._lists.pop(path, None)
            raise
        for item in items:
            if (
                item["id"] not in self._taken
                and not item.get("deleted_at")
                and all(item.get(key) == value for key, value in wanted.items())
            ):
                self.take(item["id"])
                return item
        return None

    def take(self, object_id: str) -> None:
        """Note that an object belongs to a resource of this run."""
        self._taken.add(object_id)


class Base:
    """What the types have in common."""

    required: ClassVar[tuple[str, ...]] = ()
    known: ClassVar[frozenset[str]] = frozenset()
    replacing: ClassVar[frozenset[str]] = frozenset({"accountId"})
    computed: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Props] = {}

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.api = kept.api

    def schema(self) -> Props:
        """Nothing: the published package describes these types."""
        return {}

    async def check(self, _ctx: Context, _olds: Props, news: Props) -> tuple[Props, list[CheckFailure]]:
        """Missing and unknown properties."""
        failures = [CheckFailure(key, f"missing required property '{key}'") for key in self.required if key not in news]
        extra = sorted(news.keys() - self.known - set(self.required))
        failures += [
            CheckFailure(key, f"'{key}' is not served by the built-in provider; known: {', '.join(sorted(self.known))}") for key in extra
        ]
        return news, failures

    async def diff(self, _ctx: Context, _id: str, old_inputs: Props, _old_outputs: Props, news: Props) -> Diff:
        """What changed, compared as sent."""
        found = paths(self.normal(old_inputs), self.normal(news))
        kinds = {}
        for path, kind in found.items():
            top = path.split(".", 1)[0].split("[", 1)[0]
            kinds[path] = Kind(_KINDS[kind].value + (top in self.replacing))
        return Diff(kinds)

    def normal(self, inputs: Props) -> Props:
        """Inputs with defaults, so that saying a default is no change."""
        return {**self.defaults, **{key: value for key, value in inputs.items() if value is not None}}

    def foretell(self, inputs: Props) -> Props:
        """Outputs as far as a preview knows them."""
        return {**self.normal(inputs), **{key: UNKNOWN for key in self.computed if key not in inputs}}

    def account(self, inputs: Props) -> str:
        """The path below which the object lives."""
        return f"accounts/{inputs['accountId']}"

    def outputs(self, inputs: Props, answer: Props) -> Props:
        """The answer in the SDK's names, with what only the inputs say."""
        mapped = {key: value for key, value in from_wire(answer).items() if key != "id"}
        for key in ("meta", "metadata"):  # the published SDK types both as text that holds JSON
            if isinstance(mapped.get(key), dict):
                mapped[key] = json.dumps(answer[key], sort_keys=True, separators=(",", ":"))
        return {**self.normal(inputs), **{key: value for key, value in mapped.items() if value is not None}}


def located(object_id: str, inputs: Props, owner: str) -> tuple[Props, str]:
    """Inputs and bare id; an import id carries its owner before a slash. Raises: Refused."""
    if "/" in object_id:
        owner_id, _, object_id = object_id.partition("/")
        return {owner: owner_id, **inputs}, object_id
    if owner not in inputs:
        raise Refused(f"'{object_id}' is not enough to import; write <{owner}>/<id>")
    return inputs, object_id


async def found_or_none(asked: Any) -> Props | None:
    try:
        answer: Props = await asked
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return answer


async def create_or_adopt(kept: Kept, path: str, body: Props, wanted: Props) -> Props:
    """Adopt an object with these values, brought to the wanted body; else make one."""
    answer = await kept.adopt(path, wanted)
    if answer is None:
        try:
            answer = await kept.api.post(path, body)
        except Unclear:
            answer = await kept.adopt(path, wanted, fresh=True)
            if answer is None:
                answer = await kept.api.post(path, body)
    elif any(seen(value, answer.get(key)) != value for key, value in body.items()):
        answer = await kept.api.put(f"{path}/{answer['id']}", body)
    kept.take(answer["id"])
    return answer
