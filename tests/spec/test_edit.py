"""An edit changes what it was asked to change, and no other byte."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from rowhouse.errors import SpecError
from rowhouse.spec.document import parse
from rowhouse.spec.edit import Add, Drop, Edit, EditError, Put, Remove, edited
from rowhouse.spec.source import Source
from tests.spec.tenant_texts import Written, awkward_texts, tenant_texts

PROPERTY = settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def source(text: str) -> Source:
    return Source("acme", "tenants/acme.yaml", text)


def after(text: str, *edits: Edit) -> str:
    return edited(source(text), edits)


def read(text: str) -> dict[str, Any]:
    document, problems = parse(source(text))
    assert document is not None, problems
    assert problems == [], text
    return document.data


def comments(text: str) -> set[str]:
    """The comments that the strategy made; each has its own number, and no value looks like one."""
    return set(re.findall(r"# c\d+", text))


def bare(text: str) -> list[str]:
    return re.split(r"\r\n|\n", text)


def is_within(part: list[str], whole: list[str]) -> bool:
    """Whether lines stand in others in the same order, with or without more between them."""
    rest = iter(whole)
    return all(line in rest for line in part)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Written, dict[str, Any]]:
    written = draw(tenant_texts())
    document, problems = parse(source(written.text))
    assume(document is not None and not problems)
    assert document is not None
    return written, document.data


NEW_KEYS = st.sampled_from(["AA", "Z_9"])


@st.composite
def puts(draw: st.DrawFn, data: dict[str, Any]) -> Put:
    """A value for a key that is there or not, at any depth."""
    top = draw(st.sampled_from(["plan", "state", "cell", "owner", "env", "secrets", "instances"]))
    if top in {"plan", "state", "cell"}:
        return Put((top,), draw(awkward_texts()))
    if top == "owner":
        return Put(("owner", draw(st.sampled_from(["email", "name"]))), draw(awkward_texts()))
    if top == "instances":
        name = draw(st.sampled_from([*data.get(top, {}), "brand-new"]))
        return Put((top, name, draw(st.sampled_from(["cpus", "memory_mb", "region"]))), draw(st.integers(-5, 10**9)))
    return Put((top, draw(st.one_of(NEW_KEYS, st.sampled_from([*data.get(top, {}), "B"])))), draw(awkward_texts()))


def nearest_span(written: Written, path: tuple[str, ...]) -> tuple[int, int]:
    """The lines of the innermost thing along a path that has lines of its own; the whole file where there is none."""
    for length in range(len(path), 0, -1):
        if path[:length] in written.spans:
            return written.spans[path[:length]]
    return (0, len(written.lines))


def assert_only_lines(written: Written, text: str, first: int, last: int) -> None:
    """All lines before and behind a span are as they were, and so are the kinds of line ends."""
    new = bare(text)
    old = bare(written.text)
    assert new[:first] == old[:first]
    tail = old[last:]
    if tail and tail != [""]:
        assert new[len(new) - len(tail) :] == tail
    if written.eol == "\r\n":
        assert re.search(r"(?<!\r)\n", text) is None


@PROPERTY
@given(data=st.data(), case=cases())
def test_a_value_is_put_and_only_its_own_lines_change(data: st.DataObject, case: tuple[Written, dict[str, Any]]):
    written, document = case
    edit = data.draw(puts(document))
    wanted = copy.deepcopy(document)
    above = wanted
    for key in edit.path[:-1]:
        above = above.setdefault(key, {})
    is_new = edit.path[-1] not in above
    above[edit.path[-1]] = edit.value
    text = after(written.text, edit)
    assert repr(read(text)) == repr(wanted)
    assert_only_lines(written, text, *nearest_span(written, edit.path))
    assert comments(text) == comments(written.text)
    if is_new and edit.path[:1] not in written.spans:
        assert is_within(bare(written.text)[:-1], bare(text))
    assert text.endswith(("\n", "...")) == written.text.endswith(("\n", "..."))


def swallowed_blanks(written: Written, span: tuple[int, int], wanted: dict[str, Any]) -> bool:
    """Whether a file without just these lines says something else than what is wanted."""
    document, problems = parse(source(written.eol.join([*written.lines[: span[0]], *written.lines[span[1] :]])))
    return document is None or bool(problems) or repr(document.data) != repr(wanted)


@PROPERTY
@given(data=st.data(), case=cases())
def test_a_key_is_dropped_with_its_own_lines_alone(data: st.DataObject, case: tuple[Written, dict[str, Any]]):
    written, document = case
    paths = [(key,) for key in document]
    paths += [(top, key) for top, held in document.items() if isinstance(held, dict) for key in held]
    paths += [("instances", name, key) for name, held in document.get("instances", {}).items() for key in held]
    path = data.draw(st.sampled_from(paths))
    wanted = copy.deepcopy(document)
    above = wanted
    for key in path[:-1]:
        above = above[key]
    del above[path[-1]]
    text = after(written.text, Drop(path))
    assert repr(read(text)) == repr(wanted)
    span = nearest_span(written, path if above else path[:-1])
    last = span[1]
    if swallowed_blanks(written, span, wanted):
        # Below a text such as `|` blank lines would become part of it: they go, too.
        while last < len(written.lines) and not written.lines[last].strip():
            last += 1
    assert_only_lines(written, text, span[0], last)
    lost = comments(written.text) - comments(text)
    assert lost <= comments("\n".join(written.lines[slice(*span)]))


@PROPERTY
@given(data=st.data(), case=cases(), item=awkward_texts())
def test_an_item_goes_into_a_list_and_out_of_it(data: st.DataObject, case: tuple[Written, dict[str, Any]], item: str):
    written, document = case
    held = document.get("members") or []
    text = after(written.text, Add(("members",), item))
    assert read(text)["members"] == [*held, item]
    assert_only_lines(written, text, *nearest_span(written, ("members",)))
    assert comments(text) == comments(written.text)
    if held:
        gone = data.draw(st.sampled_from(held))
        text = after(written.text, Remove(("members",), gone))
        assert repr(read(text)) == repr({**document, "members": [each for each in held if each != gone]})
        lost = comments(written.text) - comments(text)
        assert lost <= comments("\n".join(line for line in written.lines if gone in line))


@PROPERTY
@given(case=cases())
def test_a_value_that_is_there_already_changes_nothing(case: tuple[Written, dict[str, Any]]):
    written, document = case
    edits = [Put((key,), value) for key, value in document.items()]
    assert after(written.text, *edits, Drop(("nothing",)), Drop(("env", "NOT_THERE"))) == written.text


@PROPERTY
@given(case=cases(), wanted=st.lists(st.sampled_from(["a@b.example", "c@d.example", "e@f.example"]), unique=True))
def test_a_list_becomes_another_list(case: tuple[Written, dict[str, Any]], wanted: list[str]):
    written, document = case
    assert repr(read(after(written.text, Put(("members",), wanted)))) == repr({**document, "members": wanted})  # type: ignore[arg-type]


FILE = """\
# The workspace.
owner: {name: Acme Ltd, email: ops@acme.example}   # since 2019
plan: 'aether/pro'

