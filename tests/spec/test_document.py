"""YAML that is hostile, or that readers take for different things, is refused plainly and cheaply."""

import time
from decimal import Decimal

import pytest
import yaml
from hypothesis import given

from rowhouse.spec.document import MAX_DEPTH, MAX_VALUES, Document, parse
from rowhouse.spec.problem import Problem
from rowhouse.spec.rules import RULES
from rowhouse.spec.source import MAX_FILE_BYTES, Source
from tests.strategies import odd_texts


def read(text: str) -> tuple[Document | None, list[Problem]]:
    return parse(Source("acme", "tenants/acme.yaml", text))


def refused(text: str) -> Problem:
    """The first problem of a text that has one."""
    problems = read(text)[1]
    assert problems
    return problems[0]


def data(text: str):
    document, problems = read(text)
    assert problems == []
    assert document is not None
    return document.data


def test_plain_values_are_text_numbers_and_constants():
    text = 'a: word\nb: 12\nc: 1.50\nd: true\ne: null\nf:\ng: "12"\nh: [x, -3]\ni: a - b, c'
    assert data(text) == {
        "a": "word",
        "b": 12,
        "c": Decimal("1.50"),
        "d": True,
        "e": None,
        "f": None,
        "g": "12",
        "h": ["x", -3],
        "i": "a - b, c",
    }


def test_every_key_and_value_knows_its_line_and_column():
    document, _ = read("owner:\n  name: Acme\nmembers:\n  - a@b.example\n")
    assert document is not None
    assert document.at(("owner", "name")) == (2, 9)
    assert document.at(("owner", "name"), key=True) == (2, 3)
    assert document.at(("members", 0)) == (4, 5)
    assert document.at(("owner", "email")) == (1, 1), "what is not there is where its parent is"


@pytest.mark.parametrize(
    "word",
    ["no", "No", "yes", "on", "off", "y", "n", "TRUE", "~", "1e3", "0x10", "010", "1_000", "12:30", "2026-11-01", ".5", ".inf", "+1"],
)
def test_words_that_readers_take_for_different_things_must_be_quoted(word):
    problem = refused(f"a: {word}\n")
    assert (problem.rule, problem.line, problem.column) == ("yaml.ambiguous", 1, 4)
    assert f'"{word}"' in problem.message
    assert data(f'a: "{word}"\n') == {"a": word}


@pytest.mark.parametrize("key", ["on", "1", "true", "null", "~"])
def test_keys_that_are_not_text_to_every_reader_must_be_quoted(key):
    assert refused(f"{key}: 1\n").rule == "yaml.key"
    assert data(f'"{key}": 1\n') == {key: 1}


@pytest.mark.parametrize("text", ["? [a]\n: 1\n", "? {a: b}\n: 1\n"])
def test_keys_that_are_lists_or_mappings_are_refused(text):
    assert refused(text).rule == "yaml.key"


def test_an_explosion_of_aliases_is_refused_at_its_first_anchor():
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10))
    problem = refused(f"l0: &l0 [lol]\n{levels}\n")
    assert (problem.rule, problem.line, problem.column) == ("yaml.alias", 1, 5)
    assert "&l0" in problem.message


@pytest.mark.parametrize(
    "text",
    ["a: &x 1\n", "a: *x\n", "&k a: 1\n", "*k : 1\n", "&top\na: 1\n", "<<: {a: 1}\n", "b: {<<: {a: 1}}\n", "a: &x {b: *x}\n"],
)
def test_anchors_aliases_and_merge_keys_are_refused(text):
    assert refused(text).rule == "yaml.alias"


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [id]\n",
        "a: !!str 1\n",
        "a: !Ref x\n",
        "a: ! x\n",
        "!!map\na: 1\n",
        "!!str a: 1\n",
        "a: !!binary aGk=\n",
        "a: !<tag:yaml.org,2002:int> 1\n",
    ],
)
def test_tags_are_refused(text):
    assert refused(text).rule == "yaml.tag"


def test_a_key_that_stands_twice_is_refused_with_both_lines():
    problem = refused("state: active\nplan: a/b\nstate: purge\n")
    assert (problem.rule, problem.line, problem.column) == ("yaml.duplicate-key", 3, 1)
    assert "line 1" in problem.message


def test_a_key_that_stands_twice_deep_inside_is_refused():
    assert refused("a: {b: {c: 1, d: 2, c: 3}}\n").rule == "yaml.duplicate-key"


