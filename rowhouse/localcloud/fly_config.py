"""What Fly makes of a machine's configuration: defaults, dropped fields, refusals.

Not here: whether image and volume exist. Source: Fly's Machines API (2026-08).
"""

from __future__ import annotations

import re
from typing import Any

from rowhouse.localcloud.fly_errors import Refusal

__all__ = ["REGIONS", "duration_s", "normalise", "pick_region", "service_checks"]

_PORT = dict.fromkeys(("port", "start_port", "end_port", "handlers", "force_https", "http_options", "proxy_proto_options", "tls_options"))
_CHECK = dict.fromkeys(
    (
        *("grace_period", "headers", "interval", "kind", "method", "path", "port", "protocol"),
        *("timeout", "tls_server_name", "tls_skip_verify", "type"),
    )
)
_SERVICE: dict[str, Any] = dict.fromkeys(
    (
        *("autostart", "autostop", "concurrency", "force_instance_description", "force_instance_key", "internal_port"),
        *("min_machines_running", "protocol"),
    )
) | {"ports": [_PORT], "checks": [_CHECK]}
# Known fields: None keeps any value, a dict is an object of such fields, a list holds objects of them.
_CONFIG: dict[str, Any] = dict.fromkeys(
    (
        *("auto_destroy", "cache_drive", "containers", "disable_machine_autostart", "dns", "env", "files", "image"),
        *("metadata", "metrics", "processes", "rootfs", "schedule", "size", "standbys", "statics", "checks"),
    )
) | {
    "guest": dict.fromkeys(
        (
            *("cpu_kind", "cpus", "gpu_kind", "gpus", "host_dedication_id", "kernel_args", "max_memory_mb"),
            *("memory_mb", "persist_rootfs"),
        )
    ),
    "init": dict.fromkeys(("cmd", "entrypoint", "exec", "kernel_args", "swap_size_mb", "tty")),
    "mounts": [
        dict.fromkeys(
            ("add_size_gb", "encrypted", "extend_threshold_percent", "name", "path", "size_gb", "size_gb_limit", "volume"),
        )
    ],
    "restart": dict.fromkeys(("policy", "max_retries", "spot")),
    "services": [_SERVICE],
    "stop_config": dict.fromkeys(("signal", "timeout")),
}

_CPUS = {"shared": (1, 2, 4, 6, 8), "performance": (1, 2, 4, 6, 8, 10, 12, 14, 16)}
_MB_PER_CPU = {"shared": (256, 2048), "performance": (2048, 8192)}
_SIGNALS = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM")

# code -> (name, geographic group)
REGIONS: dict[str, tuple[str, str]] = {
    "ams": ("Amsterdam, Netherlands", "eu"),
    "arn": ("Stockholm, Sweden", "eu"),
    "bom": ("Mumbai, India", "apac"),
    "cdg": ("Paris, France", "eu"),
    "dfw": ("Dallas, Texas (US)", "us"),
    "ewr": ("Secaucus, NJ (US)", "us"),
    "fra": ("Frankfurt, Germany", "eu"),
    "gru": ("Sao Paulo, Brazil", "sa"),
    "iad": ("Ashburn, Virginia (US)", "us"),
    "jnb": ("Johannesburg, South Africa", "af"),
    "lax": ("Los Angeles, California (US)", "us"),
    "lhr": ("London, United Kingdom", "eu"),
    "nrt": ("Tokyo, Japan", "apac"),
    "ord": ("Chicago, Illinois (US)", "us"),
    "sin": ("Singapore, Singapore", "apac"),
    "sjc": ("San Jose, California (US)", "us"),
    "syd": ("Sydney, Australia", "apac"),
    "yyz": ("Toronto, Canada", "na"),
}


def pick_region(wanted: str | None) -> str:
    """The region a machine is placed in: a code, a list of codes and groups, `any` or nothing.

    Raises: Refusal when none of the words is a region.
    """
    for word in (wanted or "any").split(","):
        if word in REGIONS:
            return word
        if word == "any":
            return "iad"
        for code, (_, group) in REGIONS.items():
            if word == group or (word == "na" and group == "us"):
                return code
    raise Refusal(400, f"invalid region: {wanted}")


def duration_s(text: Any, default: float) -> float:
    """Seconds of a Go duration (`1m30s`) or of a number; `default` when absent.

    Raises: Refusal when it is neither.
    """
    if text in (None, ""):
        return default
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return float(text) / 1e9 if text > 1e6 else float(text)  # Go marshals durations as nanoseconds
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", str(text))
    if "".join(number + unit for number, unit in parts) == str(text) and parts:
        return sum(float(number) * units[unit] for number, unit in parts)
    if re.fullmatch(r"\d+", str(text)):
        return float(text)
    raise Refusal(400, f'time: invalid duration "{text}"')


def _keep(value: Any, known: Any, where: str) -> Any:
    if known is None or value is None:
        return value
    if isinstance(known, list):
        if not isinstance(value, list):
            raise Refusal(400, f"json: cannot unmarshal {_kind(value)} into Go struct field {where} of type array")
        return [_keep(item, known[0], where) for item in value]
    if not isinstance(value, dict):
        raise Refusal(400, f"json: cannot unmarshal {_kind(value)} into Go struct field {where} of type object")
    return {key: _keep(item, known[key], f"{where}.{key}") for key, item in value.items() if key in known}


