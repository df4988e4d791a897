"""What each host sells: regions, sizes, volumes. Vendor facts with their dates; a change at a vendor is a change here.

Does: say whether a size or region exists and what to pick instead. Does not: ask a vendor about capacity or quotas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rowhouse.spec.problem import did_you_mean, listed
from rowhouse.spec.slug import show

__all__ = ["DEFAULT_REGION", "MAX_SUSPEND_MEMORY_MB", "MAX_VOLUME_GB", "REGIONS", "why_not_region", "why_not_size", "why_not_volume"]

REGIONS: Final[Mapping[str, tuple[str, ...]]] = {
    # Fly's region codes as published with its SDKs. Some have been closed since: the vendor says so at the create; an unknown one is a
    # typing error.
    "fly": (
        "ams",
        "arn",
        "atl",
        "bog",
        "bom",
        "bos",
        "cdg",
        "den",
        "dfw",
        "ewr",
        "eze",
        "fra",
        "gdl",
        "gig",
        "gru",
        "hkg",
        "iad",
        "jnb",
        "lax",
        "lhr",
        "mad",
        "mia",
        "nrt",
        "ord",
        "otp",
        "phx",
        "qro",
        "scl",
        "sea",
        "sin",
        "sjc",
        "syd",
        "waw",
        "yul",
        "yyz",
    ),
    # Railway, 2026-08; `us-west1` is obsolete.
    "railway": ("asia-southeast1-eqsg3a", "europe-west4-drams3a", "us-east4-eqdc4a", "us-west2"),
    # A Docker host has no regions; the word stands where one is shown.
    "docker": ("local",),
}
DEFAULT_REGION: Final[Mapping[str, str]] = {"fly": "fra", "railway": "europe-west4-drams3a", "docker": "local"}

# Fly, 2026-08: volumes at most 500 GB. Railway: 50 GB by default. Docker: the disk's own size; this bound only catches slips.
MAX_VOLUME_GB: Final[Mapping[str, int]] = {"fly": 500, "railway": 50, "docker": 1024}

# Fly, 2026-08: suspend needs at most 2 GB of memory.
MAX_SUSPEND_MEMORY_MB: Final = 2048

# Fly, 2026-08: processors sold, least and most memory in MB for each of them.
_FLY_GUESTS: Final[Mapping[str, tuple[tuple[int, ...], int, int]]] = {
    "shared": ((1, 2, 4, 6, 8), 256, 2048),
    "performance": ((1, 2, 4, 6, 8, 10, 12, 14, 16), 2048, 8192),
}
_MEMORY_STEP_MB: Final = 256


def why_not_region(host: str, region: str) -> str:
    """What is wrong with a region and what to pick; the empty text when the host has it."""
    regions = REGIONS[host]
    if region in regions:
        return ""
    return f"{host} has no region {show(region)}. {did_you_mean(region, regions)}Regions: {listed(regions)}. Pick one."


def why_not_size(host: str, cpu_kind: str, cpus: int, memory_mb: int) -> str:
    """What is wrong with processors and memory and what to pick; the empty text when the host sells the size."""
    if memory_mb % _MEMORY_STEP_MB:
        down = memory_mb // _MEMORY_STEP_MB * _MEMORY_STEP_MB
        near = f"{down} or {down + _MEMORY_STEP_MB}" if down else str(_MEMORY_STEP_MB)
        return f"{memory_mb} MB of memory is not a multiple of {_MEMORY_STEP_MB}. Pick {near}."
    if host != "fly":
        return ""
    counts, least, most = _FLY_GUESTS[cpu_kind]
    if cpus not in counts:
        return f"Fly sells no {cpu_kind} machine with {cpus} processors. Allowed: {', '.join(map(str, counts))}. Pick one."
    if not least * cpus <= memory_mb <= most * cpus:
        return (
            f"{memory_mb} MB does not go with {cpus} {cpu_kind} processor{'s' if cpus > 1 else ''} on Fly. "
            f"Allowed: {least * cpus} to {most * cpus} MB. Change memory_mb or cpus."
        )
    return ""


def why_not_volume(host: str, volume_gb: int) -> str:
    """What is wrong with a volume's size; the empty text when the host sells it."""
    most = MAX_VOLUME_GB[host]
    if volume_gb <= most:
        return ""
    return f"{volume_gb} GB is larger than a volume on {host} can be. Allowed: 1 to {most} GB. Make it smaller."
