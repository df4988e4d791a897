"""A small project on a local cloud of its own, driven by the real `rowhouse` command in a process that can be killed.

Instances and the edge are tiny programs here: these tests judge what the vendors were asked and what they keep, not the gateway
(tests/edge and the demo do). The stand-ins run inside the test, so it sees their stores directly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rowhouse.engine import Nursery
from rowhouse.localcloud.cloud import LocalCloud
from rowhouse.localcloud.images import Image

ROOT = Path(__file__).resolve().parents[2]
RUN_S = 90.0

# Answers every request with 200: enough for a health check. -I -S keeps its start below 50 ms.
_APP = """
import os, socketserver, http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT") or os.environ["ROWHOUSE_GATEWAY_PORT"])), H).serve_forever()
"""
IMAGES = tuple(Image(name, (sys.executable, "-I", "-S", "-c", _APP), "app", uses_site=False) for name in ("notebook", "edge"))

CATALOG = """
title: Shop
demo: true
app: notebook
size: {cpus: 1, memory_mb: 256, volume_gb: 1}
meters:
  running_hours: {kind: running_hours, unit: hour, rounding: minute}
plans:
  free: {title: Free, price: "0.00"}
  paid:
    title: Paid
    price: "30.00"
    meters:
      running_hours: {included: 20, beyond: bill, price: "5.00"}
    limits: {instances: 2, memory_mb: 1024, volume_gb: 5}
"""
TENANTS = {
    "acme": "owner: {name: Acme Ltd, email: ops@acme.example}\nplan: shop/paid\n",
    "fern": "owner: {email: fern@okafor.example}\nplan: shop/free\n",
}


@dataclass
class Ran:
    """A finished run of the command."""

    code: int
    document: dict[str, Any]
    stderr: str
    stdout: str = ""

    @property
    def ops(self) -> dict[str, int]:
        """Changes by operation, components left out."""
        counts: dict[str, int] = {}
        for change in self.document.get("changes", []):
            if not change["type"].startswith(("rowhouse:index:", "pulumi:")):
                counts[change["op"]] = counts.get(change["op"], 0) + 1
        return counts

    def failed(self) -> str:
        """Everything that went wrong, for an assertion's text."""
        return f"exit {self.code}: {self.document.get('failures')} {self.stderr}"


@dataclass
class World:
    """The project, its vendors, and the command."""

    folder: Path
    cloud: LocalCloud
    nursery: Nursery
    engine: str = "embedded"
    extra_env: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        """The project's root."""
        return self.folder / "project"

    @property
    def env(self) -> dict[str, str]:
        """The environment of the command."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV") if name in os.environ}
        engine = {"ROWHOUSE_NURSERY": self.nursery.socket} if self.engine == "embedded" else pulumi_env(self.folder, kept.get("PATH", ""))
        return {**kept, **self.cloud.env, **engine, **self.extra_env}

    async def start(self, *args: str) -> asyncio.subprocess.Process:
        """Start `rowhouse ARGS --json` and give its process."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "rowhouse.cli",
            *args,
            "--engine",
            self.engine,
            "--json",
            cwd=self.project,
            env=self.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *args: str) -> Ran:
        """Run the command to its end."""
        return await finished(await self.start(*args))

    async def up(self) -> Ran:
        """Apply."""
        return await self.run("up", "--yes")

    async def preview(self) -> Ran:
        """Look."""
        return await self.run("preview")

    async def destroy(self) -> Ran:
        """Delete everything, data too."""
        return await self.run("destroy", "--yes", "--delete-data")

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        target = self.project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text), encoding="utf-8")

    def add_policies(self) -> None:
        """Give the project the policies that are shipped."""
        shutil.copytree(ROOT / "policies", self.project / "policies", ignore=shutil.ignore_patterns("__pycache__"))

    def replace(self, path: str, old: str, new: str) -> None:
        """Change a text that stands once in a file of the project."""
        text = (self.project / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} holds {text.count(old)} times {old!r}"
        (self.project / path).write_text(text.replace(old, new), encoding="utf-8")

    def routes(self) -> dict[str, Any]:
        """The routes in the object store, by hostname."""
        store = Path(self.cloud.env["ROWHOUSE_STORE_URL"].removeprefix("file://"))
        return {path.stem: json.loads(path.read_text()) for path in sorted((store / "routes").glob("*.json"))} if store.exists() else {}

    def kept(self) -> dict[str, Any]:
        """What the vendors keep, with their ids replaced by names: two worlds with the same history are equal here."""
        return normal(self.cloud.dump(), self.routes())


def pulumi_env(folder: Path, path: str) -> dict[str, str]:
    """The environment of the real CLI: all its own files below `folder`, nothing asked of a network."""
    return {
        "PATH": f"{folder / 'bin'}:{path}",
        "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "correct horse",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_DISABLE_REGISTRY_RESOLVE": "true",
    }


