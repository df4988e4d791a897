import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.cloudflare import CloudflareVendor
from rowhouse.spec.names import access_app_name
from rowhouse.usage.observations import Observations
from rowhouse.usage.observe import observe
from rowhouse.usage.observe_cloudflare import CloudflareSource
from rowhouse.usage.previous import Previous
from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.vendors.store import open_store
from tests.usage.fly_world import no_sleep

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
HOUR_MS = 3_600_000
NAME = access_app_name("shop", "main", "acme", "lab", owner="Acme Ltd", hostname="acme-lab.example.com")
NOW_MS = int(NOW.timestamp() * 1000)


def login(minutes_ago: float, ray: str, **more: Any) -> dict[str, Any]:
    at = (NOW - timedelta(minutes=minutes_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    row = {"user_email": "Ana@acme.example", "app_uid": "u1", "app_domain": "acme.example.com", "app_name": NAME}
    return row | {"action": "login", "allowed": True, "created_at": at, "ray_id": ray} | more


class Log:
    """Cloudflare's log as a function; `limit` is what a page holds, whatever was asked for."""

    def __init__(self, *rows: dict[str, Any], limit: int = 1000) -> None:
        self.rows, self.limit = sorted(rows, key=lambda row: str(row["created_at"])), limit
        self.apps: list[dict[str, Any]] = []
        self.calls: list[httpx.QueryParams] = []
        self.fail_at: int | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        headers = {"date": format_datetime(NOW, usegmt=True)}
        if request.url.path.endswith("/access/apps"):
            return httpx.Response(200, headers=headers, json={"success": True, "result": self.apps, "result_info": {}})
        query = request.url.params
        self.calls.append(query)
        if self.fail_at is not None and len(self.calls) >= self.fail_at:
            return httpx.Response(500, headers=headers)
        rows = [row for row in self.rows if row["created_at"] >= query.get("since", "")]
        first = (int(query.get("page", "1")) - 1) * self.limit
        return httpx.Response(200, headers=headers, json={"success": True, "result": rows[first : first + self.limit]})

    def look(self, tmp_path: Path, previous: Previous | None = None) -> Observations:
        store = open_store(tmp_path.as_uri())

        async def body() -> Observations:
            cloudflare = Cloudflare("token", base_url="http://cf", transport=httpx.MockTransport(self.answer), sleep=no_sleep)
            return await observe(
                [CloudflareSource(cloudflare, store, account="a", project="shop", stack="main")], previous or Previous(), patience_s=20
            )

        return asyncio.run(body())


def test_allowed_logins_of_people_are_entries_without_their_addresses(tmp_path: Path) -> None:
    refused = login(5, "r2", allowed=False)
    service = login(5, "r3", user_email="")
    other = login(5, "r4", app_name="Acme shop:main:acme another:main:acme:lab")
    logout = login(5, "r5", action="logout")
    seen = Log(login(10, "r1"), refused, service, other, logout).look(tmp_path)
    (entry,) = seen.entries["cloudflare"]
    assert (entry.tenant, entry.instance, entry.id, entry.at) == ("acme", "lab", "r1", NOW_MS - 600_000)
    assert "@" not in str(entry)
    assert entry.data is not None
    assert len(entry.data["who"]) == 16
    assert seen.complete
    assert seen.completeness["cloudflare"].asof == NOW_MS - 1000


def test_the_log_is_read_from_the_watermark_on_with_an_hour_of_overlap(tmp_path: Path) -> None:
    log = Log(login(30, "r1"))
    log.look(tmp_path, Previous(logins_to=NOW_MS - HOUR_MS))
    assert log.calls[0]["since"] == "2026-11-20T10:00:00Z"
    assert log.calls[0]["direction"] == "asc"


def test_a_long_log_is_read_to_its_end_whatever_a_page_holds_and_nothing_twice(tmp_path: Path) -> None:
    rows = [login(100 - number / 10, f"r{number:03d}") for number in range(250)]
    log = Log(*rows, limit=40)
    seen = log.look(tmp_path)
    assert sorted(str(entry.id) for entry in seen.entries["cloudflare"]) == [f"r{number:03d}" for number in range(250)]
    assert seen.complete


def test_more_logins_in_one_second_than_a_page_holds_are_all_read(tmp_path: Path) -> None:
    log = Log(*[login(10, f"r{number:04d}") for number in range(2500)], login(1, "last"))
    seen = log.look(tmp_path)
    assert len(seen.entries["cloudflare"]) == 2501
    assert seen.complete


def test_a_failure_in_the_middle_keeps_what_was_read_and_the_watermark_goes_no_further(tmp_path: Path) -> None:
    log = Log(*[login(100 - number, f"r{number:03d}") for number in range(90)], limit=40)
    log.fail_at = 2
    seen = log.look(tmp_path)
    assert len(seen.entries["cloudflare"]) == 40
    assert not seen.complete
    assert "500" in seen.completeness["cloudflare"].reason
    assert seen.completeness["cloudflare"].asof == NOW_MS - 61 * 60_000


def test_after_three_days_of_silence_the_stretch_that_may_be_lost_is_said(tmp_path: Path) -> None:
    seen = Log(login(30, "r1")).look(tmp_path, Previous(logins_to=NOW_MS - 72 * HOUR_MS))
    assert len(seen.entries["cloudflare"]) == 1
    assert not seen.complete
    assert "2026-11-17T12:00:00Z to 2026-11-19T12:00:00Z may be lost" in seen.completeness["cloudflare"].reason


def test_a_row_older_than_a_day_proves_that_the_log_is_kept_for_longer(tmp_path: Path) -> None:
    seen = Log(login(60 * 40, "r1")).look(tmp_path, Previous(logins_to=NOW_MS - 72 * HOUR_MS))
    assert seen.complete


def test_without_a_name_in_the_row_the_application_is_looked_up_and_then_the_route(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    store.put("routes/old.example.com.json", b'{"v": 1, "tenant": "quill", "instance": "main"}')
    rows = [
        login(9, "r1"),
        login(8, "r2", app_uid="u2", app_domain="old.example.com"),
        login(7, "r3", app_uid="u3", app_domain="x.example.com"),
    ]
    for row in rows:
        del row["app_name"]
    log = Log(*rows)
    log.apps = [{"id": "u1", "name": "shop:main:acme:main"}]
    seen = log.look(tmp_path)
    assert [(entry.id, entry.tenant, entry.instance) for entry in seen.entries["cloudflare"]] == [
        ("r1", "acme", "main"),
        ("r2", "quill", "main"),
    ]
    assert [finding.rule for finding in seen.findings] == ["cloudflare.logins-nameless"]


@pytest.mark.parametrize("body", [{"success": False, "result": []}, {"success": True, "result": [{"ray_id": "x"}]}, {"result": 5}, []])
def test_an_answer_that_is_no_log_is_a_fault(tmp_path: Path, body: object) -> None:
    log = Log()
    log.answer = lambda _request: httpx.Response(200, json=body, headers={"date": format_datetime(NOW, usegmt=True)})  # type: ignore[method-assign]
    assert not log.look(tmp_path).complete


def test_an_answer_in_another_order_than_asked_for_is_a_fault(tmp_path: Path) -> None:
    log = Log()
    log.rows = [login(1, "r2"), login(9, "r1")]
    assert not log.look(tmp_path).complete


def test_a_login_of_the_future_is_left_out_and_said(tmp_path: Path) -> None:
    seen = Log(login(5, "r1"), login(-60, "r2")).look(tmp_path)
    assert [entry.id for entry in seen.entries["cloudflare"]] == ["r1"]
    assert "future" in seen.completeness["cloudflare"].reason


def test_the_stand_in_is_read_as_the_vendor_would_be(tmp_path: Path) -> None:
    async def body() -> None:
        clock = Clock(NOW)
        token = "t" * 40
        vendor = CloudflareVendor(clock, account="a", zone_id="z", token=token)
        for number in range(30):
            row = login(0, f"r{number}", created_at=(clock.now()).strftime("%Y-%m-%dT%H:%M:%SZ"), allowed=number % 3 > 0)
            vendor.state.log_login(row)
            await clock.advance(60)
        cloudflare = Cloudflare(token, base_url="http://cf/client/v4", transport=httpx.ASGITransport(vendor.app), sleep=no_sleep)
        source = CloudflareSource(cloudflare, open_store(tmp_path.as_uri()), account="a", project="shop", stack="main")
        seen = await observe([source], Previous())
        assert seen.complete, seen.completeness
        assert len(seen.entries["cloudflare"]) == 20
        assert seen.now is not None
        assert abs(seen.now - clock.timestamp() * 1000) < 3000

    asyncio.run(body())
