"""What a command runs against: the project's folder, the vendors that the environment names, the engine.

Everything that must be right before anything starts is checked here, and said in one error.
"""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from rowhouse.errors import RowhouseError

__all__ = ["BASE_URLS", "TOKENS", "EngineName", "EnvironmentProblemError", "Surroundings", "find_root", "is_loopback", "surroundings"]

EngineName = Literal["auto", "pulumi", "embedded"]

TOKENS = {
    "FLY_API_TOKEN": "an organisation token of Fly (`fly tokens create org`)",
    "CLOUDFLARE_API_TOKEN": "an API token of Cloudflare with DNS, Access and Tunnel rights",
    "STRIPE_API_KEY": "a secret or restricted key of Stripe",
}
BASE_URLS = ("FLY_FLAPS_BASE_URL", "CLOUDFLARE_BASE_URL", "ROWHOUSE_STRIPE_BASE_URL")


class EnvironmentProblemError(RowhouseError):
    """The project or the environment is not fit for the command; nothing was started."""


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


def is_loopback(url: str) -> bool:
    """Whether a base address points at this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _vendors(env: Mapping[str, str]) -> Literal["loopback", "real"]:
    local = [name for name in BASE_URLS if env.get(name) and is_loopback(env[name])]
    if not local:
        return "real"
    real = [name for name in BASE_URLS if name not in local]
    if real:
        raise EnvironmentProblemError(
            f"environment: {', '.join(local)} point at this machine, but {', '.join(real)} do not, "
            "so one run would change both real and local vendors. Set all three (as `rowhouse localcloud` prints them) or none."
        )
    return "loopback"


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


def surroundings(start: Path, env: Mapping[str, str], *, engine: EngineName = "auto") -> Surroundings:
    """Check what every command that talks to vendors needs.

    Raises: EnvironmentProblemError naming everything that is missing, before anything is started.
    """
    root = find_root(start)
    vendors = _vendors(env)
    missing = [name for name in TOKENS if not env.get(name, "").strip()]
    if missing:
        lines = "\n".join(f"  {name}: {TOKENS[name]}" for name in missing)
        raise EnvironmentProblemError(
            f"environment: {len(missing)} credential{'s are' if len(missing) > 1 else ' is'} missing; nothing was started.\n{lines}\n"
            "Export them and run the command again. Without accounts: `make demo`, or `rowhouse localcloud` for stand-ins on this machine."
        )
    return Surroundings(root=root, vendors=vendors, engine=_engine(engine, vendors, env), env=env)
