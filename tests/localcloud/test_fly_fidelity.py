"""Answers of the stand-in against Fly's own published schemas; skipped where the recorded facts are absent."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.localcloud.fly_support import NOTEBOOK, Account, account

SPEC = Path(__file__).parents[3] / "shared" / "reference" / "fly-machines-openapi.json"
pytestmark = [pytest.mark.fidelity, pytest.mark.skipif(not SPEC.exists(), reason="no recorded vendor facts here")]

# Fields that Fly's newer specification has beside those of the recorded one (2026-08).
NEWER = {
    "Machine": {"version", "cordoned", "lease"},
    "IPAssignment": {"network", "egress"},
}


def without_nulls(value: Any) -> Any:
    # The recorded schemas never say which fields may be null; Fly sends null for many that are absent.
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


class Book:
    """The recorded specification."""

    def __init__(self) -> None:
        self.spec = json.loads(SPEC.read_text())
        self.schemas = self.spec["components"]["schemas"]
        self.paths = {path: set(verbs) for path, verbs in self.spec["paths"].items()}

    def check(self, value: Any, name: str) -> None:
        """Value has the shape of the named schema, and no field that neither specification knows."""
        schema = {"$ref": f"#/components/schemas/{name}", "components": self.spec["components"]}
        jsonschema.Draft7Validator(schema).validate(without_nulls(value))
        unknown = set(value) - set(self.schemas[name].get("properties", {})) - NEWER.get(name, set())
        assert unknown == set(), f"{name} has no {unknown}"


async def inhabited(it: Account) -> dict[str, Any]:
    await it.app()
    await it.http.post("/apps/acme/secrets", json={"values": {"A": "1"}})
    volume = await it.volume()
    check = {"type": "http", "port": 8080, "path": "/healthz", "interval": "10s", "timeout": "1s"}
    service = {
        "internal_port": 8080,
        "protocol": "tcp",
        "autostart": True,
        "autostop": "suspend",
        "ports": [{"port": 80, "handlers": ["http"]}],
    }
    config = {
        "image": NOTEBOOK,
        "env": {"DATA_DIR": "/data"},
        "mounts": [{"volume": volume["id"], "path": "/data"}],
        "services": [service],
        "checks": {"up": check},
        "metadata": {"managed-by": "rowhouse"},
    }
    return await it.started(config=config)


READS = {
    "/apps": "ListAppsResponse",
    "/apps/acme": "App",
    "/apps/acme/ip_assignments": "listIPAssignmentsResponse",
    "/apps/acme/secrets": "AppSecrets",
    "/apps/acme/secrets/A": "AppSecret",
    "/apps/acme/certificates": "listCertificatesResponse",
    "/apps/acme/certificates/acme.example.com": "CertificateDetail",
    "/apps/acme/volumes": "Volume",
    "/apps/acme/volumes/{volume}": "Volume",
    "/apps/acme/volumes/{volume}/snapshots": "VolumeSnapshot",
    "/apps/acme/machines": "Machine",
    "/apps/acme/machines/{id}": "Machine",
    "/apps/acme/machines/{id}/events": "MachineEvent",
    "/apps/acme/machines/{id}/versions": "MachineVersion",
    "/apps/acme/machines/{id}/ps": "ProcessStat",
    "/apps/acme/machines/{id}/wait?state=started": "WaitMachineResponse",
    "/orgs/local/machines": "OrgMachinesResponse",
    "/orgs/local/volumes": "OrgVolumesResponse",
    "/platform/regions": "main.regionResponse",
    "/tokens/current": "CurrentTokenResponse",
}


def test_every_read_has_the_published_shape(tmp_path: Path) -> None:
    async def body() -> None:
        book = Book()
        async with account(tmp_path) as it:
            machine = await inhabited(it)
            volume = machine["config"]["mounts"][0]["volume"]
            await it.http.post("/apps/acme/ip_assignments", json={"type": "private_v6", "network": "cell"})
            await it.http.post("/apps/acme/certificates/acme", json={"hostname": "acme.example.com"})
            await it.http.post(f"/apps/acme/volumes/{volume}/snapshots")
            for path, name in READS.items():
                answer = await it.http.get(path.format(id=machine["id"], volume=volume))
                assert answer.status_code == 200, path
                rows = answer.json() if isinstance(answer.json(), list) else [answer.json()]
                assert rows, path
                for row in rows:
                    book.check(row, name)

    asyncio.run(body())


def test_every_change_answers_in_the_published_shape(tmp_path: Path) -> None:
    async def body() -> None:
        book = Book()
        async with account(tmp_path) as it:
            machine = await inhabited(it)
            volume = machine["config"]["mounts"][0]["volume"]
            one = f"/apps/acme/machines/{machine['id']}"

            async def sent(method: str, path: str, body: Any = None) -> httpx.Response:
                answer = await it.http.request(method, path, json=body)
                assert answer.is_success, answer.text
                return answer

            book.check((await sent("POST", "/apps/acme/ip_assignments", {"type": "private_v6"})).json(), "IPAssignment")
            book.check((await sent("POST", "/apps/acme/secrets", {"values": {"B": "2"}})).json(), "AppSecretsUpdateResp")
            book.check((await sent("POST", "/apps/acme/secrets/C", {"value": "3"})).json(), "SetAppSecretResponse")
            book.check((await sent("DELETE", "/apps/acme/secrets/C")).json(), "DeleteAppSecretResponse")
            book.check((await sent("PUT", f"/apps/acme/volumes/{volume}", {"snapshot_retention": 7})).json(), "Volume")
            book.check((await sent("PUT", f"/apps/acme/volumes/{volume}/extend", {"size_gb": 2})).json(), "ExtendVolumeResponse")
            book.check((await sent("POST", f"{one}/lease", {"ttl": 1})).json()["data"], "Lease")
            await it.clock.advance(2)
            book.check((await sent("POST", f"{one}/exec", {"command": ["true"]})).json(), "flydv1.ExecResponse")
            book.check((await sent("POST", one, {"config": machine["config"]})).json(), "Machine")
            book.check((await sent("POST", "/platform/placements", {"org_slug": "local"})).json(), "main.getPlacementsResponse")
            book.check((await sent("POST", "/apps/acme/deploy_token", {"expiry": "48h"})).json(), "CreateAppResponse")
            refused = await it.http.post("/apps", json={"name": "acme", "org_slug": "local"})
            book.check({"error": refused.json()["error"]}, "ErrorResponse")

    asyncio.run(body())


def test_every_endpoint_of_ours_is_one_of_fly_s(tmp_path: Path) -> None:
    async def body() -> None:
        book = Book()
        known = {tuple("*" if part.startswith("{") else part for part in path.split("/")): verbs for path, verbs in book.paths.items()}
        async with account(tmp_path) as it:
            for route in it.fly.app.routes:
                path = route.path.removeprefix("/v1")
                if path.startswith("/prometheus"):
                    continue
                shape = tuple("*" if part.startswith("{") else part for part in path.split("/"))
                assert shape in known, path
                assert {verb.lower() for verb in route.methods} - {"head"} <= known[shape], path

    asyncio.run(body())
