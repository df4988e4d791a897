"""The documentation that is printed from the models: `_schema.json` for editors and the key tables in the READMEs of tenants/, plans/
and apps/.

    python -m rowhouse.spec.schema --check     say which files are out of date (exit code 1)
    python -m rowhouse.spec.schema --write     bring them up to date

Does not: touch anything between other markers, or the prose around the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from rowhouse.spec.explain import plain_annotation
from rowhouse.spec.files import AppFile, CatalogFile, TenantFile
from rowhouse.spec.rules import RULES

__all__ = ["FOLDERS", "generated", "json_schema", "keep_current", "key_table", "main", "rule_table"]

FOLDERS: Final[dict[str, type[BaseModel]]] = {"apps": AppFile, "plans": CatalogFile, "tenants": TenantFile}

_KEYS = ("<!-- keys: printed by `python -m rowhouse.spec.schema --write` -->", "<!-- end of keys -->")
_RULES = ("<!-- rules: printed by `python -m rowhouse.spec.schema --write` -->", "<!-- end of rules -->")
_PART_NAMES = {"env": "NAME", "secrets": "NAME"}


def json_schema(folder: str) -> str:
    """The JSON Schema (2020-12) of one folder's files."""
    schema = FOLDERS[folder].model_json_schema()
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def key_table(model: type[BaseModel]) -> str:
    """Every key of a file as a Markdown table: path, default, meaning."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines.extend(f"| `{path}` | {default} | {meaning} |" for path, default, meaning in _rows(model, ""))
    return "\n".join(lines)


def rule_table() -> str:
    """Every rule as a Markdown table."""
    return "\n".join(["| rule | what it wants |", "|---|---|", *(f"| `{rule}` | {sentence} |" for rule, sentence in sorted(RULES.items()))])


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    """The keys of a mapping and of the mappings in it, in the order of the model."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        yield (
            path,
            _default(field.get_default(call_default_factory=True, validated_data={}), required=field.is_required()),
            (field.description or "").replace("|", "\\|"),
        )
        inner = plain_annotation(field.annotation)
        step = "."
        while typing.get_origin(inner) in {dict, list}:
            step = f".<{_PART_NAMES.get(name, 'name')}>." if typing.get_origin(inner) is dict else "[]."
            inner = plain_annotation(typing.get_args(inner)[-1])
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, f"{path}{step}")


def _default(value: Any, *, required: bool) -> str:
    """A default for the table."""
    if required or value is PydanticUndefined:
        return "required"
    if value is None or isinstance(value, BaseModel) or value in ({}, []):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _between(text: str, marks: tuple[str, str], content: str) -> str:
    """A text with what stands between two marks replaced; unchanged where the marks are not there."""
    before, start, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    return f"{before}{start}\n\n{content}\n\n{end}{after}" if start and end else text


def generated(root: Path) -> dict[Path, str]:
    """Every generated file below a project's root with the text that it should have."""
    texts: dict[Path, str] = {}
    for folder, model in FOLDERS.items():
        texts[root / folder / "_schema.json"] = json_schema(folder)
        readme = root / folder / "README.md"
        if readme.exists():
            text = _between(readme.read_text(encoding="utf-8"), _KEYS, key_table(model))
            texts[readme] = _between(text, _RULES, rule_table())
    return texts


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the generated files of the project in the working directory (or --root)."""
    return keep_current("rowhouse.spec.schema", "Keep schemas and key tables current.", generated, arguments)


def keep_current(
    module: str, description: str, generate: Callable[[Path], Mapping[Path, str]], arguments: Sequence[str] | None = None
) -> int:
    """The command line of a module that prints documents: `--write` or `--check` what `generate` makes of a project's root.

    Returns: the exit code; 1 when something was checked and is out of date.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="bring the files up to date")
    action.add_argument("--check", action="store_true", help="say which files are out of date; exit code 1 when there are any")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's root; default: the working directory")
    options = parser.parse_args(arguments)
    wanted = generate(options.root)
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if options.write:
        for path in stale:
            path.write_text(wanted[path], encoding="utf-8")
        return 0
    for path in stale:
        sys.stderr.write(f"{path}: out of date. Run python -m {module} --write.\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