def test_keys_that_are_equal_only_after_escapes_are_the_same_key():
    assert refused('state: a\n"st\\u0061te": b\n').rule == "yaml.duplicate-key"


@pytest.mark.parametrize(
    "text", ["a: 1\n---\nb: 2\n", "a: 1\n...\n---\nb: 2\n", "%YAML 1.1\n---\na: 1\n", "%TAG ! tag:x,2026:\n---\na: 1\n"]
)
def test_several_documents_and_directives_are_refused(text):
    assert refused(text).rule == "yaml.documents"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n", "word\n", "12\n", "---\n", "null\n"])
def test_a_top_that_is_no_mapping_is_refused(text):
    assert refused(text).rule == "yaml.empty"


@pytest.mark.parametrize("text", ["a: [1\n", "a: b: c\n", "a: 'x\n", "\ta: 1\n", "a: 1\n b: 2\n", "{a: 1\n", "a: @b\n", "a: `b`\n"])
def test_broken_yaml_is_refused_at_its_place(text):
    problem = refused(text)
    assert problem.rule == "yaml.syntax"
    assert problem.line >= 1


def test_a_tab_is_named_as_the_cause():
    assert "spaces, not tabs" in refused("a:\n\tb: 1\n").message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_without_reading_it_all(opening):
    start = time.perf_counter()
    problem = refused("a:\n  " + opening * 60_000)
    assert problem.rule in {"yaml.depth", "yaml.key", "yaml.syntax"}
    assert time.perf_counter() - start < 2


def test_nesting_up_to_the_limit_is_fine():
    assert data("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "\n")
    assert refused("a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "\n").rule == "yaml.depth"


def test_a_file_of_very_many_values_is_refused():
    assert refused("a: [" + "1," * 30_000 + "]\n").rule == "yaml.depth"


@pytest.mark.parametrize("escape", ["\\0", "\\x07", "\\e", "\\u202e", "\\u2066", "\\u200b", "\\uFEFF", "\\x85", "\\L"])
def test_control_and_reordering_characters_do_not_come_in_through_escapes(escape):
    assert refused(f'a: "x{escape}y"\n').rule == "file.characters"
    assert refused(f'"x{escape}y": 1\n').rule == "file.characters"


def test_what_can_be_read_past_is_reported_together():
    document, problems = read("a: no\non: 1\nb: *x\nc: !t d\nd: 1\nd: 2\n<<: 3\n")
    assert document is not None
    assert [(problem.line, problem.rule) for problem in problems] == [
        (1, "yaml.ambiguous"),
        (2, "yaml.key"),
        (3, "yaml.alias"),
        (4, "yaml.tag"),
        (6, "yaml.duplicate-key"),
        (7, "yaml.alias"),
    ]


def test_a_file_full_of_mistakes_does_not_fill_the_log():
    document, problems = read("a: [" + "no," * 10_000 + "]\n")
    assert document is None
    assert len(problems) <= 51


@given(odd_texts())
def test_any_text_is_a_document_or_has_a_problem(text):
    document, problems = read(text)
    assert document is not None or problems
    assert all(str(problem).isprintable() for problem in problems)


@given(odd_texts())
def test_any_value_is_read_or_has_a_problem(text):
    document, problems = read(f"a: {text}\n")
    assert document is not None or problems


@pytest.mark.parametrize(
    "text",
    ["a: [1, x, {b: no}]\n", "a: &x 1\nb: *x\n", "a: 1\na: 2\n", "a: !t 1\n", "a: 'x'\nb: 1.5\nc:\n", "on: 1\n", "- a\n", "a: [\n", ""],
)
def test_a_python_without_libyaml_reads_the_same(text, monkeypatch):
    with_libyaml, problems = read(text)
    monkeypatch.setattr("rowhouse.spec.document.LOADER", yaml.SafeLoader)
    without, other_problems = read(text)
    assert (without and without.data) == (with_libyaml and with_libyaml.data)
    assert [(problem.rule, problem.line) for problem in other_problems] == [(problem.rule, problem.line) for problem in problems]


def test_the_limits_are_those_that_the_rules_promise():
    assert f"at most {MAX_DEPTH} deep" in RULES["yaml.depth"]
    assert f"at most {MAX_VALUES:,} of them" in RULES["yaml.depth"]
    assert f"at most {MAX_FILE_BYTES // 1024} KiB" in RULES["file.size"]
