import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from rowhouse.localcloud.cloud import LocalCloud
from rowhouse.localcloud.kernel import Fault

START = datetime(2031, 2, 28, 23, 59, 0, tzinfo=UTC)


def test_every_stand_in_dates_its_answers_by_the_virtual_clock(tmp_path: Path) -> None:
    async def body() -> None:
        async with LocalCloud(tmp_path, start=START) as cloud, httpx.AsyncClient(trust_env=False, timeout=5) as client:
            addresses = [cloud.urls["fly"] + "/v1/orgs/local/machines", cloud.urls["cloudflare"] + "/user/tokens/verify"]
            addresses += [cloud.urls["stripe"] + "/v1/customers", cloud.urls["front"]]
            for advanced in (0, 86_400):
                await cloud.clock.advance(advanced)
                before = cloud.clock.now().replace(microsecond=0)
                for address in addresses:
                    answer = await client.get(address)  # refused for want of a token, where one is wanted: dated all the same
                    assert len(answer.headers.get_list("date")) == 1, address
                    assert before <= parsedate_to_datetime(answer.headers["date"]) <= cloud.clock.now(), address

    asyncio.run(body())


@pytest.mark.parametrize("kind", ["rate_limited", "error_before", "error_after"])
def test_an_answer_that_a_fault_gives_is_dated_too(tmp_path: Path, kind: str) -> None:
    async def body() -> None:
        async with LocalCloud(tmp_path, start=START) as cloud, httpx.AsyncClient(trust_env=False, timeout=5) as client:
            cloud.faults.add(Fault(kind=kind, vendor="fly"))  # type: ignore[arg-type]
            answer = await client.get(cloud.urls["fly"] + "/v1/orgs/local/machines")
            assert answer.status_code in {429, 500}
            assert parsedate_to_datetime(answer.headers["date"]) - START < timedelta(minutes=1)

    asyncio.run(body())
