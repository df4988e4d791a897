"""A preview of a stack that does not exist yet, without making it.

The CLI previews only against a stack, so it gets an empty one, in a backend of its own that is removed afterwards. Neither the real backend
nor the selected stack nor `stacks/`, where the CLI would write a salt, changes: looking is not doing.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from rowhouse.cli.pulumi_command import run_pulumi
from rowhouse.cli.surroundings import EnvironmentProblemError

__all__ = ["blank_stack"]


@contextlib.asynccontextmanager
async def blank_stack(root: Path, project: str, stack: str, env: Mapping[str, str]) -> AsyncIterator[tuple[dict[str, str], list[str]]]:
    """The environment and the further arguments with which the CLI sees an empty stack of that name, with the real one's configuration.

    Raises: EnvironmentProblemError with the CLI's words.
    """
    with tempfile.TemporaryDirectory(prefix="rowhouse-preview-") as name:
        folder = Path(name)
        (folder / "backend").mkdir()
        (folder / "Pulumi.yaml").write_text(f"name: {json.dumps(project)}\nruntime: python\n")
        made = {**env, "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}"}
        settings = root / "stacks" / f"Pulumi.{stack}.yaml"
        config = settings.read_text(encoding="utf-8") if settings.is_file() else ""
        if "encryptionsalt:" not in config:
            # A stack at Pulumi Cloud needs no passphrase; this one does, and keeps nothing that is worth another.
            made = {"PULUMI_CONFIG_PASSPHRASE": "preview", **made} if "PULUMI_CONFIG_PASSPHRASE_FILE" not in made else made
        ended = await run_pulumi(folder, made, "stack", "init", stack, "--no-select")
        if ended.code:
            raise EnvironmentProblemError(f"pulumi stack init {stack}, for a preview: {ended.error}")
        copy = folder / "settings.yaml"
        copy.write_text(config, encoding="utf-8")
        yield made, ["--config-file", str(copy)]
