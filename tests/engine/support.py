"""Small Pulumi projects in a temporary folder, run on the embedded engine or on the CLI."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rowhouse import engine

SDK = """
import pulumi


class Thing(pulumi.CustomResource):
    thing_id: pulumi.Output[str]
    token: pulumi.Output[str]

    def __init__(self, name, opts=None, value=None, key=None, slot=None, size=None, tags=None, secret=None, needs=None):
        props = {"value": value, "key": key, "slot": slot, "size": size, "tags": tags, "secret": secret, "needs": needs}
        props = {name: item for name, item in props.items() if item is not None}
        super().__init__("memory:index:Thing", name, {**props, "thing_id": None, "token": None}, opts)

    def translate_output_property(self, prop):
        return {"thingId": "thing_id"}.get(prop, prop)

    def translate_input_property(self, prop):
        return {"thing_id": "thingId"}.get(prop, prop)


class Group(pulumi.ComponentResource):
    def __init__(self, name, opts=None, kind="test:index:Group"):
        super().__init__(kind, name, {}, opts)


class Memory(pulumi.ProviderResource):
    def __init__(self, name, opts=None, **config):
        super().__init__("memory", name, config, opts)
"""

PREAMBLE = """
import os, pulumi
from sdk import Group, Memory, Thing
from pulumi import Alias, CustomTimeouts, Output, ResourceOptions as O
"""


@dataclass
class Cloud:
    """The memory provider's folder."""

    folder: Path

    def fault(self, **faults: str) -> None:
        """`create__web="fail"`; none clears."""
        (self.folder).mkdir(exist_ok=True)
        (self.folder / "faults.json").write_text(json.dumps({key.replace("__", "/"): kind for key, kind in faults.items()}))

    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def verbs(self) -> list[str]:
        return [f"{call['verb']} {call['name']}" for call in self.calls()]

    def forget_calls(self) -> None:
        (self.folder / "calls.jsonl").unlink(missing_ok=True)

    def objects(self) -> dict[str, dict[str, Any]]:
        return {path.stem: json.loads(path.read_text())["inputs"] for path in sorted((self.folder / "objects").glob("*.json"))}

    def change(self, key: str, **inputs: Any) -> None:
        path = self.folder / "objects" / f"{key}.json"
        document = json.loads(path.read_text())
        document["inputs"].update(inputs)
        path.write_text(json.dumps(document))

    def lose(self, key: str) -> None:
        (self.folder / "objects" / f"{key}.json").unlink()


@dataclass
class Sandbox:
    """One project with its own cloud and state."""

    root: Path
    env: dict[str, str]
    events: list[engine.Event] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.root / "cloud")

    @property
    def project(self) -> engine.Project:
        return engine.load_project(self.root)

    def program(self, text: str) -> None:
        (self.root / "program" / "__main__.py").write_text(PREAMBLE + textwrap.dedent(text))

    def options(self, **more: Any) -> engine.Options:
        return engine.Options(**{"env": self.env, "adopting": frozenset({"memory"}), **more})

    def up(self, program: str | None = None, **options: Any) -> engine.Result:
        return self._do(engine.up, program, options)

    def preview(self, program: str | None = None, **options: Any) -> engine.Result:
        return self._do(engine.preview, program, options)

    def refresh(self, **options: Any) -> engine.Result:
        return self._do(engine.refresh, None, options)

    def destroy(self, **options: Any) -> engine.Result:
        return self._do(engine.destroy, None, options)

    def _do(self, verb: Callable[..., Any], program: str | None, options: dict[str, Any]) -> engine.Result:
        if program is not None:
            self.program(program)
        self.events.clear()
        result: engine.Result = asyncio.run(verb(self.project, "dev", self.options(**options), self.events.append))
        return result

    def export(self) -> dict[str, Any]:
        return engine.export_stack(self.project, "dev", self.options())

    def resources(self) -> dict[str, dict[str, Any]]:
        """Live resources by name."""
        found = self.export()["deployment"].get("resources", [])
        return {resource["urn"].rsplit("::", 1)[-1]: resource for resource in found if not resource.get("delete")}

    def state_text(self) -> str:
        folder = self.root / ".rowhouse" / "state" / "box" / "dev"
        return "".join(path.read_text() for path in sorted(folder.iterdir()) if path.is_file())

    # -- the real CLI -------------------------------------------------------------------------------------------------------------------

    def cli(self, *arguments: str, check: bool = True, program: str | None = None) -> subprocess.CompletedProcess[str]:
        if program is not None:
            self.program(program)
        done = subprocess.run(["pulumi", *arguments], cwd=self.root, env=self.env, text=True, capture_output=True, timeout=120, check=False)
        if check and done.returncode:
            raise AssertionError(f"pulumi {' '.join(arguments)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def cli_init(self) -> None:
        self.cli("stack", "init", "organization/box/dev")

    def cli_export(self) -> dict[str, Any]:
        exported: dict[str, Any] = json.loads(self.cli("stack", "export", "--stack", "organization/box/dev").stdout)
        return exported


def sandbox(root: Path, **env: str) -> Sandbox:
    """A fresh project `box` with the memory plugin."""
    (root / "program").mkdir(parents=True)
    (root / "plugin").mkdir()
    (root / "home").mkdir()
    (root / "backend").mkdir()
    (root / "program" / "sdk.py").write_text(SDK)
    (root / "program" / "__main__.py").write_text(PREAMBLE)
    (root / "Pulumi.yaml").write_text(
        "name: box\n"
        f"runtime: {{name: python, options: {{toolchain: pip, virtualenv: {sys.prefix}}}}}\n"
        "main: program\n"
        "plugins: {providers: [{name: memory, path: plugin}]}\n"
    )
    shim = root / "plugin" / "pulumi-resource-memory"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("memory_plugin.py")}" "$@"\n')
    shim.chmod(0o755)
    inherited = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV"}}
    return Sandbox(
        root,
        {
            **inherited,
            "MEMORY_CLOUD": str(root / "cloud"),
            "PULUMI_CONFIG_PASSPHRASE": "correct horse",
            "PULUMI_HOME": str(root / "home"),
            "PULUMI_BACKEND_URL": f"file://{root}/backend",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DISABLE_REGISTRY_RESOLVE": "true",
            "PYTHONWARNINGS": "ignore",
            "PYTHONDONTWRITEBYTECODE": "1",  # programs change within a second without changing their size
            **env,
        },
    )


def has_cli() -> bool:
    return shutil.which("pulumi") is not None
