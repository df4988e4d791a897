"""The clock of a local cloud's gateway, and that no other gateway can be given one."""

import time
from pathlib import Path

import pytest

from rowhouse.edge.clock import FileClock, clock_for
from rowhouse.edge.settings import GatewayError, Settings

LOCAL = {"ROWHOUSE_ACCESS_ISSUER": "http://127.0.0.1:9", "ROWHOUSE_CLOCK_FILE": "/somewhere/clock"}
REAL_TEAM = {"ROWHOUSE_ACCESS_ISSUER": "https://acme.cloudflareaccess.com"}


def test_without_a_file_a_gateway_has_this_machines_clock() -> None:
    assert clock_for(Settings.from_env({"ROWHOUSE_ACCESS_ISSUER": "http://127.0.0.1:9"}).clock_file) is time.time


def test_a_leap_is_seen_at_the_next_look(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    file.write_text("0\n")
    clock = FileClock(file, clock=lambda: 1000.0)
    assert clock() == 1000
    file.write_text("3600.25\n")
    assert clock() == 4600.25


@pytest.mark.parametrize("spoilt", [None, "", "noon"])
def test_a_file_that_was_lost_later_leaves_the_clock_where_it_was(tmp_path: Path, spoilt: str | None) -> None:
    file = tmp_path / "clock"
    file.write_text("60\n")
    clock = FileClock(file, clock=lambda: 1000.0)
    file.unlink() if spoilt is None else file.write_text(spoilt)
    assert clock() == 1060


@pytest.mark.parametrize("text", [None, "noon"])
def test_a_file_that_is_no_clock_stops_the_start(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "clock").write_text(text)
    with pytest.raises(GatewayError, match="ROWHOUSE_CLOCK_FILE"):
        clock_for(tmp_path / "clock")


def test_a_gateway_that_follows_a_file_asks_nobody_for_the_time() -> None:
    assert Settings.from_env(LOCAL).clock_s is None
    assert Settings.from_env({"ROWHOUSE_ACCESS_ISSUER": "http://127.0.0.1:9"}).clock_s == 300


@pytest.mark.parametrize("more", [{"ROWHOUSE_STORE_URL": "s3://acme/main"}, REAL_TEAM, {**REAL_TEAM, "ROWHOUSE_STORE_URL": "file:///s"}])
def test_a_production_gateways_time_cannot_be_moved(more: dict[str, str]) -> None:
    with pytest.raises(GatewayError, match="local cloud only"):
        Settings.from_env({**LOCAL, **more})
    assert Settings.from_env({**LOCAL, "ROWHOUSE_STORE_URL": "file:///s"}).clock_file == Path("/somewhere/clock")
