"""A cell's stack file, `stacks/Pulumi.<cell>.yaml`, read with the suspicion that every file of a pull request deserves.

Does: refuse what can explode, hide or crash a reader, and give the values as Pulumi's readers have them. Does not: open a secret, or know a
setting. Words that YAML readers read differently stay allowed: `pulumi config` and people write this file, and its values become text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from rowhouse.spec.document import LOADER, Document, parse
from rowhouse.spec.problem import Problem
from rowhouse.spec.slug import show
from rowhouse.spec.source import MAX_FILE_BYTES, text_of, too_big

__all__ = ["read_stack"]

_SHORT = "The settings of a stack need about ten lines."


def read_stack(data: bytes | None, name: str) -> tuple[dict[str, Any], list[Problem]]:
    """A stack file's values, and every problem; there are no values where there is one. An empty file is fine.

    Args: data: the file's bytes; None: they were too many to be read. name: the file's, without its folder.
    """
    file = f"stacks/{name}" if name.isprintable() and name.isascii() else f"stacks/{show(name)}"
    if data is None or len(data) > MAX_FILE_BYTES:
        return {}, [too_big(file, _SHORT)]
    source = text_of(data, name, file)
    if isinstance(source, Problem):
        return {}, [source]
    document, problems = parse(source, strict=False)
    if document is None or problems:
        return {}, problems
    try:
        # What could explode is refused by now; what is left is as deep and as much as `parse` allows.
        values = yaml.load(source.text, Loader=LOADER) or {}  # noqa: S506 - LOADER is a safe one
    except (yaml.YAMLError, ValueError, OverflowError):
        odd = [problem for problem in parse(source)[1] if problem.rule in {"yaml.ambiguous", "yaml.key"}]
        what = "a number or date in this file is none. Put it in quotes."
        return {}, odd[:1] or [Problem(file, 1, 1, "yaml.ambiguous", what)]
    wrong = _misshapen(document, values)
    return ({}, wrong) if wrong else (values, [])


def _misshapen(document: Document, values: Mapping[Any, Any]) -> list[Problem]:
    """Where `config` is no mapping with text for keys, or the salt no text: every reader would stumble there."""
    file, found = document.source.file, []
    config, salt = values.get("config"), values.get("encryptionsalt")
    if config is not None and not isinstance(config, dict):
        found.append(
            Problem(file, *document.at(("config",)), "spec.value", "config is no mapping. Write `prefix:name: value` lines below it.")
        )
    elif config is not None and (odd := next((key for key in config if not isinstance(key, str)), None)) is not None:
        where = document.at(("config", str(odd)), key=True)
        found.append(Problem(file, *where, "yaml.key", f"key {show(str(odd))} is not plain text to every YAML reader. Put it in quotes."))
    if salt is not None and not isinstance(salt, str):
        what = "encryptionsalt is no text. Take over the line that `pulumi` wrote."
        found.append(Problem(file, *document.at(("encryptionsalt",)), "spec.value", what))
    return found
