"""Files with hostile names, kinds, sizes and bytes are refused by name, and the honest ones beside them are still read."""

import os
from pathlib import Path

import pytest

from rowhouse.spec import check_fleet, read_fleet
from rowhouse.spec.source import MAX_FILE_BYTES, read_folder
from tests.spec.project import TENANT, only, problems_of, project


def add(root: Path, name: str | bytes, content: str = TENANT) -> None:
    (root / "tenants" / os.fsdecode(name)).write_text(content)


def rules(root: Path) -> list[str]:
    return [problem.rule for problem in check_fleet(root)]


def test_names_with_an_underscore_and_the_readme_are_not_tenants(tmp_path: Path):
    project(tmp_path)
    add(tmp_path, "_draft.yaml", "not: a tenant\n")
    add(tmp_path, "README.md", "# Tenants\n")
    add(tmp_path, "_schema.json", "{}\n")
    fleet, problems = read_fleet(tmp_path)
    assert problems == []
    assert [tenant.id for tenant in fleet.tenants] == ["acme"]


def test_every_file_is_a_tenant_or_a_problem(tmp_path: Path):
    project(tmp_path, **{f"tenants__t{number}": TENANT for number in range(20)})
    fleet, problems = read_fleet(tmp_path)
    assert problems == []
    assert len(fleet.tenants) == len(list((tmp_path / "tenants").iterdir()))


@pytest.mark.parametrize(
    "name",
    [
        "acme.yml",
        "acme.json",
        "acme",
        ".yaml",
        ".acme.yaml",
        "..yaml",
        "...yaml",
        "..\\x.yaml",
        "-acme.yaml",
        "a--b.yaml",
        "acme-.yaml",
        "1acme.yaml",
        "acme corp.yaml",
        "acme.corp.yaml",
        "acme_corp.yaml",
        "a" * 40 + ".yaml",
        "acme.yaml~",
        "con.yaml",
        "com1.yaml",
        "%2e%2e.yaml",
        "$(id).yaml",
        "acme\n.yaml",
    ],
)
def test_a_file_name_that_is_no_id_is_refused(tmp_path: Path, name: str):
    project(tmp_path)
    add(tmp_path, name)
    problem = only(check_fleet(tmp_path))
    assert problem.rule == "file.name"
    assert str(problem).isprintable()


def test_a_path_out_of_the_folder_cannot_be_a_reference(tmp_path: Path):
    problem = only(problems_of(tmp_path, tenants__acme="owner: {email: ops@acme.example}\nplan: ../../etc/passwd\n"))
    assert problem.rule == "spec.value"
    problem = only(problems_of(tmp_path, tenants__acme="owner: {email: ops@acme.example}\nplan: aether/pro\napp: ../x\n"))
    assert problem.rule == "spec.id"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("\u0430cme.yaml", "U+0430 (cyrillic small letter a)"),
        ("acme\u202e.yaml", "U+202E"),
        ("\uff41cme.yaml", "U+FF41"),
        ("acme\u200b.yaml", "U+200B"),
        ("m\u00fcller.yaml", "U+00FC"),
        ("acme\u0130.yaml", "U+0130"),
    ],
)
def test_letters_that_look_alike_or_reorder_are_named_by_their_code(tmp_path: Path, name: str, told: str):
    project(tmp_path)
    add(tmp_path, name)
    problem = only(check_fleet(tmp_path))
    assert problem.rule == "file.name"
    assert told in problem.message
    assert str(problem).isascii()


def test_a_name_that_is_not_unicode_is_refused_printably(tmp_path: Path):
    project(tmp_path)
    add(tmp_path, b"acme\xff.yaml")
    problem = only(check_fleet(tmp_path))
    assert problem.rule == "file.name"
    assert str(problem).isascii()


def test_upper_case_twins_are_refused(tmp_path: Path):
    project(tmp_path)
    add(tmp_path, "Acme.yaml")
    assert sorted(rules(tmp_path)) == ["file.name", "file.twin"]