def _kind(value: Any) -> str:
    return {bool: "bool", str: "string", list: "array", dict: "object"}.get(type(value), "number")


def _typed(holder: dict[str, Any], key: str, kind: type, where: str) -> None:
    value = holder.get(key)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        go = {bool: "bool", int: "int", str: "string"}[kind]
        raise Refusal(400, f"json: cannot unmarshal {_kind(value)} into Go struct field {where}.{key} of type {go}")


def normalise(raw: Any) -> dict[str, Any]:
    """The configuration as Fly keeps it.

    Raises: Refusal for what Fly would not take.
    """
    if not isinstance(raw, dict) or not raw.get("image"):
        raise Refusal(400, "invalid config.image: image is required")
    if raw.get("size") and raw.get("guest"):
        raise Refusal(400, "invalid config: size and guest are mutually exclusive")
    config: dict[str, Any] = _keep(raw, _CONFIG, "MachineConfig")
    config = {key: value for key, value in config.items() if value is not None}
    _typed(config, "auto_destroy", bool, "MachineConfig")
    config["guest"] = _guest(config.get("guest") or {}, config.get("size"))
    _strings(config, "env")
    _strings(config, "metadata")
    config.setdefault("dns", {})
    config.setdefault("init", {})
    config.setdefault("restart", {"policy": "on-failure", "max_retries": 10})
    if config["restart"].get("policy") not in {"no", "always", "on-failure", "spot-price", None}:
        raise Refusal(400, f"invalid config.restart.policy: {config['restart']['policy']}")
    for service in config.get("services", []):
        _service(service)
    for name, check in (config.get("checks") or {}).items():
        _check(check, f"checks.{name}")
    stop = config.get("stop_config") or {}
    if stop.get("signal") not in {None, *_SIGNALS}:
        raise Refusal(400, f"invalid config.stop_config.signal: {stop['signal']}")
    duration_s(stop.get("timeout"), 5)
    mounts = config.get("mounts") or []
    if len(mounts) > 1:
        raise Refusal(400, "invalid config.mounts: only one volume per machine is supported")
    if config.get("schedule") not in {None, "hourly", "daily", "weekly", "monthly"}:
        raise Refusal(400, f"invalid config.schedule: {config['schedule']}")
    return config


def _strings(config: dict[str, Any], key: str) -> None:
    values = config.get(key)
    if values is None:
        return
    for name, value in values.items():
        if not isinstance(value, str):
            raise Refusal(400, f"json: cannot unmarshal {_kind(value)} into Go struct field MachineConfig.{key}.{name} of type string")


def _guest(guest: dict[str, Any], size: str | None) -> dict[str, Any]:
    if size:
        parts = re.fullmatch(r"(shared|performance)(?:-cpu)?-(\d+)x", size)
        if not parts:
            raise Refusal(400, f"invalid config.size: {size}")
        guest = {"cpu_kind": parts[1], "cpus": int(parts[2])}
    _typed(guest, "cpus", int, "MachineGuest")
    _typed(guest, "memory_mb", int, "MachineGuest")
    kind = guest.get("cpu_kind") or "shared"
    if kind not in _CPUS:
        raise Refusal(400, f"invalid config.guest.cpu_kind: {kind}")
    cpus = guest.get("cpus") or 1
    if cpus not in _CPUS[kind]:
        raise Refusal(400, f"invalid config.guest.cpus: {cpus} is not a valid number of CPUs for {kind}")
    low, high = (mb * cpus for mb in _MB_PER_CPU[kind])
    memory = guest.get("memory_mb") or low
    if memory % 256:
        raise Refusal(400, f"invalid config.guest.memory_mb: {memory} must be a multiple of 256")
    if not low <= memory <= high:
        raise Refusal(400, f"invalid config.guest.memory_mb: {memory} must be between {low} and {high}")
    return guest | {"cpu_kind": kind, "cpus": cpus, "memory_mb": memory}


def _service(service: dict[str, Any]) -> None:
    _typed(service, "autostart", bool, "MachineService")
    _typed(service, "internal_port", int, "MachineService")
    _typed(service, "min_machines_running", int, "MachineService")
    autostop = service.get("autostop")
    # Answers keep the older booleans for "off" and "stop" (API reference, 2026-08).
    if autostop not in (None, "off", "stop", "suspend", True, False):
        raise Refusal(400, f"invalid config.services.autostop: {autostop}")
    if autostop is not None:
        service["autostop"] = {"off": False, "stop": True}.get(autostop, autostop)
    for port in service.get("ports") or []:
        _typed(port, "port", int, "MachinePort")
    for check in service.get("checks") or []:
        _check(check, "services.checks")


def _check(check: Any, where: str) -> None:
    if not isinstance(check, dict) or check.get("type") not in {"http", "tcp"}:
        raise Refusal(400, f"invalid config.{where}: type must be http or tcp")
    for key in ("interval", "timeout", "grace_period"):
        duration_s(check.get(key), 1)


def service_checks(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every check of a configuration by the name under which a machine shows it."""
    found = {name: dict(check) for name, check in (config.get("checks") or {}).items()}
    for service in config.get("services") or []:
        for index, check in enumerate(service.get("checks") or []):
            port = check.get("port") or service.get("internal_port")
            found[f"servicecheck-{index:02d}-{check['type']}-{port}"] = dict(check) | {"port": port}
    return found
