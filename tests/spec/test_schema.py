"""The generated schemas and tables are current, and they say what the models say."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

from rowhouse.spec.files import TenantFile
from rowhouse.spec.rules import RULES
from rowhouse.spec.schema import FOLDERS, generated, key_table, main

ROOT = Path(__file__).resolve().parents[2]


def test_every_generated_file_is_current():
    stale = [str(path) for path, text in generated(ROOT).items() if path.read_text() != text]
    assert stale == [], "run `python -m rowhouse.spec.schema --write`"


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_the_shipped_files_satisfy_the_schema(folder: str):
    schema = json.loads((ROOT / folder / "_schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    files = sorted((ROOT / folder).glob("*.yaml"))
    assert files
    for file in files:
        assert [error.message for error in validator.iter_errors(yaml.safe_load(file.read_text()))] == [], file.name


def test_the_schema_refuses_a_misspelt_key():
    schema = json.loads((ROOT / "tenants" / "_schema.json").read_text())
    wrong = {"owner": {"email": "ops@acme.example"}, "plan": "aether/pro", "instances": {"main": {"memmory_mb": 512}}}
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(wrong))
    assert errors


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_every_key_has_a_description(folder: str):
    def walk(schema: dict) -> None:
        for name, field in schema.get("properties", {}).items():
            assert field.get("description"), f"{folder}: {name}"

    document = FOLDERS[folder].model_json_schema()
    for schema in [document, *document.get("$defs", {}).values()]:
        walk(schema)


def test_every_key_stands_in_the_readme():
    for folder, model in FOLDERS.items():
        assert key_table(model) in (ROOT / folder / "README.md").read_text()
    assert "| `instances.<name>.memory_mb` |" in key_table(TenantFile)
    assert "| `owner.email` | required |" in key_table(TenantFile)


def test_every_rule_stands_in_the_readme():
    text = (ROOT / "tenants" / "README.md").read_text()
    assert [rule for rule in RULES if f"| `{rule}` |" not in text] == []


def test_a_stale_file_is_named_and_then_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        shutil.copy(ROOT / folder / "README.md", tmp_path / folder)
    readme = tmp_path / "tenants" / "README.md"
    readme.write_text(readme.read_text().replace("| `plan` | required |", "| `plan` | |"))
    assert main(["--check", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "tenants/README.md: out of date. Run python -m rowhouse.spec.schema --write." in said
    assert "plans/_schema.json" in said
    assert main(["--write", "--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0
    assert readme.read_text() == (ROOT / "tenants" / "README.md").read_text()


def test_the_example_in_the_readme_is_a_shipped_tenant():
    text = (ROOT / "tenants" / "README.md").read_text()
    block = text.split("```yaml\n")[1].split("```")[0]

    def lines(content: str) -> list[str]:
        return [line for line in content.splitlines() if not line.startswith("#")]

    assert lines(block) == lines((ROOT / "tenants" / "acme.yaml").read_text())
