"""Months of many tenants with bad days at every vendor: nothing over-billed, nothing lost beyond the declared gaps, invoices to the cent."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.usage.world_pipeline import HOUR
from tests.usage.year import Year

YEAR = [f"2027-{month:02}" for month in range(1, 13)]


@pytest.mark.long
def test_a_month_and_its_bad_days(tmp_path: Path) -> None:
    year = Year(11, 6, ["2027-02"], tmp_path, interval=12 * HOUR)
    asyncio.run(year.tell())
    assert year.judge()["months"]["2027-02"]["tenants"] == 6
    assert set(year.closed) == {"2027-02"}
    assert all(year.count[what] for what in ("killed", "dropped", "down", "partial lists", "refused calls", "wrong times", "stripe faults"))


@pytest.mark.long
def test_a_year_of_fifty_tenants_with_faults_at_every_vendor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    year = Year(2027, 50, YEAR, tmp_path, interval=12 * HOUR)
    with capsys.disabled():
        asyncio.run(year.tell(lambda line: sys.stderr.write(f"{line}\n")))
    sys.stdout.write(json.dumps(year.judge(), indent=1))
    assert set(year.closed) == set(YEAR)