def fit_for_pulumi(folder: Path, project: Path) -> None:
    """What the CLI finds on a user's machine: the virtual environment beside Pulumi.yaml, and a Cloudflare plugin."""
    (folder / "backend").mkdir()
    (project / ".venv").symlink_to(sys.prefix)
    # The published plugin is a download; ours speaks the same protocol and asks the same of Cloudflare.
    shim = folder / "bin" / "pulumi-resource-cloudflare"
    shim.parent.mkdir()
    shim.write_text(
        f"#!/bin/sh\nROWHOUSE_PLUGIN_PARENT=$PPID\nPYTHONPATH='{ROOT}'\nexport ROWHOUSE_PLUGIN_PARENT PYTHONPATH\n"
        f"exec '{sys.executable}' -P -m rowhouse.engine.builtin.cloudflare \"$@\"\n"
    )
    shim.chmod(0o755)


async def finished(process: asyncio.subprocess.Process) -> Ran:
    """Wait for a started command."""
    async with asyncio.timeout(RUN_S):
        out, err = await process.communicate()
    document: Any = {}
    with contextlib.suppress(ValueError):
        document = json.loads(out)
    return Ran(process.returncode or 0, document if isinstance(document, dict) else {"list": document}, err.decode(), out.decode())


@contextlib.asynccontextmanager
async def world(folder: Path, nursery: Nursery, **options: Any) -> AsyncIterator[World]:
    """A fresh project with two tenants and fresh vendors."""
    made = await _opened(folder, nursery, options)
    async with made.cloud:
        yield made


async def _opened(folder: Path, nursery: Nursery, options: dict[str, Any]) -> World:
    project = folder / "project"
    project.mkdir(parents=True)
    for name in ("Pulumi.yaml",):
        shutil.copy2(ROOT / name, project / name)
    for name in ("stacks", "components"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "rowhouse").symlink_to(ROOT / "rowhouse")
    images = (*IMAGES, *options.pop("images", ()))
    made = World(folder, LocalCloud(folder / "cloud", images=images, limits=False), nursery, **options)
    if made.engine == "pulumi":
        fit_for_pulumi(folder, project)
    made.write("plans/shop.yaml", CATALOG)
    shutil.copytree(ROOT / "apps", project / "apps", ignore=lambda _, names: [name for name in names if name != "notebook.yaml"])
    for tenant, text in TENANTS.items():
        made.write(f"tenants/{tenant}.yaml", text)
    return made


def normal(dump: dict[str, Any], routes: dict[str, Any]) -> dict[str, Any]:
    """The vendors' stores by the names that we gave, without ids and times."""
    fly, cloudflare, stripe = dump["fly"], dump["cloudflare"], dump["stripe"]
    tunnels = {tunnel["id"]: tunnel["name"] for tunnel in cloudflare["tunnels"] if not tunnel.get("deleted_at")}
    policies = {policy["id"]: policy["name"] for policy in cloudflare["access_policies"]}
    customers = {customer["id"]: customer for customer in stripe["customer"]}
    prices = {price["id"]: price["lookup_key"] for price in stripe["price"] if price["active"]}
    auds = {app["aud"]: app["name"] for app in cloudflare["access_apps"]}

    def named(text: str) -> str:
        for tunnel, name in tunnels.items():
            text = text.replace(tunnel, f"<{name}>")
        return text

    return {
        "apps": {
            name: {
                "network": app.get("network"),
                "ips": sorted((ip["type"], ip.get("network") or "") for ip in app["ips"]),
                "secrets": sorted(app["secrets"]),
                "volumes": sorted((volume["name"], volume["size_gb"], volume["region"]) for volume in app["volumes"].values()),
                "machines": sorted(
                    (machine["name"], machine["state"], machine["region"], json.dumps(machine["config"]["guest"], sort_keys=True))
                    for machine in app["machines"].values()
                ),
            }
            for name, app in sorted(fly["apps"].items())
        },
        "tunnels": sorted(tunnels.values()),
        "policies": sorted((policy["name"], json.dumps(policy["include"], sort_keys=True)) for policy in cloudflare["access_policies"]),
        "applications": sorted(
            (app["name"], app["domain"], tuple(policies.get(policy["id"], "?") for policy in app["policies"]))
            for app in cloudflare["access_apps"]
        ),
        "records": sorted(
            (record["name"], record["type"], named(record["content"]), record["comment"]) for record in cloudflare["dns_records"]
        ),
        "customers": sorted((c["email"], c["name"], c["metadata"].get("tenant")) for c in customers.values() if not c.get("deleted")),
        "products": sorted((product["id"], product["active"]) for product in stripe["product"] if product["active"]),
        "prices": sorted(
            (price["lookup_key"] or "", price["product"], price["unit_amount_decimal"]) for price in stripe["price"] if price["active"]
        ),
        "meters": sorted((meter["event_name"], meter["status"]) for meter in stripe["billing.meter"] if meter["status"] == "active"),
        "subscriptions": sorted(
            (
                customers[subscription["customer"]]["metadata"].get("tenant"),
                subscription["status"],
                tuple(sorted(prices.get(item["price"]["id"], "?") for item in subscription["items"]["data"])),
            )
            for subscription in stripe["subscription"]
            if subscription["status"] not in {"canceled", "incomplete_expired"}
        ),
        "routes": {
            host: {**route, "audience": auds.get(route["audience"], "?"), "upstream": "<address>"} for host, route in sorted(routes.items())
        },
    }
