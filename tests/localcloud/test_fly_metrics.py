import asyncio
from pathlib import Path

from tests.localcloud.fly_support import Account, account


async def ask(it: Account, query: str) -> list[tuple[dict[str, str], str]]:
    answer = await it.http.get(f"http://fly/prometheus/local/api/v1/query?query={query.replace(' ', '%20')}")
    assert answer.status_code == 200, answer.text
    return [(row["metric"], row["value"][1]) for row in answer.json()["data"]["result"]]


def test_prometheus_tells_a_volumes_size_and_use_from_its_real_folder(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume(size_gb=2)
            folder = it.fly.runtime.volume_path(volume["id"]) / "deep"
            folder.mkdir(parents=True)
            (folder / "notes").write_bytes(b"x" * 1_000_000)
            (metric, size), *others = await ask(it, "fly_volume_size_bytes")
            assert (metric["app"], metric["id"], size, others) == ("acme", volume["id"], str(2 * 1024**3), [])
            ((_, percent),) = await ask(it, 'fly_volume_used_pct{app="acme"}')
            assert abs(float(percent) - 100 * 1_000_000 / (2 * 1024**3)) < 1e-9
            assert await ask(it, 'fly_volume_used_pct{app="other"}') == []
            ((by, used),) = await ask(it, "sum by (app) (fly_volume_size_bytes * fly_volume_used_pct / 100)")
            assert by == {"app": "acme"}
            assert abs(float(used) - 1_000_000) < 0.01
            await it.http.delete(f"/apps/acme/volumes/{volume['id']}")
            assert await ask(it, "fly_volume_size_bytes") == []

    asyncio.run(body())
