"""What a caller may ask of a run."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rowhouse.engine.errors import Unsupported

if TYPE_CHECKING:
    from rowhouse.engine.nursery import Nursery
    from rowhouse.engine.policies import Analyzer
    from rowhouse.engine.report import Plan


@dataclass(frozen=True)
class Options:
    """Options of a run; the defaults suit `rowhouse up`."""

    parallel: int = 32
    """Resources on which providers work at the same time."""
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    """Environment of the program and the plugins; also where the engine looks for passphrases and plugins."""
    continue_on_error: bool = True
    """False: after a first failure nothing new is started."""
    refresh: bool = False
    """Look at every object before comparing."""
    ignore_protect: bool = False
    """Delete protected resources too."""
    review: Callable[[Plan], bool | Awaitable[bool]] | None = field(default=None, repr=False)
    """For `up` and `destroy`: shown the preview, says whether to apply it."""
    nursery: Nursery | None = field(default=None, repr=False)
    """Where programs are started from; None: a new interpreter, or the nursery at ROWHOUSE_NURSERY."""
    adopting: frozenset[str] = frozenset({"rowhouse"})
    """Packages whose create looks for its own earlier attempt first: after a crash, creating again is how a pending create is resolved.
    Providers that the engine serves itself always do."""
    command: str = ""
    """What the lock says this process is doing; default: its command line."""
    offline: bool = False
    """Of a preview: ask nobody anything. Functions have no answer, secrets of the stack file stay closed, and an input that only an object
    could tell is taken to be as it was. For `foresee`."""
    held: Mapping[str, str] = field(default_factory=dict)
    """URNs of resources that stay as they are, with all that belongs to them or stands on them; to the reason, told as a failure."""
    organization: str = "organization"
    """As the CLI's file backend names it."""
    policies: Analyzer | None = field(default=None, repr=False)
    """Who judges resources before a provider is asked, and the whole stack at the end; `up` then looks first and applies nothing that
    breaks a mandatory rule."""
    targets: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    plan: str = ""
    policy_packs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what this engine does not have. Raises: Unsupported."""
        for given, name in (
            (self.targets, "targets"),
            (self.replace, "forced replacement"),
            (self.excludes, "excludes"),
            (self.plan, "saved plans"),
            (self.policy_packs, "policy packs"),
        ):
            if given:
                raise Unsupported(name)
