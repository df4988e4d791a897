"""What Pulumi's property values become here, and that nothing is lost on the way back."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.wire.values import SIGNATURE, UNKNOWN, ResourceRef, Secret, decode, encode, has_secret, has_unknown, plain

SENTINELS = [
    "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer()),
    st.text(max_size=20),
    st.just(UNKNOWN),
    st.builds(
        ResourceRef,
        st.text(min_size=1, max_size=9),
        st.one_of(st.none(), st.just(UNKNOWN), st.text(min_size=1, max_size=9)),
        st.text(max_size=4),
    ),
)
keys = st.text(max_size=8).filter(lambda k: not k.startswith("__") and k != SIGNATURE)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        inner.filter(lambda v: not isinstance(v, Secret)).map(Secret),
    )


values = st.recursive(leaves, containers, max_leaves=12)


@given(st.dictionaries(keys, values, max_size=4))
def test_encoding_and_decoding_gives_the_same_properties(mapping: dict[str, Any]) -> None:
    again = decode(Struct.FromString(encode(mapping).SerializeToString()))
    assert again == mapping
    assert repr(again) == repr(mapping) or set(again) == set(mapping)  # bool stays bool, int stays int
    for key, value in mapping.items():
        assert type(again[key]) is type(value)


@pytest.mark.parametrize("sentinel", SENTINELS)
def test_each_of_the_seven_sentinels_is_unknown(sentinel: str) -> None:
    struct = Struct()
    struct["a"] = sentinel
    struct["b"] = [sentinel]
    assert decode(struct) == {"a": UNKNOWN, "b": [UNKNOWN]}


def test_an_unknown_cannot_be_taken_for_true_or_false() -> None:
    with pytest.raises(TypeError, match="is UNKNOWN"):
        bool(UNKNOWN)


def test_there_is_only_one_unknown() -> None:
    assert copy.deepcopy({"a": UNKNOWN})["a"] is UNKNOWN
    assert copy.copy(UNKNOWN) is UNKNOWN
    assert pickle.loads(pickle.dumps(UNKNOWN)) is UNKNOWN


def output_value(**fields: Any) -> Struct:
    struct = Struct()
    struct.update({"x": {SIGNATURE: "d0e6a833031e9bbcd3f4e8bde6ca49a4", **fields}})
    return struct


def test_an_output_value_is_its_value() -> None:
    assert decode(output_value(value="v", dependencies=["urn:a"])) == {"x": "v"}


def test_an_output_value_without_a_value_is_unknown() -> None:
    assert decode(output_value()) == {"x": UNKNOWN}


def test_a_secret_output_value_is_a_secret() -> None:
    assert decode(output_value(value=3, secret=True)) == {"x": Secret(3)}
    assert decode(output_value(secret=True)) == {"x": Secret(UNKNOWN)}


def test_the_engines_own_keys_are_dropped_at_every_depth() -> None:
    struct = Struct()
    struct.update({"__defaults": [], "a": {"__internal": {}, "b": 1}})
    assert decode(struct) == {"a": {"b": 1}}


@pytest.mark.parametrize("signature", ["c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"])
def test_assets_and_archives_are_refused(signature: str) -> None:
    struct = Struct()
    struct.update({"x": {SIGNATURE: signature, "text": "t"}})
    with pytest.raises(ValueError, match="assets and archives"):
        decode(struct)


def test_a_signature_of_the_future_is_refused_rather_than_passed_on() -> None:
    struct = Struct()
    struct.update({"x": {SIGNATURE: "beef"}})
    with pytest.raises(ValueError, match="beef"):
        decode(struct)


def test_a_component_reference_has_no_id_and_an_unborn_one_an_unknown() -> None:
    struct = Struct()
    struct.update(
        {
            "c": {SIGNATURE: "5cf8f73096256a8f31e491e813e4eb8e", "urn": "u"},
            "r": {SIGNATURE: "5cf8f73096256a8f31e491e813e4eb8e", "urn": "u", "id": ""},
        }
    )
    assert decode(struct) == {"c": ResourceRef("u", None), "r": ResourceRef("u", UNKNOWN)}


def test_a_number_that_a_double_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.b"):
        encode({"a": {"b": 2**53 + 1}})


def test_money_as_decimal_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"price: a Decimal"):
        encode({"price": Decimal("1.50")})


def test_a_secret_shows_nothing() -> None:
    assert "hunter2" not in repr({"a": [Secret("hunter2")]})
    assert str(Secret("hunter2")) == "[secret]"


def test_plain_strips_secrets_at_every_depth() -> None:
    assert plain({"a": Secret({"b": [Secret(1)]})}) == {"a": {"b": [1]}}


def test_unknowns_and_secrets_are_found_at_every_depth() -> None:
    assert has_unknown({"a": [Secret({"b": UNKNOWN})]})
    assert has_unknown([ResourceRef("u", UNKNOWN)])
    assert not has_unknown({"a": [Secret("x")], "b": "UNKNOWN"})
    assert has_secret({"a": [{"b": Secret(1)}]})
    assert not has_secret({"a": [1, None]})
