"""Provider resources and the plugin process behind each.

Does: default providers by package and version, explicit ones, loading a provider again from the state for a refresh or a deletion, one
process each, all stopped at the end. Does not: talk to the program.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowhouse.engine import plugins, urns
from rowhouse.engine.errors import ProviderError
from rowhouse.engine.goals import Goal
from rowhouse.engine.properties import UNKNOWN_TEXT, bare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rowhouse.engine.client import ProviderClient
    from rowhouse.engine.config import Config
    from rowhouse.engine.plugins import Plugin
    from rowhouse.engine.project import Project
    from rowhouse.engine.state import State


def reference(state: State) -> str:
    """How other resources name a provider resource: `<urn>::<id>`."""
    return f"{state.urn}::{state.id or UNKNOWN_TEXT}"


def default_name(version: str) -> str:
    """The name of a package's default provider: `default`, or `default_6_23_1` for a version."""
    return "_".join(["default", *re.split(r"[.+-]", version.removeprefix("v"))]) if version else "default"


@dataclass(frozen=True)
class Where:
    """What every plugin start needs."""

    project: Project
    stack: str
    config: Config
    env: Mapping[str, str]


class Providers:
    """The providers of one run."""

    def __init__(self, where: Where, register: Callable[[Goal], Awaitable[State]], find_old: Callable[[str], State | None]) -> None:
        """`register` takes a provider's goal through planning and returns its state; `find_old` finds a provider in the state by URN."""
        self._where = where
        self._register = register
        self._find_old = find_old
        self.engine_address = ""
        self._running: dict[str, Plugin] = {}
        self._defaults: dict[str, asyncio.Task[str]] = {}
        self._loading: dict[str, asyncio.Task[Plugin]] = {}
        self._all: list[Plugin] = []
        self._warm: dict[tuple[str, str], list[asyncio.Task[Plugin]]] = {}

    async def default(self, package: str, version: str) -> str:
        """The reference of a package's default provider, made when first asked for. Raises: PluginError, ProviderError."""
        name = default_name(version)
        key = f"{package}:{name}"
        if key not in self._defaults:
            inputs = self._where.config.of_package(package)
            if version:
                inputs.update({"__internal": {}, "version": version.removeprefix("v")})
            goal = Goal(type=urns.PROVIDER_PREFIX + package, name=name, custom=True, parent="", inputs=inputs, version=version)
            self._defaults[key] = asyncio.ensure_future(self._make_default(goal))
        return await asyncio.shield(self._defaults[key])

    async def _make_default(self, goal: Goal) -> str:
        return reference(await self._register(goal))

    def warm(self, package: str, version: str) -> None:
        """Start a plugin that will most likely be needed, while the program starts; an error shows when it is asked for."""
        self._warm.setdefault((package, version), []).append(asyncio.ensure_future(self._launch(package, version)))

    async def start(self, package: str, version: str) -> Plugin:
        """A process of a package's plugin that nobody else uses; it ends with the run. Raises: PluginError."""
        started = self._warm.get((package, version))
        return await (started.pop(0) if started else self._launch(package, version))

    async def _launch(self, package: str, version: str) -> Plugin:
        plugin = await plugins.start(package, version, self._where.project, self.engine_address, self._env(package))
        self._all.append(plugin)
        return plugin

    def _env(self, package: str) -> dict[str, str]:
        where = self._where
        return {
            **where.env,
            "PULUMI_PROJECT": where.project.name,
            "PULUMI_RUNTIME_STACK": where.stack,
            "PULUMI_CONFIG": json.dumps({f"{package}:{key}": bare(value) for key, value in where.config.of_package(package).items()}),
        }

    def ready(self, ref: str, plugin: Plugin) -> None:
        """Note that a provider is configured and serves what refers to it."""
        self._running[ref] = plugin

    async def client(self, ref: str) -> ProviderClient:
        """The provider of a reference; one that the program did not register is started again from the state.

        Raises: ProviderError, PluginError.
        """
        return (await self._plugin(ref)).client

    async def is_builtin(self, ref: str) -> bool:
        """Whether the engine itself serves this provider."""
        return (await self._plugin(ref)).builtin

    async def _plugin(self, ref: str) -> Plugin:
        running = self._running.get(ref)
        if running is not None:
            return running
        if ref not in self._loading:
            self._loading[ref] = asyncio.ensure_future(self._load(ref))
        return await asyncio.shield(self._loading[ref])

    async def _load(self, ref: str) -> Plugin:
        urn = ref.rpartition("::")[0]
        old = self._find_old(urn)
        if old is None:
            raise ProviderError(f"the provider {urn} is neither in the program nor in the state")
        plugin = await self.start(urns.package_of(old.type), str(old.inputs.get("version", "")))
        await plugin.client.configure(urn, old.id, old.inputs)
        self.ready(ref, plugin)
        return plugin

    async def cancel(self) -> None:
        """Ask all providers to stop what they are doing."""
        await asyncio.gather(*(plugin.client.cancel(1.0) for plugin in self._all))

    async def stop(self) -> None:
        """End all plugin processes."""
        for task in (*self._defaults.values(), *self._loading.values()):
            if not task.done():
                task.cancel()
        unused = [task for tasks in self._warm.values() for task in tasks]
        await asyncio.gather(*self._defaults.values(), *self._loading.values(), *unused, return_exceptions=True)
        await asyncio.gather(*(plugin.stop() for plugin in self._all), return_exceptions=True)

    @property
    def pids(self) -> list[int]:
        """Process ids of the plugins."""
        return [plugin.pid for plugin in self._all if plugin.pid is not None]


def new_provider_id(*, dry_run: bool) -> str:
    """The id of a new provider resource: random, unknown in a preview."""
    return UNKNOWN_TEXT if dry_run else str(uuid.uuid4())
