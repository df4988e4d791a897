"""Drift by cause: what daily looks at all cells found, one cause an issue.

Does: make of previews the causes behind them, each with an id that stays the same from day to day, and word each as an issue. Does not:
speak to GitHub (`ci_issues` does), repair, or take what could not be looked at for well. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from rowhouse.cli.ci_text import bounded, code
from rowhouse.spec.fields import Slug

__all__ = ["Cause", "Look", "blind_cells", "causes_of", "issue_body", "issue_title", "looked", "written"]

_NAMED: Final = 50
_BODY_MAX: Final = 60_000
_VALUE_MAX: Final = 200
_TITLE_MAX: Final = 200
_NAME_MAX: Final = 300
_UNSEEN: Final = "unseen"
_ADVICE: Final = (
    "`rowhouse preview --refresh` shows all of it and `rowhouse up --refresh` makes it as the files say; where the vendor is right, "
    "change the file. This issue is updated daily and closed when its cause is gone."
)
_SAID: Final = {
    "create": "is missing",
    "delete": "is there, but in no file",
    "discard": "is gone, but in the state",
    "update": "differs",
    "replace": "differs so that it would be replaced",
}


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Row(_Told):
    path: str = ""
    before: Any = None
    after: Any = None


class _Change(_Told):
    op: str
    tenant: str | None = None
    type: str
    name: str
    diff: tuple[_Row, ...] = ()


class _Failure(_Told):
    tenant: str | None = None
    urn: str = ""
    message: str = ""


class Look(_Told):
    """What `rowhouse preview --refresh --json` said of one cell."""

    cell: Slug
    code: Annotated[int, Field(ge=0, le=255)]
    """Its exit code."""
    changes: tuple[_Change, ...] = ()
    failures: tuple[_Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong in some cells, on some objects."""

    id: str
    """Sixteen hexadecimal digits, the same as long as it is the same thing."""
    what: str
    """For people, of our own words and names of properties."""
    cells: tuple[str, ...]
    objects: tuple[str, ...]
    """`cell: tenant: name`, sorted."""
    example: str = ""
    """Values of the first of them."""


def looked(cell: str, exit_code: int, document: Mapping[str, Any] | None) -> Look:
    """A look as it is handed from the job that looks to the one that tells; without a document nothing was seen."""
    said = document if document is not None else {}
    return Look.model_validate({"cell": cell, "code": exit_code, "changes": said.get("changes", ()), "failures": said.get("failures", ())})


def written(look: Look) -> str:
    """A look as a file. In ASCII: a vendor's text may hold what UTF-8 cannot (half of a surrogate pair), which is then read as `?`."""
    return json.dumps(_encodable(look.model_dump()))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    return [_encodable(each) for each in value] if isinstance(value, (list, tuple)) else value


def causes_of(looks: Iterable[Look], pending: frozenset[str] = frozenset()) -> dict[str, Cause]:
    """The causes behind what was seen, by id.

    Args: pending: tenants in a merged change that is not applied whole; that they are not as the files say is no drift.

    A cause is a kind of object, what is wrong with it and which of its properties: an image that was changed by hand on nine thousand
    machines is one. A cell that could not be looked at, whole or in part, is a cause of its own.
    """
    groups: dict[tuple[str, ...], list[tuple[str, str, str]]] = {}
    for look in looks:
        for change in (change for change in look.changes if change.tenant not in pending):
            paths = sorted({row.path for row in change.diff}) if change.op in {"update", "replace"} else []
            known = (change.op, change.type, *paths)
            groups.setdefault(known, []).append((look.cell, _object(look.cell, change.tenant, change.name), _values(change)))
        for failure in look.failures:
            where = failure.urn.rsplit("::", 1)[-1]
            groups.setdefault((_UNSEEN, "failure"), []).append((look.cell, _object(look.cell, failure.tenant, where), failure.message))
        if _is_blind(look):
            groups.setdefault((_UNSEEN, "cell"), []).append((look.cell, look.cell, f"the preview ended with exit code {look.code}"))
    return {cause.id: cause for cause in (_cause(known, found) for known, found in groups.items())}


def blind_cells(looks: Iterable[Look]) -> frozenset[str]:
    """Cells of which not everything was seen; no issue is closed for what is not found in them."""
    return frozenset(look.cell for look in looks if look.failures or _is_blind(look))


def _is_blind(look: Look) -> bool:
    return look.code != 0 and not look.failures


def _cause(known: tuple[str, ...], found: Sequence[tuple[str, str, str]]) -> Cause:
    digest = hashlib.sha256("\0".join(known).encode("utf-8", "replace")).hexdigest()[:16]
    rows = sorted(found)
    op, kind, *paths = known
    if op == _UNSEEN:
        what = "cells could not be looked at" if kind == "cell" else "objects could not be looked at"
    else:
        short = kind.rsplit(":", 1)[-1]
        what = f"{short} {_SAID.get(op, op)}" + (f" in {', '.join(paths)}" if paths else "")
    return Cause(digest, what, tuple(sorted({cell for cell, _, _ in rows})), tuple(name for _, name, _ in rows), rows[0][2])


def _object(cell: str, tenant: str | None, name: str) -> str:
    return ": ".join(part for part in (cell, tenant or "", name) if part)


def _values(change: _Change) -> str:
    rows = (f"{row.path}: {_short(row.before)} at the vendor, {_short(row.after)} in the files" for row in change.diff[:10])
    return "; ".join(rows)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _VALUE_MAX else f"{text[:_VALUE_MAX]}..."


def issue_title(cause: Cause) -> str:
    """One line, without anything that Markdown or a notification would take up."""
    shown = "".join(
        char if char.isascii() and char.isprintable() and char not in "`<>@#[]*_|\\" else " " for char in f"Drift: {cause.what}"
    )
    return " ".join(shown.split())[:_TITLE_MAX]


def issue_body(cause: Cause, marker: str) -> str:
    """The issue's text: the same as long as the same objects have it, so that an unchanged one is not edited."""
    lines = [marker, f"{code(cause.what)}: {len(cause.objects)} in {len(cause.cells)} cell{'' if len(cause.cells) == 1 else 's'}.", ""]
    lines += [f"- {code(name[:_NAME_MAX])}" for name in cause.objects[:_NAMED]]
    if len(cause.objects) > _NAMED:
        lines.append(f"- and {len(cause.objects) - _NAMED} more")
    if cause.example:
        lines += ["", f"The first of them: {code(cause.example[:2000])}"]
    lines += ["", _ADVICE]
    return bounded("\n".join(lines), _BODY_MAX, "cut: too long for an issue.")
