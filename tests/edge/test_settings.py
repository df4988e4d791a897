"""docs/gateway.md is the gateway's settings: every variable, what is allowed, the default."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rowhouse.edge.settings import GatewayError, Settings

ROOT = Path(__file__).parents[2]
REQUIRED = {"ROWHOUSE_ACCESS_ISSUER": "http://127.0.0.1:9"}
# Read by what the gateway uses: the store's client, and the standard library's finder of proxies.
BY_OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"}


def rows() -> dict[str, list[str]]:
    """The table's cells after the first, by variable."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "docs/gateway.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`([A-Z_]+)`", cells[0]) if line.startswith("| `") else []:
            assert name not in found, f"{name} has two rows"
            found[name] = cells[1:]
    return found


ROWS = rows()


def variables_read() -> set[str]:
    """Names like those of variables that modules of the edge call something with, or look up."""
    found = set()
    for file in (ROOT / "rowhouse/edge").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            asked = node.args if isinstance(node, ast.Call) else [node.slice] if isinstance(node, ast.Subscript) else []
            words = [word.value for word in asked if isinstance(word, ast.Constant) and isinstance(word.value, str)]
            found |= {word for word in words if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", word)}
    return found - {"ROWHOUSE_GATEWAY", "ROWHOUSE_GATEWAY_HEALTH"}  # what _HOST and _PORT of two listeners begin with


def numbers() -> dict[str, tuple[float, ...]]:
    """Smallest, largest and default of each variable that is a number, as the gateway itself says them."""
    found = {}
    for name in sorted(variables_read()):
        try:
            Settings.from_env({**REQUIRED, name: "x"})
        except GatewayError as error:
            if told := re.search(r"a number from (\S+) to (\S+); the default is (\S+?)\.", str(error)):
                found[name] = tuple(map(float, told.groups()))
    return found


def test_every_variable_that_the_gateway_reads_is_in_the_table_and_no_other():
    assert variables_read() >= {"ROWHOUSE_STORE_URL", "ROWHOUSE_CLOCK_FILE", "FLY_MACHINE_ID"}
    assert set(ROWS) == variables_read() | BY_OTHERS


def test_ranges_and_defaults_are_those_of_the_table():
    told = {}
    for name, (_, allowed, default) in ROWS.items():
        if span := re.match(r"([\d.]+) to ([\d.]+)", allowed):
            told[name] = (float(span[1]), float(span[2]), float(default.strip("`")))
    assert told == numbers()
    assert len(told) > 10


@pytest.mark.parametrize("name", [name for name, cells in ROWS.items() if re.fullmatch(r"`[^`/]+`", cells[2])])
def test_a_default_said_out_loud_changes_nothing(name: str):
    plain, said = (Settings.from_env({**REQUIRED, **more}) for more in ({}, {name: ROWS[name][2].strip("`")}))
    assert replace(said, gateway_id="") == replace(plain, gateway_id="")


def test_the_component_sets_nothing_that_the_gateway_does_not_know():
    text = (ROOT / "components/edge.py").read_text()
    assert set(re.findall(r'"(ROWHOUSE_[A-Z_]+)":', text)) <= set(ROWS)
