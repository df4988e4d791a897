"""What a command runs against: the project's folder, the vendors that the environment names, the engine.

Everything that must be right before anything starts is checked here, and said in one error.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from rowhouse.cli.local_folder import DEFAULT, LocalFolder
from rowhouse.errors import RowhouseError
from rowhouse.spec.accounts import BASE_URLS, TOKENS, is_loopback, missing_tokens, vendors_in

__all__ = [
    "EngineName",
    "EnvironmentProblemError",
    "MissingTokensError",
    "StackBusyError",
    "Surroundings",
    "find_root",
    "ready",
    "surroundings",
    "vendors_named",
]

EngineName = Literal["auto", "pulumi", "embedded"]
_KNOCK_S: Final = 1.0
"""How long a listener on this machine may take to accept; an absent one refuses at once."""


class EnvironmentProblemError(RowhouseError):
    """The project or the environment is not fit for the command; nothing was started."""


class MissingTokensError(EnvironmentProblemError):
    """Credentials that every command needs are not in the environment."""


class StackBusyError(EnvironmentProblemError):
    """Another run changes the same stack; the text says which."""


@dataclass(frozen=True)
class Surroundings:
    """Where a command runs and whom it talks to."""

    root: Path
    vendors: Literal["loopback", "real"]
    engine: Literal["pulumi", "embedded"]
    env: Mapping[str, str]


def find_root(start: Path) -> Path:
    """The nearest folder from `start` upwards that holds Pulumi.yaml.

    Raises: EnvironmentProblemError when there is none.
    """
    for folder in (start, *start.parents):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    raise EnvironmentProblemError(
        f"{start}: no Rowhouse project here: no Pulumi.yaml in this folder or above it. Change into your clone and run the command again."
    )


def vendors_named(env: Mapping[str, str]) -> Literal["loopback", "real"]:
    """Which vendors the environment leads to.

    Raises: EnvironmentProblemError for an address that is none, and for a mix of local and real ones.
    """
    wrong = [name for name in BASE_URLS if env.get(name) and not _is_address(env[name])]
    if wrong:
        raise EnvironmentProblemError(
            f"environment: {wrong[0]} is no address such as http://127.0.0.1:8080 or https://api.example.com. Correct it or unset it."
        )
    found = vendors_in(env)
    if found == "mixed":
        local = [name for name in BASE_URLS if env.get(name) and is_loopback(env[name])]
        real = [name for name in BASE_URLS if name not in local]
        raise EnvironmentProblemError(
            f"environment: {', '.join(local)} point at this machine, but {', '.join(real)} do not, "
            "so one run would change both real and local vendors. Set all three (as `rowhouse localcloud` prints them) or none."
        )
    return found


def _engine(wanted: EngineName, vendors: Literal["loopback", "real"], env: Mapping[str, str]) -> Literal["pulumi", "embedded"]:
    present = shutil.which("pulumi", path=env.get("PATH", "")) is not None
    if wanted == "pulumi" and not present:
        raise EnvironmentProblemError("--engine pulumi: no `pulumi` on PATH. Install the Pulumi CLI, or choose --engine embedded.")
    if wanted == "auto":
        if present:
            return "pulumi"
        if vendors == "real":
            raise EnvironmentProblemError(
                "engine: no `pulumi` on PATH, and against real vendors the embedded engine is never chosen silently. "
                "Install the Pulumi CLI, or say --engine embedded."
            )
        return "embedded"
    return wanted


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is none
        return False


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)), timeout=_KNOCK_S).close()
    except OSError:
        return False
    return True


def _refuse_stopped(root: Path, env: Mapping[str, str]) -> None:
    """Say at once that the local cloud does not run: each request would be repeated for seconds before it failed."""
    silent = next((env[name] for name in BASE_URLS if not _answers(env[name])), "")
    if not silent:
        return
    folder = LocalFolder(root / DEFAULT)
    if holder := folder.holder():
        raise EnvironmentProblemError(
            f"The local cloud of these variables is not running (nothing answers at {silent}), but process {holder.pid} runs another one; "
            f"load its variables: `{folder.load}`."
        )
    raise EnvironmentProblemError(
        f"The local cloud is not running (nothing answers at {silent}); start it with `rowhouse localcloud` in another terminal."
    )


def _without_accounts(root: Path) -> str:
    folder = LocalFolder(root / DEFAULT)
    if holder := folder.holder():
        return f"Without accounts: a local cloud runs here (process {holder.pid}), load its variables with `{folder.load}`."
    return "Without accounts: `make demo`, or `rowhouse localcloud` for stand-ins on this machine."


def surroundings(start: Path, env: Mapping[str, str], *, engine: EngineName = "auto") -> Surroundings:
    """Check what every command that applies needs: see `ready`, and an engine.

    Raises: EnvironmentProblemError naming everything that is missing, before anything is started.
    """
    try:
        root, vendors = ready(start, env)
    except MissingTokensError as error:
        try:
            _engine(engine, vendors_named(env), env)
        except EnvironmentProblemError as other:
            raise MissingTokensError(f"{error}\n{other}") from None
        raise
    return Surroundings(root=root, vendors=vendors, engine=_engine(engine, vendors, env), env=env)


def ready(start: Path, env: Mapping[str, str]) -> tuple[Path, Literal["loopback", "real"]]:
    """The project's folder, and which vendors the environment names, once they can be talked to.

    Raises: EnvironmentProblemError naming everything that is missing.
    """
    root = find_root(start)
    vendors = vendors_named(env)
    missing = missing_tokens(env)
    if missing:
        lines = "\n".join(f"  {name}: {TOKENS[name]}" for name in missing)
        raise MissingTokensError(
            f"environment: {len(missing)} credential{'s are' if len(missing) > 1 else ' is'} missing; nothing was started.\n{lines}\n"
            f"Export them and run the command again. {_without_accounts(root)}"
        )
    if vendors == "loopback":
        _refuse_stopped(root, env)
    return root, vendors
