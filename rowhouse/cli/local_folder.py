"""The folder of a local cloud: one process at a time, the variables that lead to it, the ports that it takes again.

Does: say who runs here, keep `env` there exactly while somebody does (a killed one leaves it; the next start replaces it). Does not: start
or end anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rowhouse.errors import RowhouseError

if TYPE_CHECKING:
    from rowhouse.engine.locks import Holder

__all__ = ["DEFAULT", "LocalCloudRunsError", "LocalFolder"]

DEFAULT: Final = Path(".rowhouse/localcloud")
"""Where a project's local cloud lives, from its root."""


class LocalCloudRunsError(RowhouseError):
    """Another local cloud runs in this folder."""


class LocalFolder:
    """Where one local cloud keeps its files."""

    def __init__(self, path: Path) -> None:
        """Nothing is made before the first use."""
        self.path = path.resolve()
        self.env_file = self.path / "env"
        self._ports_file = self.path / "ports.json"
        self._lock = self.path / "lock"

    @property
    def load(self) -> str:
        """What a person types in a shell to load the variables, from the working directory."""
        return f". {shlex.quote(os.path.relpath(self.env_file))}"

    def holder(self) -> Holder | None:
        """The process whose local cloud runs here; None when nobody's does."""
        from rowhouse.engine.errors import Locked
        from rowhouse.engine.locks import StackLock, read_holder

        if not self._lock.is_file():
            return None
        try:
            with StackLock(self._lock):
                return None
        except Locked:
            return read_holder(self._lock)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the one who runs here; the variables go with the block.

        Raises: LocalCloudRunsError, naming who runs here; RowhouseError where no file can be written.
        """
        from rowhouse.engine.errors import Locked, StateError
        from rowhouse.engine.locks import StackLock, read_holder

        try:
            with StackLock(self._lock, "rowhouse localcloud"):
                try:
                    yield
                finally:
                    self.forget()
        except Locked:
            holder = read_holder(self._lock)
            who, end = (f"process {holder.pid}", f"`kill {holder.pid}`") if holder else ("another process", "Ctrl-C there")
            where = os.path.relpath(self.path)
            raise LocalCloudRunsError(
                f"A local cloud runs in {where} already: {who}. Use it (`{self.load}`), or end it first with {end}."
            ) from None
        except StateError as error:
            raise RowhouseError(f"{error}. Choose a folder with --dir.") from error

    def ports(self) -> dict[str, int]:
        """The ports of the last time, by name: variables loaded in another terminal then still hold. Empty when there was none."""
        try:
            return {str(name): int(port) for name, port in json.loads(self._ports_file.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def remember(self, env: Mapping[str, str], ports: Mapping[str, int]) -> None:
        """Write the variables, for this user alone, and the ports."""
        self._ports_file.write_text(json.dumps(dict(ports)))
        temporary = self.env_file.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(env.items())))
        temporary.replace(self.env_file)

    def forget(self) -> None:
        """Take the variables away: they lead nowhere any more."""
        self.env_file.unlink(missing_ok=True)
