"""Runs `rowhouse quote` as a user does, in this process."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from rowhouse.cli.app import app
from tests.usage.rating_support import ROOT


@dataclass(frozen=True)
class Answer:
    """What the command said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.out)


class Quoter:
    """The command, in the project's root, with files of use in a scratch folder."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        monkeypatch.chdir(ROOT)

    def __call__(self, plan: str, use: Any, *options: str, period: str = "2026-11") -> Answer:
        """With --json. A path is the file, text and bytes are what is in it; anything else is written as JSON."""
        return self.told(plan, use, "--json", *options, period=period)

    def told(self, plan: str, use: Any, *options: str, period: str = "2026-11") -> Answer:
        """The same as people read it."""
        file = use if isinstance(use, Path) else self.folder / "use.json"
        if isinstance(use, str | bytes):
            file.write_bytes(use if isinstance(use, bytes) else use.encode())
        elif not isinstance(use, Path):
            file.write_text(json.dumps(use))
        ran = CliRunner().invoke(app, ["quote", plan, "--period", period, "--usage", str(file), *options])
        assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
        return Answer(ran.exit_code, ran.stdout, ran.stderr)
