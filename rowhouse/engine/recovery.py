"""What becomes of operations that an earlier run began and never ended.

Does: show them; make sure that an object which may have been created, and which nobody wants any more, is found and deleted. The rest
resolves itself: a registration of the same resource creates again (and the provider adopts), repeats an update, or looks whether a deletion
took effect. Does not: guess for providers that do not adopt; those are named, and the operation stays pending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowhouse.engine import urns
from rowhouse.engine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Container

    from rowhouse.engine.run import Run
    from rowhouse.engine.steps import Steps


def announce(run: Run) -> None:
    """Say which operations were interrupted."""
    for urn, pending in sorted(run.store.pending.items()):
        run.say("warning", f"an earlier run was interrupted while {pending.kind} '{urns.name_of(urn)}'; this run resolves it", urn)


async def adopt_orphans(run: Run, steps: Steps, wanted: Container[str]) -> None:
    """Create again, so that it is adopted, what was being created and is not wanted; the deletions that follow then remove it."""
    for urn, pending in sorted(run.store.pending.items()):
        if urn in wanted or urn in run.store.resources:
            continue
        if pending.kind != "creating":
            await run.commit(end=[urn])
            continue
        if run.dry_run:
            continue
        state = pending.state
        try:
            adopts = urns.package_of(state.type) in run.options.adopting or await run.providers.is_builtin(state.provider)
            if not adopts:
                run.say(
                    "warning",
                    f"'{urns.name_of(urn)}' may exist: its creation was interrupted and its provider cannot look for it; "
                    "find and remove it by hand",
                    urn,
                )
                continue
            await steps.create(state.copy(id="", outputs={}), await run.providers.client(state.provider))
        except EngineError as error:
            run.fail(urn, str(error))
