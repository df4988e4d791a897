"""Pulumi.yaml: what the project is called, where its program, stack files and plugins are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rowhouse.engine.errors import ProjectError, Unsupported


@dataclass(frozen=True)
class Project:
    """A Pulumi project."""

    root: Path
    """Folder of Pulumi.yaml."""
    name: str
    program: str
    """What Python runs, relative to `program_dir`: `.` or a file name."""
    program_dir: Path
    """Working directory of the program and of plugins."""
    config_dir: Path
    """Where Pulumi.<stack>.yaml files are."""
    plugins: dict[str, Path] = field(default_factory=dict)
    """Folders of provider plugins by package."""
    virtualenv: Path | None = None
    """The program's virtual environment, when Pulumi.yaml names one that exists."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """The `config` section: values of every stack that does not set them."""


def load_project(root: Path) -> Project:
    """Read Pulumi.yaml in `root`. Raises: ProjectError naming the key that is wrong; Unsupported for other languages than Python."""
    path = root / "Pulumi.yaml"
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProjectError(f"{path} cannot be read ({error.strerror}); run in a Pulumi project's folder") from error
    except yaml.YAMLError as error:
        raise ProjectError(f"{path} is not YAML: {error}") from error
    if not isinstance(loaded, dict) or not isinstance(loaded.get("name"), str):
        raise ProjectError(f"{path}: 'name' is missing; expected the project's name")
    runtime = loaded.get("runtime")
    options: dict[str, Any] = {}
    if isinstance(runtime, dict):
        options = runtime.get("options") or {}
        runtime = runtime.get("name")
    if runtime != "python":
        raise Unsupported(f"the runtime '{runtime}'")
    root = root.resolve()
    main = root / (loaded.get("main") or ".")
    if main.is_dir():
        program_dir, program = main, "."
    elif main.is_file():
        program_dir, program = main.parent, main.name
    else:
        raise ProjectError(f"{path}: 'main' names {loaded.get('main')}, which does not exist")
    return Project(
        root=root,
        name=loaded["name"],
        program=program,
        program_dir=program_dir.resolve(),
        config_dir=(root / (loaded.get("stackConfigDir") or ".")).resolve(),
        plugins=_plugins(path, root, loaded),
        virtualenv=_virtualenv(root, options),
        defaults=loaded.get("config") or {},
    )


def _plugins(path: Path, root: Path, loaded: dict[str, Any]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for plugin in (loaded.get("plugins") or {}).get("providers") or []:
        if not isinstance(plugin, dict) or "name" not in plugin or "path" not in plugin:
            raise ProjectError(f"{path}: an entry of 'plugins.providers' lacks 'name' or 'path'")
        folder = (root / plugin["path"]).resolve()
        if not folder.is_dir():
            raise ProjectError(f"{path}: the plugin '{plugin['name']}' has the path {plugin['path']}, which is not a folder")
        found[plugin["name"]] = folder
    return found


def _virtualenv(root: Path, options: dict[str, Any]) -> Path | None:
    named = options.get("virtualenv")
    if not named:
        return None
    folder = root / named
    return folder if (folder / "bin" / "python").exists() else None
