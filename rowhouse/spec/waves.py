"""In which order tenants take a new image: the canaries, then a growing share of the others.

Does: put tenants into waves, always the same ones for the same image. Does not: know machines, or whether a wave is well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from rowhouse.spec.guardrails import Rollout

__all__ = ["waves_of"]


def waves_of(images: Mapping[str, str], asleep: Iterable[str], rollout: Rollout) -> list[tuple[str, ...]]:
    """Tenants by wave, none twice, no wave empty.

    A share is one of all tenants that get a new image and are no canaries, at least one of them. Who is first is drawn by the image's
    digest, so that it is somebody else each time and the same when the rollout goes on after it was interrupted. Those asleep come last:
    they show nothing of how the image does.

    Args: images: tenant to the image that it gets. asleep: of those, whose machines do not run.
    """
    resting = set(asleep) & images.keys()
    canaries = [tenant for tenant in dict.fromkeys(rollout.canary) if tenant in images and tenant not in resting]
    others = sorted(images.keys() - set(canaries) - resting, key=lambda tenant: _drawn(tenant, images[tenant]))
    waves = [tuple(canaries)]
    taken = 0
    for percent in rollout.waves_percent:
        upto = len(others) if percent == 100 else min(len(others), max(taken + 1, -(-len(others) * percent // 100)))
        waves.append(tuple(others[taken:upto]))
        taken = upto
    waves = [wave for wave in waves if wave]
    if resting:
        last = waves.pop() if waves else ()
        waves.append((*last, *sorted(resting)))
    return waves


def _drawn(tenant: str, image: str) -> bytes:
    return hashlib.sha256(f"{image}\n{tenant}".encode()).digest()
