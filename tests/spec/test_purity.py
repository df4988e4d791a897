"""The spec room is pure: no vendor's library, no engine, no clock, no environment, no network, no process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "rowhouse" / "spec").rglob("*.py"))

ALLOWED_IMPORTS = {
    "__future__", "argparse", "base64", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "difflib", "fractions", "hashlib", "itertools", "json", "os",
    "pathlib", "pydantic", "pydantic_core", "re", "rowhouse", "stat", "sys", "types", "typing", "unicodedata", "yaml",
}  # fmt: skip

IMPURE = {
    "os.environ", "os.getenv", "os.environb", "os.system", "os.urandom", "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "sys.argv", "Path.cwd", "Path.home", "sys.exit", "builtins.print",
}  # fmt: skip


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_module_imports_only_what_is_pure(file: Path):
    imported: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module or "")
    assert {name if name == "urllib.parse" else name.split(".")[0] for name in imported} <= ALLOWED_IMPORTS | {"ipaddress", "urllib.parse"}
    assert {name for name in imported if name.startswith("rowhouse") and not name.startswith(("rowhouse.spec", "rowhouse.errors"))} == set()


@pytest.mark.parametrize("file", [file for file in FILES if file.name != "schema.py"], ids=lambda file: file.name)
def test_a_module_reads_no_clock_or_environment_and_prints_nothing(file: Path):
    tree = ast.parse(file.read_text())
    used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {name for name in used if name in IMPURE} == set()
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called & {"print", "open", "exec", "eval", "input", "__import__", "exit"} == set()


def test_only_one_module_opens_files_and_only_the_generator_writes_them():
    opening = {file.name for file in FILES if "os.open(" in file.read_text() or "os.scandir(" in file.read_text()}
    writing = {file.name for file in FILES if "write_text" in file.read_text() or "write_bytes" in file.read_text()}
    assert opening == {"source.py"}
    assert writing == {"schema.py"}


def test_loading_the_room_loads_no_vendors_library():
    code = (
        "import sys, rowhouse.spec, rowhouse.spec.prices, rowhouse.spec.names, rowhouse.spec.schema\n"
        "heavy = {'pulumi', 'stripe', 'boto3', 'httpx', 'grpc', 'ssl', 'asyncio', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


def test_no_module_is_longer_than_a_reader_can_hold():
    assert [file.name for file in FILES if len(file.read_text().splitlines()) > 400] == []