members:   # who
- ana@acme.example # Ana
# the others
- "@acme.example"
instances:
    main: { memory_mb: 1024,  volume_gb: 10 }
    # lab: {memory_mb: 256}
"""


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (Put(("plan",), "aether/team"), "plan: 'aether/pro'\n", "plan: 'aether/team'\n"),
        (Put(("owner", "name"), "on"), "name: Acme Ltd,", 'name: "on",'),
        (Put(("instances", "main", "cpus"), 2), " volume_gb: 10 }", " volume_gb: 10, cpus: 2 }"),
        (Drop(("instances", "main", "memory_mb")), "{ memory_mb: 1024,  volume_gb", "{ volume_gb"),
        (Drop(("instances", "main", "volume_gb")), "1024,  volume_gb: 10 }", "1024 }"),
        (Add(("members",), "bo@acme.example"), '- "@acme.example"\n', '- "@acme.example"\n- bo@acme.example\n'),
        (Remove(("members",), "ana@acme.example"), "- ana@acme.example # Ana\n", ""),
        (Put(("members",), ["@acme.example", "bo@acme.example"]), FILE[FILE.index("- ana") : FILE.index("inst")], '# the others\n- "@acme.example"\n- bo@acme.example\n'),
        (Drop(("instances", "main")), "instances:\n    main: { memory_mb: 1024,  volume_gb: 10 }\n", "instances: {}\n"),
        (Put(("state",), "suspended"), "    # lab: {memory_mb: 256}\n", "    # lab: {memory_mb: 256}\nstate: suspended\n"),
        (Put(("env", "A"), "1e3"), "    # lab: {memory_mb: 256}\n", '    # lab: {memory_mb: 256}\nenv:\n  A: "1e3"\n'),
        (Put(("instances", "lab", "memory_mb"), 256), "10 }\n", "10 }\n    lab: {memory_mb: 256}\n"),
    ],
)  # fmt: skip
def test_only_this_part_of_a_file_changes(edit: Edit, old: str, new: str):
    assert FILE.count(old) == 1
    for eol in ("\n", "\r\n"):
        before, wanted = (text.replace("\n", eol) for text in (FILE, FILE.replace(old, new)))
        assert after(before, edit) == wanted


def test_a_file_without_a_line_end_at_its_end_stays_without_one():
    for eol in ("\n", "\r\n"):
        assert after(f"plan: x{eol}app: nn", Put(("state",), "active")) == f"plan: x{eol}app: nn{eol}state: active"
        assert after(f"plan: x{eol}app: nn", Put(("app",), "mm")) == f"plan: x{eol}app: mm"


def test_a_header_of_a_long_text_keeps_its_comment_and_what_follows():
    assert after("env:\n  A: |+ # long\n    x\n\n  B: v\n", Put(("env", "A"), "z")) == "env:\n  A: z # long\n\n  B: v\n"


def test_brackets_over_several_lines_take_a_line_for_a_new_item():
    assert after("members: [\n  a, # A\n  b # B\n]\n", Add(("members",), "c")) == "members: [\n  a, # A\n  b, # B\n  c\n]\n"
    assert after("members: [\n  a, # A\n  b, # B\n]\n", Add(("members",), "c")) == "members: [\n  a, # A\n  b, # B\n  c,\n]\n"


def test_a_comma_behind_brackets_is_not_that_of_what_is_in_them():
    text = "instances: {\n  main: {\n    cpus: 1,\n    memory_mb: 256\n  }, lab: {cpus: 1}, two: {}}\n"
    assert after(text, Drop(("instances", "main", "memory_mb"))) == text.replace("    memory_mb: 256\n", "")
    assert after(text, Drop(("instances", "lab", "cpus"))) == text.replace("lab: {cpus: 1}", "lab: {}")
    assert after(text, Put(("instances", "main", "region"), "fra")) == text.replace("256\n", "256,\n    region: fra\n")


def test_a_key_without_a_value_gets_one():
    assert after("env: # later\nplan: x\n", Put(("env", "A"), "v")) == "env: # later\n  A: v\nplan: x\n"
    assert after("? plan # later\nstate: active\n", Put(("plan",), "v")) == "? plan # later\n: v\nstate: active\n"
    assert after("{plan, state: active}", Put(("plan",), "v")) == "{plan: v, state: active}"


def test_a_text_that_would_swallow_what_follows_is_left_to_a_person():
    text = "plan: |\n  x\nstate: active\n  # this line would become part of the plan\ncell: main\n"
    with pytest.raises(
        EditError, match=r"^tenants/acme\.yaml: state cannot be changed without touching the lines around it\. .* by hand\.$"
    ):
        after(text, Drop(("state",)))


@pytest.mark.parametrize("text", ["plan: x\nplan: y\n", "plan: [x\n", "plan: &a x\n", "", "- a\n", "plan: no\n"])
def test_a_file_that_is_no_plain_yaml_is_not_touched(text: str):
    with pytest.raises(SpecError, match=r"tenants/acme\.yaml:"):
        after(text, Put(("plan",), "v"))


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\x7f", "\u200b", "\u202e", "\u2028", "\ufeff", "\udc80"])
def test_what_cannot_be_seen_is_never_written(char: str):
    for edit in (Put(("plan",), f"a{char}b"), Put((f"a{char}b",), "x"), Put(("env",), {f"A{char}": "x"}), Add(("members",), f"a{char}b")):
        with pytest.raises(EditError, match=f"would hold U\\+{ord(char):04X}, a control character") as caught:
            after(FILE, edit)
        assert str(caught.value).isprintable()


def test_nothing_is_put_below_a_text_and_no_item_into_one():
    with pytest.raises(EditError, match="plan is no mapping"):
        after(FILE, Put(("plan", "name"), "x"))
    with pytest.raises(EditError, match="plan is no list"):
        after(FILE, Add(("plan",), "x"))


def test_a_file_cannot_be_edited_into_one_that_is_not_read():
    with pytest.raises(SpecError, match=r"yaml\.depth"):
        after(FILE, Put(tuple("abcdefghijklmnop"), "x"))


def test_a_python_without_libyaml_edits_the_same(monkeypatch: pytest.MonkeyPatch):
    edits = [
        Put(("owner", "name"), "x y"),
        Remove(("members",), "ana@acme.example"),
        Drop(("instances", "main", "memory_mb")),
        Put(("env", "A"), "b"),
    ]
    fast = after(FILE, *edits)
    monkeypatch.setattr("rowhouse.spec.document.LOADER", yaml.SafeLoader)
    monkeypatch.setattr("rowhouse.spec.layout.LOADER", yaml.SafeLoader)
    assert after(FILE, *edits) == fast
