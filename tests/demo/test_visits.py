"""What the demo calls refused was refused: the way around the gate opens with a public address, and then the demo fails."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rowhouse.demo.stage import PromiseBrokenError
from rowhouse.demo.visits import _around
from tests.localcloud.test_network import cell


@pytest.mark.parametrize("kind", ["shared_v4", "v6"])
def test_a_public_address_of_an_instance_fails_the_demo(tmp_path: Path, kind: str):
    async def body() -> None:
        async with cell(tmp_path) as (it, network, _edge, _acme):
            stage: Any = SimpleNamespace(urls={"fly_public": f"http://127.0.0.1:{network.port}"})
            assert await _around(stage, "acme") == "refused"
            (await it.http.post("/apps/acme/ip_assignments", json={"type": kind})).raise_for_status()
            with pytest.raises(PromiseBrokenError, match=r"acme\.fly\.dev answers"):
                await _around(stage, "acme")

    asyncio.run(body())
