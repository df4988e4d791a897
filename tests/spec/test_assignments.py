"""Words of a command become what the schema of their keys says, not what they look like."""

from __future__ import annotations

import pytest

from rowhouse.spec.assignments import assigned, assignments_in
from rowhouse.spec.edit import EditError
from rowhouse.spec.source import Source

FILE = "owner: {email: ops@acme.example}\nplan: aether/pro\n"


def after(*words: str, unset: tuple[str, ...] = (), text: str = FILE) -> str:
    return assigned(Source("acme", "tenants/acme.yaml", text), assignments_in(words, unset))


@pytest.mark.parametrize(
    ("word", "added"),
    [
        ("env.PORT=8080", 'env:\n  PORT: "8080"\n'),
        ("env.MODE=on", 'env:\n  MODE: "on"\n'),
        ("env.PRICE=20.00", 'env:\n  PRICE: "20.00"\n'),
        ("env.DAY=2026-11-01", 'env:\n  DAY: "2026-11-01"\n'),
        ("env.URL=https://a.example/?b=c", 'env:\n  URL: "https://a.example/?b=c"\n'),
        ("env.EMPTY=", 'env:\n  EMPTY: ""\n'),
        ("env.TEXT=a\nb: c", 'env:\n  TEXT: "a\\nb: c"\n'),
        ("secrets.KEY=env:ACME_KEY", "secrets:\n  KEY: env:ACME_KEY\n"),
        ("instances.main.memory_mb=2048", "instances:\n  main: {memory_mb: 2048}\n"),
        ("instances.main.memory_mb=2G", 'instances:\n  main: {memory_mb: "2G"}\n'),
        ("instances.main.hostname=1e3", 'instances:\n  main: {hostname: "1e3"}\n'),
        ("state=suspended", "state: suspended\n"),
        ("members=a@x.example, B@x.example", "members: [a@x.example, B@x.example]\n"),
    ],
)
def test_the_key_says_whether_it_is_a_number_a_text_or_a_list(word: str, added: str):
    assert after(word) == FILE + added


def test_another_member_does_not_take_the_owners_place():
    assert after("members+=bo@acme.example") == FILE + "members: [ops@acme.example, bo@acme.example]\n"
    assert after("members+=OPS@acme.example") == FILE


def test_another_instance_does_not_take_mains_place():
    assert after("instances.lab.memory_mb=256") == FILE + "instances:\n  main: {}\n  lab: {memory_mb: 256}\n"
    assert after("instances.lab={}", text=FILE + "instances: {one: {}}\n") == FILE + "instances: {one: {}, lab: {}}\n"


def test_letters_case_does_not_tell_members_apart():
    text = FILE + "members: [Ana@acme.example, bo@acme.example]\n"
    assert after("members+=ana@acme.example", text=text) == text
    assert after("members-=ana@ACME.example", text=text) == FILE + "members: [bo@acme.example]\n"


def test_taking_out_somebody_who_is_not_a_member_is_refused_since_access_would_stay():
    with pytest.raises(EditError, match=r"'ann@acme\.example' is not in members\. Did you mean 'ana@acme\.example'\?"):
        after("members-=ann@acme.example", text=FILE + "members: [ana@acme.example]\n")


def test_with_the_last_variable_goes_its_mapping():
    text = FILE + "env:\n  A: x1\n  # the other\n  B: x2\n"
    assert after(unset=("env.A",), text=text) == FILE + "env:\n  # the other\n  B: x2\n"
    assert after(unset=("env.A", "env.B"), text=text) == FILE
    assert after(unset=("env.C", "members", "instances.lab"), text=text) == text


def test_an_instance_without_keys_of_its_own_stays_an_instance():
    assert after(unset=("instances.lab.cpus",), text=FILE + "instances: {lab: {cpus: 1}}\n") == FILE + "instances: {lab: {}}\n"


@pytest.mark.parametrize(
    ("words", "unset", "told"),
    [
        (["memmbers+=x"], (), r"unknown key 'memmbers'\. Did you mean 'members'\?"),
        (["instances.main.memmory_mb=1"], (), r"unknown key 'memmory_mb' in instances\.main\. Did you mean 'memory_mb'\?"),
        ([], ("evn.A",), r"unknown key 'evn'\. Did you mean 'env'\?"),
        (["plan.name=x"], (), "plan holds no further keys"),
        (["members.0=x"], (), "members holds no further keys"),
        (["owner=x"], (), r"owner is a mapping\. Allowed: owner\.KEY=VALUE"),
        (["plan+=x"], (), "plan is no list"),
        (["env.A=x", "env.A=y"], (), "env.A is changed twice"),
        (["env.A=x"], ("env.A",), "env.A is changed twice"),
        (["env..A=x"], (), "is no key"),
        (["=x"], (), "is no key"),
        (["plan=a/b", "sk_live_0123456789"], (), "change 2 has no `=`"),
    ],
)
def test_words_that_are_no_change_are_refused_without_their_values(words: list[str], unset: tuple[str, ...], told: str):
    with pytest.raises(EditError, match=told) as caught:
        after(*words, unset=unset)
    assert "sk_live" not in str(caught.value)
    assert str(caught.value).endswith(".")
