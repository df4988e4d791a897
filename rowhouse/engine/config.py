"""Pulumi.<stack>.yaml: what the program reads as its configuration.

Does: plain, structured and encrypted values, names without a project prefix. Does not: write; `pulumi config set` or an editor does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from rowhouse.engine.errors import ProjectError, Unsupported
from rowhouse.wire.values import Secret

if TYPE_CHECKING:
    from rowhouse.engine.project import Project
    from rowhouse.engine.secrets import SecretsManager


_MOST = 1 << 22
"""Characters of a stack file with its aliases written out."""


@dataclass(frozen=True)
class StackFile:
    """A stack file before its secrets are opened."""

    values: dict[str, Any] = field(default_factory=dict)
    salt: str | None = None


@dataclass(frozen=True)
class Config:
    """A stack's configuration: every value is text, structured ones as JSON."""

    values: dict[str, str] = field(default_factory=dict, repr=False)
    secret_keys: tuple[str, ...] = ()

    def of_package(self, package: str) -> dict[str, Any]:
        """The inputs of a package's default provider: its namespace without the prefix, secrets marked."""
        prefix = f"{package}:"
        return {
            key.removeprefix(prefix): Secret(value) if key in self.secret_keys else value
            for key, value in self.values.items()
            if key.startswith(prefix)
        }


def read_stack_file(project: Project, stack: str) -> StackFile:
    """The stack's file; an absent one is empty. Raises: ProjectError, Unsupported for secrets providers other than the passphrase."""
    path = project.config_dir / f"Pulumi.{stack}.yaml"
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return StackFile()
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ProjectError(f"{path} cannot be read: {error}") from error
    if not isinstance(loaded, dict) or not isinstance(loaded.get("config") or {}, dict):
        raise ProjectError(f"{path}: expected keys such as 'config', and below it names with values")
    if _is_larger(loaded, _MOST):
        raise ProjectError(f"{path}: its aliases (`*name`) make it more than {_MOST:,} characters. Write the values out.")
    provider = loaded.get("secretsprovider", "passphrase")
    if provider not in ("passphrase", "default", ""):  # it may be anything, also what no set can hold
        raise Unsupported(f"the secrets provider '{provider}' of {path.name}")
    return StackFile(loaded.get("config") or {}, loaded.get("encryptionsalt"))


def _is_larger(value: Any, most: int) -> bool:
    """Whether a value comes to more than so many characters when each of its aliases is written out; looked at no further than that."""
    left = [value]
    while left and most >= 0:
        item = left.pop()
        most -= 1 + (len(item) if isinstance(item, (str, bytes, dict, list)) else 0)
        left += [*item.keys(), *item.values()] if isinstance(item, dict) else item if isinstance(item, list) else ()
    return most < 0


def resolve(project: Project, stack_file: StackFile, secrets: SecretsManager | None) -> Config:
    """The configuration with secrets opened and the project's defaults filled in; without a manager secrets stay closed, as `[secret]`.

    Raises: PassphraseError.
    """
    values: dict[str, str] = {}
    hidden: list[str] = []
    for raw_key, default in project.defaults.items():
        if isinstance(default, dict):
            value = default.get("value", default.get("default"))
            if value is not None:
                values[_full(project, raw_key)] = _text(value)
        elif default is not None:
            values[_full(project, raw_key)] = _text(default)
    for raw_key, value in stack_file.values.items():
        key = _full(project, str(raw_key))
        opened, secret = _open(value, secrets)
        values[key] = _text(opened)
        if secret:
            hidden.append(key)
    return Config(values, tuple(hidden))


def _full(project: Project, key: str) -> str:
    return key if ":" in key else f"{project.name}:{key}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), default=str)  # a date is its text, as it is where it stands alone
    return str(value)


def _open(value: Any, secrets: SecretsManager | None) -> tuple[Any, bool]:
    if isinstance(value, dict):
        if value.keys() == {"secure"} and isinstance(value["secure"], str):
            return "[secret]" if secrets is None else secrets.decrypt(value["secure"], "config"), True
        opened = {key: _open(item, secrets) for key, item in value.items()}
        return {key: item for key, (item, _) in opened.items()}, any(hidden for _, hidden in opened.values())
    if isinstance(value, list):
        items = [_open(item, secrets) for item in value]
        return [item for item, _ in items], any(hidden for _, hidden in items)
    return value, False
