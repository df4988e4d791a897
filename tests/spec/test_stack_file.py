"""Stack files: those that people and `pulumi config` write are taken, those that explode or crash a reader are refused with their line."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given

from rowhouse.spec.problem import Problem
from rowhouse.spec.source import MAX_FILE_BYTES
from rowhouse.spec.stack_file import read_stack
from tests.strategies import odd_texts

LEVELS = [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
BOMB = "\n".join(["a0: &a0 [x,x,x,x,x,x,x,x,x,x]", *LEVELS, "config:", "  account:zone: *a8\n"])
ORDINARY = """\
# How `pulumi config set` leaves it.
encryptionsalt: v1:AAAAAAAAAAA=:v1:BBBBBBBBBBBBBBBB:CCCCCCCCCCCCCCCCCCCCCC==
config:
  account:zone: acme.example
  account:cloudflareZoneId: "00000000000000000000000000000002"
  account:edgeReplicas: 2
  aws:region: eu-central-1
  rowhouse:token:
    secure: AAABAOlongCipherText+/=
  rowhouse:flags: {deep: {deeper: [1, 2.5, true, null, on, 010, 1e3]}, "8080": web, 80: web}
  rowhouse:since: 2026-11-01
  rowhouse:note: |
    two
    lines
"""


def refused(text: str | bytes | None) -> Problem:
    values, problems = read_stack(text.encode() if isinstance(text, str) else text, "Pulumi.main.yaml")
    assert (values, bool(problems)) == ({}, True)
    assert problems[0].file == "stacks/Pulumi.main.yaml"
    return problems[0]


def test_what_pulumi_and_people_write_is_taken_as_every_reader_of_pulumis_has_it():
    assert read_stack(ORDINARY.encode(), "Pulumi.main.yaml") == (yaml.safe_load(ORDINARY), [])


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "{}", "config:\n", "config: {}\n", "\ufeffconfig: {}\n"])
def test_a_file_without_settings_is_one(text: str):
    values, problems = read_stack(text.encode(), "Pulumi.main.yaml")
    assert (values.get("config") or {}, problems) == ({}, [])


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        (BOMB, "yaml.alias", 1),
        ("config:\n  a:b: &x 1\n", "yaml.alias", 2),
        ("config:\n  <<: {a:b: 1}\n", "yaml.alias", 2),
        ("config:\n  a:b: !!binary aGk=\n", "yaml.tag", 2),
        ("config: !!python/object/apply:os.system [x]\n", "yaml.tag", 1),
        ("config:\n  a:b: 1\n  a:b: 2\n", "yaml.duplicate-key", 3),
        ("config:\n  a:b: " + "[" * 100_000, "yaml.depth", 2),
        ("config:\n" + "".join(f"{' ' * n}k:\n" for n in range(1, 600)), "yaml.depth", 13),
        ("config:\n  a:b: [" + "1," * 30_000 + "]", "yaml.depth", 2),
        ("a: 1\n---\nb: 2\n", "yaml.documents", 2),
        ("- config\n", "yaml.empty", 1),
        ("config: [\n", "yaml.syntax", 2),
        ("config:\n  a:b: 2026-13-45\n", "yaml.ambiguous", 2),
        (f"config:\n  a:b: {'9' * 5000}\n", "yaml.ambiguous", 2),
        ("config: 5\n", "spec.value", 1),
        ("config:\n  5: x\n", "yaml.key", 2),
        ("encryptionsalt: [x]\n", "spec.value", 1),
        ("? [a]\n: b\n", "yaml.key", 1),
        (b"config: \xff\n", "file.encoding", 1),
        ("config:\n  a:b: x\u202ey\n", "file.characters", 2),
        ("#" * (MAX_FILE_BYTES + 1), "file.size", 1),
        (None, "file.size", 1),
    ],
)
def test_what_explodes_hides_or_crashes_is_refused_where_it_stands(text: str | bytes | None, rule: str, line: int):
    problem = refused(text)
    assert (problem.rule, problem.line) == (rule, line)
    assert "tenant" not in problem.message
    assert problem.message.count(". ") >= 1, "what is wrong, what is allowed, what to do"


def test_a_bomb_costs_little():
    tracemalloc.start()
    refused(BOMB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_name_that_is_no_text_is_shown_as_one():
    _, (problem,) = read_stack(None, "Pulumi.\n::error::.yaml")
    assert problem.file.isprintable()


@given(odd_texts())
def test_no_text_makes_it_stumble(text: Any):
    values, problems = read_stack(text.encode("utf-8", "surrogatepass"), "Pulumi.main.yaml")
    assert isinstance(values, dict)
    assert not (values and problems)
