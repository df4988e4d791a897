"""Gives a process of a test a small review where the house has none yet: which tenants' files differ, read from git.

It has the shape of `rowhouse.review.review` and steps aside as soon as that is there.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import subprocess
import sys
import types
from pathlib import Path

NAME = "rowhouse.review.review"
HERE = Path(__file__).resolve().parent


def git(root, *args):
    return subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=False).stdout


class Review:
    def __init__(self, tenants, cells, blocked):
        self.tenants, self.cells, self.blocked = tenants, cells, blocked

    def markdown(self):
        return f"### {len(self.tenants)} tenants\n\n" + "\n".join(f"- `{tenant}`" for tenant in self.tenants)

    def document(self):
        return {"tenants": list(self.tenants), "cells": list(self.cells), "blocked": list(self.blocked)}


def review_range(root, base, head, *, labels=frozenset()):
    rows = [row.split("\t") for row in git(root, "diff", "--name-status", "--no-renames", base, head, "--", "tenants").splitlines()]
    tenants, cells, blocked = [], set(), []
    for kind, path in rows:
        tenants.append(Path(path).stem)
        for commit in (base, head):
            text = git(root, "show", f"{commit}:{path}")
            if text:
                said = [line.removeprefix("cell:").strip() for line in text.splitlines() if line.startswith("cell:")]
                cells.add(said[0] if said else "main")
        if kind == "D":
            blocked.append(f"tenants/{Path(path).name}: deleted while it is active")
    return Review(tuple(sorted(tenants)), tuple(sorted(cells)), tuple(blocked))


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        if fullname != NAME or any((Path(folder) / "review.py").exists() for folder in path or []):
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec):
        return types.ModuleType(spec.name)

    def exec_module(self, module):
        module.review_range = review_range


sys.meta_path.append(Finder())
