"""What is remembered: properties, secrets, journal, checkpoint, lock."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowhouse.engine import journal
from rowhouse.engine.checkpoint import check, ordered
from rowhouse.engine.errors import Locked, PassphraseError, ProjectError, StateError, Unsupported
from rowhouse.engine.locks import StackLock, read_holder
from rowhouse.engine.properties import decode, encode, from_json, mark_like, redacted, same, to_json
from rowhouse.engine.secrets import SecretsManager, find_passphrase
from rowhouse.engine.state import State, from_document, to_document
from rowhouse.wire.values import SIGNATURE, UNKNOWN, ResourceRef, Secret

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x != int(x)),
    st.text(max_size=20),
)  # fmt: skip
KEYS = st.text(min_size=1, max_size=8).filter(lambda key: key != SIGNATURE)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3), inner.map(lambda v: Secret(bare_of(v)))),
    max_leaves=12,
)


def bare_of(value: Any) -> Any:
    return value.value if isinstance(value, Secret) else value


# -- properties -------------------------------------------------------------------------------------------------------------------------


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_value_survives_the_wire_and_the_state_file(value: dict[str, Any]) -> None:
    assert same(decode(encode(value)), value)
    text = json.dumps(to_json(value, lambda plain: plain))
    assert same(from_json(json.loads(text), lambda sealed: sealed), value)


def test_unknowns_and_references_survive_the_wire() -> None:
    value = {"a": UNKNOWN, "b": Secret(UNKNOWN), "c": ResourceRef("urn:x", "id-1"), "d": ResourceRef("urn:y", None), "__defaults": []}
    assert decode(encode(value)) == value


def test_a_provider_without_secrets_or_references_gets_plain_values() -> None:
    value = {"a": Secret({"deep": 1}), "b": ResourceRef("urn:x", "id-1"), "c": ResourceRef("urn:y", None)}
    assert decode(encode(value, secrets=False, references=False)) == {"a": {"deep": 1}, "b": "id-1", "c": "urn:y"}


def test_assets_are_refused_by_name() -> None:
    asset = {"file": {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "x"}}
    with pytest.raises(Unsupported, match="assets"):
        decode(encode(asset))


def test_an_echo_of_a_secret_input_is_marked_again() -> None:
    outputs: dict[str, Any] = {"plain": "a", "hidden": "b", "map": {"x": 1, "y": "c"}, "list": [1, "d"]}
    mark_like(outputs, {"plain": "a", "hidden": Secret("b"), "map": {"y": Secret("c")}, "list": [Secret("d")]})
    assert outputs == {"plain": "a", "hidden": Secret("b"), "map": {"x": 1, "y": Secret("c")}, "list": Secret([1, "d"])}


def test_a_truth_value_is_not_a_number() -> None:
    assert not same({"a": True}, {"a": 1})
    assert same({"a": 1}, {"a": 1.0})


def test_nothing_secret_is_shown() -> None:
    assert redacted({"a": Secret("x"), "b": [UNKNOWN], "c": ResourceRef("urn", "id")}) == {"a": "[secret]", "b": ["[unknown]"], "c": "id"}


# -- secrets ----------------------------------------------------------------------------------------------------------------------------


def test_a_salt_and_ciphertext_that_the_cli_made_are_opened() -> None:
    salt = "v1:W2nCY6HEfdU=:v1:N3sFcYv0wGL//cEw:AKonMyh4pKobXUD4yNlkUG5ltHE24A=="  # Pulumi 3.260, 2026-11
    assert SecretsManager("correct horse", salt).decrypt("v1:qwRyXdD78itVAeYa:y/fnY74Xfg0zTq3lXX8nFYoxufI=", "config") == "hush"


def test_a_wrong_passphrase_is_told_so() -> None:
    salt = SecretsManager("right").salt
    with pytest.raises(PassphraseError, match="incorrect passphrase"):
        SecretsManager("wrong", salt).encrypt("x", "urn")


def test_an_unchanged_secret_keeps_its_ciphertext_but_only_within_its_resource() -> None:
    first = SecretsManager("p")
    sealed = first.encrypt("hush", "a")
    again = SecretsManager("p", first.salt)
    assert again.decrypt(sealed, "a") == "hush"
    assert again.encrypt("hush", "a") == sealed
    assert again.encrypt("hush", "b") != sealed


def test_the_passphrase_comes_from_the_environment_a_file_or_a_key_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text("from a file\n")
    assert find_passphrase(tmp_path, {"PULUMI_CONFIG_PASSPHRASE": ""}) == ""
    assert find_passphrase(tmp_path, {"PULUMI_CONFIG_PASSPHRASE_FILE": str(tmp_path / "phrase")}) == "from a file"
    generated = find_passphrase(tmp_path / "new", {})
    assert generated == find_passphrase(tmp_path / "new", {})
    assert len(generated) >= 32
    assert (tmp_path / "new" / "passphrase").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ProjectError, match="cannot be read"):
        find_passphrase(tmp_path, {"PULUMI_CONFIG_PASSPHRASE_FILE": str(tmp_path / "absent")})


# -- journal ----------------------------------------------------------------------------------------------------------------------------


def written(path: Path, entries: list[dict[str, Any]], base: int = 3) -> journal.Journal:
    async def write() -> journal.Journal:
        book = journal.Journal(path, base, [])
        await asyncio.gather(*(book.append(entry) for entry in entries))
        await book.close()
        return book

    return asyncio.run(write())


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, [{"n": 1}, {"n": 2}])
    assert journal.read(path, 3) == [{"n": 1}, {"n": 2}]


def test_a_journal_of_an_older_checkpoint_is_void(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, [{"n": 1}])
    assert journal.read(path, 4) == []
    assert journal.read(tmp_path / "absent", 0) == []


@pytest.mark.parametrize("cut", range(1, 20, 3))
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    written(path, [{"n": 1}, {"n": "two two two"}])
    path.write_bytes(path.read_bytes()[:-cut])
    assert journal.read(path, 3) == [{"n": 1}]


def test_a_last_line_of_garbage_is_dropped_but_one_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, [{"n": 1}])
    good = path.read_bytes()
    path.write_bytes(good + b"garbage\n")
    assert journal.read(path, 3) == [{"n": 1}]
    text = b'{"n":2}'
    path.write_bytes(good + b"garbage\n" + b"%08x %s\n" % (zlib.crc32(text), text))
    with pytest.raises(StateError, match="line 3 is damaged"):
        journal.read(path, 3)


def test_a_continued_journal_holds_the_old_entries_and_no_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, [{"n": 1}])
    with path.open("ab") as file:
        file.write(b"torn")

    async def more() -> None:
        book = journal.Journal(path, 3, journal.read(path, 3))
        await book.append({"n": 2})
        await book.close()

    asyncio.run(more())
    assert journal.read(path, 3) == [{"n": 1}, {"n": 2}]


def test_entries_that_arrive_together_are_flushed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (flushes.append(descriptor), real(descriptor))[1])
    written(tmp_path / "j", [{"n": number} for number in range(200)])
    assert len(flushes) < 20


def test_a_disk_that_refuses_fails_this_entry_and_every_later_one(tmp_path: Path) -> None:
    async def write() -> None:
        book = journal.Journal(tmp_path / "absent" / "j", 0, [])
        for _ in range(2):
            with pytest.raises(StateError, match="cannot be written"):
                await book.append({"n": 1})
        await book.close()

    asyncio.run(write())


# -- checkpoint -------------------------------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_everything_comes_after_what_it_stands_on(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    states = [State(f"urn:pulumi:s::p::t::{index}", "t", custom=True) for index in range(count)]
    for index, state in enumerate(states):
        state.dependencies = [states[below].urn for below in data.draw(st.sets(st.integers(0, index - 1)))] if index else []
    shuffled = data.draw(st.permutations(states))
    result = list(ordered(shuffled))
    place = {state.urn: index for index, state in enumerate(result)}
    assert sorted(place) == sorted(state.urn for state in states)
    assert all(place[urn] < place[state.urn] for state in states for urn in state.dependencies)


def test_a_chain_of_thousands_is_ordered_without_recursion() -> None:
    states = [State(f"u::::::{index}", "t", custom=True, dependencies=[f"u::::::{index + 1}"]) for index in range(5000)]
    assert next(iter(ordered(states))).urn == "u::::::4999"


def test_a_document_keeps_what_this_engine_does_not_know() -> None:
    document = {"urn": "u", "custom": True, "type": "t", "id": "i", "taint": True, "dependencies": ["x"], "inputs": {"a": 1}}
    assert to_document(from_document(document, lambda text: text), lambda text: text) == document


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "not a deployment"),
        ({"version": 4, "deployment": {}}, "version 4"),
        ({"version": 3, "deployment": {"secrets_providers": {"type": "awskms"}}}, "awskms"),
    ],
)
def test_a_document_of_another_kind_is_refused(document: Any, why: str) -> None:
    with pytest.raises(StateError, match=why):
        check(document, "it")


# -- lock -------------------------------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from rowhouse.engine.locks import StackLock
with StackLock(Path(sys.argv[1]), "rowhouse up"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_engine_is_refused_with_the_holders_name_until_the_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=rf"process {holder.pid} of .* since .*Z \(rowhouse up\)"), StackLock(path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    with StackLock(path, "me"):
        found = read_holder(path)
        assert found is not None
        assert (found.pid, found.command) == (os.getpid(), "me")
    assert read_holder(path) is None
