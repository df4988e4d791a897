"""Property paths such as `env.PORT`, `mounts[0].path`, `tags["a b"]` and `ports[*]`: ignoreChanges and replaceOnChanges.

Does: parse, put old values back, match with wildcards. Does not: know where a path comes from.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from rowhouse.wire.values import UNKNOWN, Secret

if TYPE_CHECKING:
    from rowhouse.engine.client import Diff
    from rowhouse.engine.properties import Properties

Path = list[str | int]
_PART = re.compile(r'\.?([^.\["]+)|\[(\d+|\*)\]|\["((?:[^"\\]|\\.)*)"\]')
_ABSENT = object()


def parse(text: str) -> Path:
    """The parts of a path. Raises: ValueError."""
    parts: Path = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise ValueError(f"'{text}' is not a property path: see position {position + 1}")
        name, index, quoted = match.groups()
        if index is not None:
            parts.append("*" if index == "*" else int(index))
        else:
            parts.append(name if name is not None else quoted.replace('\\"', '"'))
        position = match.end()
    return parts


def keep_old(news: Properties, olds: Properties, ignored: list[str]) -> Properties:
    """`news` with the old value of every ignored path; a path absent before becomes absent again."""
    if not ignored:
        return news
    result: Properties = copy.deepcopy(news)
    for text in ignored:
        try:
            path = parse(text)
        except ValueError:
            continue
        _reset(result, olds, path)
    return result


def fill_unknown(new: Any, old: Any) -> Any:
    """`new` with the old value wherever it is unknown and there was one at the same place; maps and lists are copied on the way."""
    if new is UNKNOWN:
        return UNKNOWN if old is _ABSENT else old
    if isinstance(new, Secret):
        return Secret(fill_unknown(new.value, old.value if isinstance(old, Secret) else old))
    old = old.value if isinstance(old, Secret) else old
    if isinstance(new, dict):
        return {key: fill_unknown(value, _get(old, key)) for key, value in new.items()}
    if isinstance(new, list):
        return [fill_unknown(value, _get(old, number)) for number, value in enumerate(new)]
    return new


def _reset(new: Any, old: Any, path: Path) -> None:
    new = new.value if isinstance(new, Secret) else new
    old = old.value if isinstance(old, Secret) else old
    part, rest = path[0], path[1:]
    if part == "*":
        keys: list[Any] = []
        for side in (new, old):
            keys += list(side) if isinstance(side, dict) else list(range(len(side))) if isinstance(side, list) else []
        for key in dict.fromkeys(keys):
            _reset(new, old, [key, *rest])
        return
    before = _get(old, part)
    if rest:
        after = _get(new, part)
        if after is not _ABSENT and before is not _ABSENT:
            _reset(after, before, rest)
    elif isinstance(new, dict):
        if before is _ABSENT:
            new.pop(part, None)
        else:
            new[part] = copy.deepcopy(before)
    elif isinstance(new, list) and isinstance(part, int) and part < len(new) and before is not _ABSENT:
        new[part] = copy.deepcopy(before)


def _get(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return _ABSENT


def covers(pattern: Path, path: Path) -> bool:
    """Whether a pattern names the path or something around it."""
    return len(pattern) <= len(path) and all(want in ("*", have) for want, have in zip(pattern, path, strict=False))


def force_replacement(diff: Diff, patterns: list[str], *, init_errors: bool) -> Diff:
    """The diff, with every difference that `patterns` (replaceOnChanges) covers turned into a replacement."""
    if not patterns:
        return diff
    parsed = [parse(text) for text in patterns if text != "#initerror"]
    for text, item in diff.detailed.items():
        path = parse(text)
        if any(covers(pattern, path) for pattern in parsed):
            if not item["kind"].endswith("-replace"):
                item["kind"] += "-replace"
            _add(diff.replaces, str(path[0]))
    if not diff.detailed and diff.changed:
        for key in diff.keys:
            if any(covers(pattern[:1], [key]) for pattern in parsed):
                _add(diff.replaces, key)
    if init_errors and "#initerror" in patterns:
        diff.changed = True
        _add(diff.replaces, "#initerror")
    return diff


def _add(keys: list[str], key: str) -> None:
    if key not in keys:
        keys.append(key)
