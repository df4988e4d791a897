"""Property values between the wire, memory and the state file.

Does: gRPC structs and checkpoint JSON to plain Python and back, comparison, secret marks, redaction. Keeps keys starting with two
underscores, which bridged providers use inside inputs; `rowhouse.wire.decode`, made for providers, drops them. Does not: assets and
archives, refused by name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from rowhouse.engine.errors import Unsupported
from rowhouse.wire.values import SIGNATURE, UNKNOWN, ResourceRef, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  # a protocol constant
OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
REFERENCE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
FILES: Final = {"c44067f5952c0a294b673a41bacd8c17": "assets", "0def7320c3a5731c473e5ecbe6d01bc7": "archives"}
UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWN_TEXTS: Final = frozenset(
    {
        UNKNOWN_TEXT,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
    }
)
_EXACT: Final = 2**53

Properties = dict[str, Any]


def decode(struct: Struct) -> Properties:
    """The fields of a message; secrets, references and unknowns as the objects of `rowhouse.wire`. Raises: Unsupported for assets."""
    return {key: _decode(value) for key, value in struct.fields.items()}


def _decode(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in UNKNOWN_TEXTS else text
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        fields = value.struct_value.fields
        return _special(fields) if SIGNATURE in fields else decode(value.struct_value)
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    return None


def _special(fields: Mapping[str, Value]) -> Any:
    signature = fields[SIGNATURE].string_value
    if signature == SECRET:
        inner = _decode(fields["value"]) if "value" in fields else None
        return inner if isinstance(inner, Secret) else Secret(inner)
    if signature == OUTPUT:
        inner = _decode(fields["value"]) if "value" in fields else UNKNOWN
        hidden = "secret" in fields and fields["secret"].bool_value
        return Secret(inner) if hidden and not isinstance(inner, Secret) else inner
    if signature == REFERENCE:
        object_id = _decode(fields["id"]) if "id" in fields else None
        version = fields["packageVersion"].string_value if "packageVersion" in fields else ""
        return ResourceRef(fields["urn"].string_value, UNKNOWN if object_id == "" else object_id, version)
    raise Unsupported(FILES.get(signature, f"property values with the signature {signature}"))


def encode(properties: Mapping[str, Any], *, secrets: bool = True, references: bool = True) -> Struct:
    """The fields of a message. Without `secrets` values go without their marks; without `references` a resource goes as its id or URN."""
    struct = Struct()
    fields = struct.fields
    for key, value in properties.items():
        _encode(value, fields[key], secrets, references)
    return struct


def _encode(value: Any, out: Value, secrets: bool, references: bool) -> None:
    if isinstance(value, str):
        out.string_value = value
    elif value is UNKNOWN:
        out.string_value = UNKNOWN_TEXT
    elif isinstance(value, bool):  # before int: a bool is one
        out.bool_value = value
    elif isinstance(value, (int, float)):
        out.number_value = value
    elif value is None:
        out.null_value = NULL_VALUE
    elif isinstance(value, dict):
        out.struct_value.CopyFrom(Struct())  # an empty map is a map, not a null
        fields = out.struct_value.fields
        for key, item in value.items():
            _encode(item, fields[key], secrets, references)
    elif isinstance(value, (list, tuple)):
        out.list_value.CopyFrom(ListValue())
        values = out.list_value.values
        for item in value:
            _encode(item, values.add(), secrets, references)
    elif isinstance(value, Secret):
        if secrets:
            fields = out.struct_value.fields
            fields[SIGNATURE].string_value = SECRET
            _encode(value.value, fields["value"], secrets, references)
        else:
            _encode(value.value, out, secrets, references)
    elif isinstance(value, ResourceRef):
        if references:
            fields = out.struct_value.fields
            fields[SIGNATURE].string_value = REFERENCE
            fields["urn"].string_value = value.urn
            if value.id is not None:
                _encode(value.id, fields["id"], secrets, references)
            if value.version:
                fields["packageVersion"].string_value = value.version
        else:
            _encode(value.urn if value.id is None else value.id, out, secrets, references)
    else:
        raise TypeError(f"a {type(value).__name__} has no form on the wire")


def to_json(value: Any, seal: Callable[[str], str]) -> Any:
    """A value as it stands in a checkpoint; `seal` turns the JSON text of a secret into its ciphertext."""
    if isinstance(value, dict):
        return {key: to_json(item, seal) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item, seal) for item in value]
    if isinstance(value, Secret):
        inner = json.dumps(to_json(value.value, seal), separators=(",", ":"), ensure_ascii=False)
        return {SIGNATURE: SECRET, "ciphertext": seal(inner)}
    if isinstance(value, ResourceRef):
        reference: dict[str, Any] = {SIGNATURE: REFERENCE, "urn": value.urn}
        if value.id is not None:
            reference["id"] = UNKNOWN_TEXT if value.id is UNKNOWN else value.id
        if value.version:
            reference["packageVersion"] = value.version
        return reference
    return UNKNOWN_TEXT if value is UNKNOWN else value


def from_json(value: Any, unseal: Callable[[str], str]) -> Any:
    """The reverse of `to_json`; takes `plaintext` of an export with shown secrets too. Values of unknown signatures stay as they are."""
    if isinstance(value, dict):
        signature = value.get(SIGNATURE)
        if signature == SECRET:
            text = value["plaintext"] if "plaintext" in value else unseal(value["ciphertext"])
            return Secret(from_json(json.loads(text), unseal))
        if signature == REFERENCE:
            return ResourceRef(value["urn"], value.get("id"), value.get("packageVersion", ""))
        return {key: from_json(item, unseal) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item, unseal) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value


def same(left: Any, right: Any) -> bool:
    """Deep equality that keeps a truth value apart from a number."""
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(item, right[key]) for key, item in left.items())
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Secret):
        return isinstance(right, Secret) and same(left.value, right.value)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def mark_like(outputs: Properties, inputs: Mapping[str, Any]) -> None:
    """Mark in place as secret every output whose input of the same name holds a secret, recursively through maps.

    A provider that was told no secrets gives none back: without this its echo would be stored in the clear.
    """
    for key, wanted in inputs.items():
        if key not in outputs:
            continue
        got = outputs[key]
        if isinstance(got, dict) and isinstance(wanted, dict):
            mark_like(got, wanted)
        elif not isinstance(got, Secret) and _holds_secret(wanted):
            outputs[key] = Secret(bare(got))


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Secret):
        return True
    if isinstance(value, dict):
        return any(map(_holds_secret, value.values()))
    return isinstance(value, list) and any(map(_holds_secret, value))


def bare(value: Any) -> Any:
    """The value without secret marks at any depth."""
    if isinstance(value, Secret):
        return bare(value.value)
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return value


def redacted(value: Any) -> Any:
    """The value for showing: `[secret]` for a secret, `[unknown]` for what is not known yet, an id for a resource."""
    if isinstance(value, Secret):
        return "[secret]"
    if value is UNKNOWN:
        return "[unknown]"
    if isinstance(value, ResourceRef):
        return value.urn if value.id is None else redacted(value.id)
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def settled(value: Any, text: str) -> Any:
    """The value with every unknown in it replaced by a text."""
    if isinstance(value, dict):
        return {key: settled(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [settled(item, text) for item in value]
    if isinstance(value, Secret):
        return Secret(settled(value.value, text))
    return text if value is UNKNOWN else value
