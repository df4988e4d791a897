"""A copy of the project's files to play with, so that the demo never touches the clone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

__all__ = ["COPIED", "edit", "make_workspace"]

COPIED = ("Pulumi.yaml", "stacks", "components", "policies", "tenants", "plans", "apps")


def make_workspace(root: Path, folder: Path) -> Path:
    """Copy what a project is made of into an empty `folder`; the package itself is linked."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    (folder / "rowhouse").symlink_to(root / "rowhouse")
    return folder


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Change one place of a file, as a person would in an editor.

    Raises: ValueError when the place is not there exactly once.
    """
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{path.name}: {pattern!r} stands there {count} times, not once")
    path.write_text(text, encoding="utf-8")
