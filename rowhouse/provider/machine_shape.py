"""A machine's inputs as Fly's configuration, and Fly's configuration as inputs.

Pure. Does: Fly's normalisation (autostop words become booleans and back, defaults it adds are ignored), overlay on what is there already,
so that keys we do not know survive an update. Does not: talk to Fly.
Source: Machines API reference (2026-08).
"""

from __future__ import annotations

from typing import Any, Final

from rowhouse.wire.fields import Props

__all__ = ["checks_in", "configuration", "covers", "metadata_only", "observed_inputs", "overlay"]

_AUTOSTOP: Final = {"off": False, "stop": True, "suspend": "suspend"}
_AUTOSTOP_BACK: Final = {False: "off", True: "stop", "suspend": "suspend", "off": "off", "stop": "stop"}
_OWNED: Final = ("image", "env", "guest", "mounts", "services", "checks", "restart")
"""Keys of the configuration that are wholly ours; metadata is shared with others."""


def configuration(inputs: Props) -> Props:
    """What Fly is asked for."""
    config: dict[str, Any] = {
        "image": inputs["image"],
        "env": dict(inputs.get("env") or {}),
        "guest": {"cpu_kind": inputs.get("cpuKind", "shared"), "cpus": inputs["cpus"], "memory_mb": inputs["memoryMb"]},
        "services": [_service(service, inputs) for service in inputs.get("services") or []],
        "metadata": dict(inputs.get("metadata") or {}),
    }
    if inputs.get("volume"):
        config["mounts"] = [{"volume": inputs["volume"], "path": inputs["mountPath"]}]
    for name in ("checks", "restart"):
        if inputs.get(name):
            config[name] = inputs[name]
    return config


def _service(service: Props, inputs: Props) -> Props:
    made = dict(service)
    if inputs.get("autostop") is not None:
        made.setdefault("autostop", inputs["autostop"])
    if inputs.get("autostart") is not None:
        made.setdefault("autostart", inputs["autostart"])
    if inputs.get("running") is False:
        made["autostart"] = False  # kept stopped: no request may wake it
    return made


def overlay(there: Props, wanted: Props, dropped_metadata: set[str]) -> Props:
    """The configuration that is there with ours laid over it; keys that we do not know stay as they are."""
    kept = {key: value for key, value in there.items() if key not in _OWNED}
    metadata = {key: value for key, value in (there.get("metadata") or {}).items() if key not in dropped_metadata}
    return {**kept, **wanted, "metadata": {**metadata, **wanted["metadata"]}}


def covers(there: Props, wanted: Props, *, metadata: bool = True) -> bool:
    """Whether what is there is what we want, apart from defaults that Fly added. Variables must be the same exactly."""
    if dict(there.get("env") or {}) != dict(wanted.get("env") or {}):
        return False
    names = (*_OWNED, "metadata") if metadata else _OWNED
    return all(_within(wanted.get(name), there.get(name), name) for name in names)


def metadata_only(there: Props, wanted: Props) -> bool:
    """Whether metadata is all that differs; it can be set without a restart."""
    return covers(there, wanted, metadata=False)


def _within(wanted: Any, there: Any, name: str = "") -> bool:
    if name == "autostop":
        return _AUTOSTOP.get(wanted, wanted) == _AUTOSTOP.get(there, there) if isinstance(wanted, str) else wanted == there
    if isinstance(wanted, dict):
        there = there if isinstance(there, dict) else {}
        return all(_within(value, there.get(key), key) for key, value in wanted.items())
    if isinstance(wanted, list):
        there = there if isinstance(there, list) else []
        return len(wanted) == len(there) and all(_within(a, b) for a, b in zip(wanted, there, strict=True))
    if wanted is None:
        return there in (None, [], {}) or name in {"checks", "restart"}  # Fly adds its own where nothing was said
    return bool(wanted == there)


def observed_inputs(machine: Props, app: str, known: Props) -> Props:
    """The inputs that describe the machine as it is.

    Where the known inputs still describe it, their own spelling is kept, so that only drift shows; on import there are none.
    """
    there: dict[str, Any] = machine.get("config") or machine.get("incomplete_config") or {}
    seen: dict[str, Any] = {"app": app, "name": machine["name"], "region": machine["region"]}
    guest = there.get("guest") or {}
    mount: dict[str, Any] = next(iter(there.get("mounts") or []), {})
    services = list(there.get("services") or [])
    stops = {str(_AUTOSTOP_BACK.get(s["autostop"], s["autostop"])) for s in services if s.get("autostop") is not None}
    starts = {bool(s["autostart"]) for s in services if s.get("autostart") is not None}
    found: dict[str, Any] = {
        "image": there.get("image"),
        "env": there.get("env") or {},
        "cpuKind": guest.get("cpu_kind", "shared"),
        "cpus": guest.get("cpus", 1),
        "memoryMb": guest.get("memory_mb", 256),
        "volume": mount.get("volume"),
        "mountPath": mount.get("path"),
        "checks": there.get("checks"),
        "restart": there.get("restart"),
        "metadata": there.get("metadata") or {},
        "autostop": stops.pop() if len(stops) == 1 else None,
        "autostart": starts.pop() if len(starts) == 1 else None,
    }
    hoisted = {name for name in ("autostop", "autostart") if found[name] is not None}
    found["services"] = [{key: value for key, value in service.items() if key not in hoisted} for service in services]
    if known:
        wanted = configuration({**known, "cpus": known.get("cpus", 1), "memoryMb": known.get("memoryMb", 256)})
        same = {
            "image": _within(wanted["image"], there.get("image")),
            "env": dict(wanted["env"]) == dict(found["env"]),
            "checks": _within(wanted.get("checks"), there.get("checks"), "checks"),
            "restart": _within(wanted.get("restart"), there.get("restart"), "restart"),
            "metadata": _within(wanted["metadata"], there.get("metadata")),
            "services": _within(wanted["services"], services),
        }
        same["autostop"] = same["autostart"] = same["services"]
        for name, is_same in same.items():
            if is_same:
                found[name] = known.get(name)
        found["running"] = _observed_running(machine, known)
        found["minSecretsVersion"] = known.get("minSecretsVersion")
    else:
        found["running"] = not (machine.get("state") == "stopped" and services and found["autostart"] is False)
        if not found["running"]:
            found["autostart"] = None  # it was switched off because the machine is kept stopped
        found["metadata"] = {k: v for k, v in found["metadata"].items() if not k.startswith("fly_")}
    seen.update({name: value for name, value in found.items() if value not in (None, {}, []) or (name in known and known[name] == value)})
    return seen


def _observed_running(machine: Props, known: Props) -> bool:
    # A machine that sleeps is still one that runs on demand; one that was kept stopped and runs all the same has drifted.
    if known.get("running") is False:
        return machine.get("state") in {"started", "starting"}
    return True


def checks_in(inputs: Props) -> int:
    """How many health checks the machine has by its inputs."""
    return len(inputs.get("checks") or {}) + sum(len(service.get("checks") or []) for service in inputs.get("services") or [])
