"""The whole state of a stack as Pulumi's deployment document, version 3.

Does: write it atomically, read it, put resources in an order in which everything precedes what stands on it (Pulumi verifies that on
import). Does not: know how it came about; see `journal` for what happened since.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

from rowhouse.engine.errors import StateError
from rowhouse.engine.journal import sync_folder
from rowhouse.engine.state import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rowhouse.engine.state import State

VERSION: Final = "v3.260.0"
"""The Pulumi version whose form this is (2026-11)."""


def manifest() -> dict[str, str]:
    """The head of a deployment; `magic` is a hash of the version, which Pulumi checks."""
    return {"time": now(), "magic": hashlib.sha256(VERSION.encode()).hexdigest(), "version": VERSION}


def document(resources: list[dict[str, Any]], pending: list[dict[str, Any]], salt: str | None) -> dict[str, Any]:
    """The document of `pulumi stack export`."""
    deployment: dict[str, Any] = {"manifest": manifest()}
    if salt is not None:
        deployment["secrets_providers"] = {"type": "passphrase", "state": {"salt": salt}}
    if resources:
        deployment["resources"] = resources
    if pending:
        deployment["pending_operations"] = pending
    deployment["metadata"] = {}
    return {"version": 3, "deployment": deployment}


def read(path: Path) -> dict[str, Any]:
    """A document from disk; an empty one when there is none. Raises: StateError."""
    try:
        loaded = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {"version": 3, "serial": 0, "deployment": {"manifest": {}}}
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StateError(f"{path} is not JSON ({error}); restore it from a copy") from error
    check(loaded, str(path))
    assert isinstance(loaded, dict)
    return loaded


def check(loaded: Any, where: str) -> None:
    """Refuse what is not a deployment this engine can work on. Raises: StateError."""
    if not isinstance(loaded, dict) or not isinstance(loaded.get("deployment"), dict):
        raise StateError(f"{where} is not a deployment; expected the document of `pulumi stack export`")
    if loaded.get("version") != 3:
        raise StateError(f"{where} has deployment version {loaded.get('version')}; this engine reads version 3")
    secrets = loaded["deployment"].get("secrets_providers") or {}
    if secrets.get("type", "passphrase") not in {"passphrase", ""}:
        raise StateError(
            f"{where} keeps its secrets with {secrets['type']}; this engine reads passphrase secrets: "
            "`pulumi stack change-secrets-provider passphrase` changes it"
        )


def write(path: Path, parts: dict[str, Any], resources: Iterable[dict[str, Any]]) -> int:
    """Write a document atomically and durably, resources one by one, so that memory stays small. Returns the number of bytes."""
    temporary = path.with_suffix(".tmp")
    head = json.dumps(parts, ensure_ascii=False)
    assert head.endswith("}}")
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        size = file.write(head[:-2].encode())
        lead = b', "resources": [\n'
        for resource in resources:
            size += file.write(lead + json.dumps(resource, ensure_ascii=False).encode())
            lead = b",\n"
        size += file.write(b"]}}\n" if lead == b",\n" else b"}}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
    return size


def ordered(states: Iterable[State]) -> Iterator[State]:
    """The states so that each comes after everything it stands on; otherwise in the given order."""
    states = list(states)
    live = {state.urn: index for index, state in enumerate(states) if not state.delete}
    done = [False] * len(states)
    for start in range(len(states)):
        stack = [(start, iter(states[start].needs()))] if not done[start] else []
        done[start] = True
        while stack:
            index, needs = stack[-1]
            below = next((found for urn in needs if (found := live.get(urn)) is not None and not done[found]), None)
            if below is None:
                stack.pop()
                yield states[index]
            else:
                done[below] = True
                stack.append((below, iter(states[below].needs())))
