"""The same queries on a second engine give the same rows, exactly."""

import importlib.util
import shutil

import pytest

from rowhouse.usage.engines import DuckEngine
from rowhouse.usage.entries import COLUMNS
from rowhouse.usage.meter import measured
from rowhouse.usage.model import DAY_MS, Window
from tests.usage.metering import connect, load
from tests.usage.simulator import make_world

START = Window.month("2026-11").start + 9 * DAY_MS
PERIOD = Window(START, START + 3 * DAY_MS)
TABLES = ("machines", "spans", "instance_spans", "segments", "volume_steps", "storage_steps", "counted", "usage_hours", "counter_hours")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None, reason="needs the extra `spark` and Java"
)


@pytest.fixture
def session():
    from rowhouse.usage.spark import local_session

    session = local_session()
    try:
        yield session
    finally:
        session.stop()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_spark_gives_exactly_the_rows_of_duckdb(session):
    from rowhouse.usage.spark import SparkEngine

    rows = [row for seed in range(25) for row in make_world(seed, *PERIOD).rows]
    connection = connect()
    load(connection, rows)
    columns = ("source", *COLUMNS)
    listed = ", ".join(f'"{column}"' for column in columns)
    types = ", ".join(f"{column} {'BIGINT' if column in {'at', 'asof'} else 'STRING'}" for column in columns)
    entries = connection.execute(f"SELECT {listed} FROM entries").fetchall()
    session.createDataFrame(entries, types).createOrReplaceTempView("entries")
    duck, spark = DuckEngine(connection), SparkEngine(session)
    assert measured(spark, PERIOD) == measured(duck, PERIOD)
    for table in TABLES:
        names = [column[0] for column in connection.execute(f"FROM {table} LIMIT 0").description]
        query = f"SELECT {', '.join(names)} FROM {table}"
        assert sorted(spark.rows(query), key=str) == sorted(duck.rows(query), key=str), table