def test_a_link_is_refused_even_when_it_leads_to_a_good_file(tmp_path: Path):
    project(tmp_path)
    (tmp_path / "elsewhere.yaml").write_text(TENANT)
    (tmp_path / "tenants" / "beta.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    (tmp_path / "tenants" / "gamma.yaml").symlink_to("/dev/zero")
    (tmp_path / "tenants" / "delta.yaml").symlink_to(tmp_path / "nowhere.yaml")
    assert rules(tmp_path) == ["file.kind"] * 3


def test_folders_and_pipes_are_refused_without_waiting(tmp_path: Path):
    project(tmp_path)
    (tmp_path / "tenants" / "beta.yaml").mkdir()
    os.mkfifo(tmp_path / "tenants" / "gamma.yaml")
    assert rules(tmp_path) == ["file.kind"] * 2


def test_a_file_of_ten_megabytes_is_refused_without_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project(tmp_path)
    with (tmp_path / "tenants" / "beta.yaml").open("wb") as stream:
        stream.truncate(10 * 1024 * 1024)
    read = os.fdopen

    class Counting:
        """A stream that refuses to be read."""

        def __init__(self, stream):
            self._stream = stream

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._stream.close()

        def fileno(self):
            return self._stream.fileno()

        def read(self, *_):
            pytest.fail("the file was read")

    def opened(descriptor, mode):
        stream = read(descriptor, mode)
        return Counting(stream) if os.fstat(stream.fileno()).st_size > MAX_FILE_BYTES else stream

    monkeypatch.setattr("rowhouse.spec.source.os.fdopen", opened)
    problem = only(check_fleet(tmp_path))
    assert (problem.file, problem.rule) == ("tenants/beta.yaml", "file.size")


@pytest.mark.parametrize(("padding", "rule"), [(0, None), (1, "file.size")])
def test_the_size_limit_is_exact(tmp_path: Path, padding: int, rule: str | None):
    text = TENANT + "#" * (MAX_FILE_BYTES - len(TENANT) - 1 + padding) + "\n"
    assert [problem.rule for problem in problems_of(tmp_path, tenants__acme=text)] == ([rule] if rule else [])


def test_bytes_that_are_not_utf_8_are_refused_at_their_place(tmp_path: Path):
    problem = only(problems_of(tmp_path, tenants__acme=TENANT.encode() + b"# caf\xe9\n"))
    assert (problem.rule, problem.line, problem.column) == ("file.encoding", 3, 6)
    assert "0xe9" in problem.message


def test_utf_16_is_not_read_as_yaml(tmp_path: Path):
    assert only(problems_of(tmp_path, tenants__acme=TENANT.encode("utf-16"))).rule == "file.encoding"


def test_a_byte_order_mark_of_an_editor_does_no_harm(tmp_path: Path):
    assert problems_of(tmp_path, tenants__acme=b"\xef\xbb\xbf" + TENANT.encode()) == []


def test_windows_line_ends_do_no_harm(tmp_path: Path):
    assert problems_of(tmp_path, tenants__acme=TENANT.replace("\n", "\r\n").encode()) == []


@pytest.mark.parametrize("char", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\u202e", "\u2066", "\u2028", "\u200b", "\ufeff"])
def test_control_and_reordering_characters_are_refused_even_in_comments(tmp_path: Path, char: str):
    problem = only(problems_of(tmp_path, tenants__acme=f"{TENANT}# x{char}y\n"))
    assert (problem.rule, problem.line, problem.column) == ("file.characters", 3, 4)
    assert f"U+{ord(char):04X}" in problem.message


def test_names_in_other_scripts_are_fine_where_people_are_named(tmp_path: Path):
    text = 'owner: {name: "Müller & Söhne, 株式会社", email: ops@acme.example}\nplan: aether/pro\n'
    assert problems_of(tmp_path, tenants__acme=text.encode()) == []


def test_a_missing_folder_is_said_once(tmp_path: Path):
    assert [(problem.file, problem.rule) for problem in check_fleet(tmp_path)] == [
        ("apps", "file.missing-folder"),
        ("plans", "file.missing-folder"),
        ("tenants", "file.missing-folder"),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_a_problem(tmp_path: Path):
    project(tmp_path)
    (tmp_path / "tenants" / "acme.yaml").chmod(0)
    assert rules(tmp_path) == ["file.unreadable"]


def test_a_file_that_vanishes_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project(tmp_path)

    def gone(path, flags):
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr("rowhouse.spec.source.os.open", gone)
    sources, problems = read_folder(tmp_path, "tenants")
    assert sources == []
    assert only(problems).rule == "file.unreadable"
