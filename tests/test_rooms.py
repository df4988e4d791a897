"""The rooms of the house and who may import whom; docs/rooms.md shows the same table."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Room: what it may import of ours. Everything else of ours is refused, in both directions.
ALLOWED = {
    "rowhouse.errors": set(),
    "rowhouse.hiding": set(),
    "rowhouse.wire": set(),
    "rowhouse.spec": {"rowhouse.errors"},
    "rowhouse.vendors": {"rowhouse.errors", "rowhouse.hiding", "rowhouse.spec"},
    "rowhouse.provider.sdk": set(),
    "rowhouse.provider": {"rowhouse.errors", "rowhouse.hiding", "rowhouse.vendors", "rowhouse.wire"},
    "rowhouse.edge": {"rowhouse.errors", "rowhouse.spec", "rowhouse.vendors"},
    "rowhouse.usage": {"rowhouse.errors", "rowhouse.spec", "rowhouse.vendors"},
    "rowhouse.engine": {"rowhouse.hiding", "rowhouse.wire"},
    "rowhouse.review": {"rowhouse.errors", "rowhouse.spec", "rowhouse.usage", "rowhouse.engine", "rowhouse.vendors"},
    "rowhouse.localcloud": set(),
    "rowhouse.cli": {"*"},
    "rowhouse.demo": {"*"},
    "policies": {"rowhouse.spec", "rowhouse.errors"},
    "components": {"rowhouse.spec", "rowhouse.provider.sdk", "rowhouse.errors"},
    "stacks": {"components", "rowhouse.spec", "rowhouse.errors"},
}


def room_of(module: str) -> str | None:
    """The longest room name that a module's dotted name starts with."""
    rooms = [room for room in ALLOWED if module == room or module.startswith(room + ".")]
    return max(rooms, key=len) if rooms else None


def files_of(room: str) -> list[Path]:
    """Python files of one room, without those of a room inside it."""
    base = ROOT / room.replace(".", "/")
    files = [base.with_suffix(".py")] if base.with_suffix(".py").exists() else sorted(base.rglob("*.py"))
    return [file for file in files if room_of(module_of(file)) == room]


def module_of(file: Path) -> str:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path) -> set[str]:
    """Dotted names of everything of ours that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where they lead"
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names}
                if node.module in {"rowhouse", "components", "policies"}
                else {node.module or ""}
            )
    version = {"rowhouse", "rowhouse.__version__"}  # the package's own name and number belong to no room
    return {name for name in found if name.split(".")[0] in {"rowhouse", "components", "stacks", "policies"}} - version


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_it_may(room: str):
    files = files_of(room)
    assert files, f"room {room} has no files: take it out of the table or build it"
    allowed = ALLOWED[room]
    for file in files:
        for name in imports_of(file):
            target = room_of(name)
            assert target == room or "*" in allowed or target in allowed, f"{file.relative_to(ROOT)} imports {name}"


def test_every_package_of_ours_belongs_to_a_room():
    for folder in (ROOT / "rowhouse").iterdir():
        if folder.is_dir() and any(folder.glob("*.py")):
            assert room_of(f"rowhouse.{folder.name}") is not None, (
                f"rowhouse/{folder.name} is in no room: describe it in docs/rooms.md and here"
            )


def test_the_walk_sees_a_forbidden_import(tmp_path: Path):
    spy = tmp_path / "spy.py"
    spy.write_text("def f():\n    from rowhouse.vendors import fly\n    import rowhouse.engine.steps\n")
    assert imports_of(spy) == {"rowhouse.vendors", "rowhouse.engine.steps"}
