"""Property values as Pulumi sends them, turned into plain Python and back.

Does: unknowns, secrets, resource references, output values, whole numbers. Does not: assets and archives, which no resource
here takes. Source: Pulumi's provider protocol (google.protobuf.Struct with signature keys), SDK 3.272, 2026-11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "GRPC_OPTIONS",
    "SIGNATURE",
    "UNKNOWN",
    "ResourceRef",
    "Secret",
    "Unknown",
    "decode",
    "encode",
    "has_secret",
    "has_unknown",
    "plain",
]

SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
"""A struct with this key is a special value; the string under it says which."""
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  # a protocol constant
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_REFERENCE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
_FILES: Final = frozenset({"c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"})

_UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS: Final = frozenset(
    {
        _UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
    }
)

_EXACT: Final = 2**53
"""Whole numbers beyond this lose digits in a double."""

GRPC_OPTIONS: Final[list[tuple[str, int]]] = [
    ("grpc.max_send_message_length", 400 * 1024 * 1024),
    ("grpc.max_receive_message_length", 400 * 1024 * 1024),
    ("grpc.max_metadata_size", 16 * 1024 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024 * 1024),
]
"""Limits of both ends: messages as Pulumi's own processes have them (400 MB), and trailers as its Go client has them, because
a partial creation travels in a trailer and gRPC's default of 8 KB would lose it."""


class Unknown:
    """A value that is not known before the change is made; there is one, `UNKNOWN`."""

    _only: ClassVar[Any] = None

    def __new__(cls) -> Self:
        if cls._only is None:
            cls._only = super().__new__(cls)
        only: Self = cls._only
        return only

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        # An unknown that is silently taken for "set" or "not set" hides a mistake; callers compare with `is`.
        raise TypeError("an unknown value is neither true nor false: compare with `is UNKNOWN`")

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Unknown:
        return self

    def __reduce__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that must not be shown; it may itself be UNKNOWN."""

    value: Any

    def __repr__(self) -> str:
        return "[secret]"


@dataclass(frozen=True)
class ResourceRef:
    """A resource passed as a value; `id` is None for a component and UNKNOWN before it exists."""

    urn: str
    id: Any | None
    version: str = ""


def decode(struct: Struct) -> dict[str, Any]:
    """The properties of a message as plain Python.

    Engine keys (starting with two underscores) are dropped, whole numbers become `int`, dependencies of output values are forgotten.
    Raises: ValueError for assets, archives and signatures this code does not know.
    """
    return {key: _decode(value) for key, value in struct.fields.items() if not key.startswith("__")}


def _decode(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in _UNKNOWNS else text
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        fields = value.struct_value.fields
        return _special(value.struct_value) if SIGNATURE in fields else decode(value.struct_value)
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    return None


def _special(struct: Struct) -> Any:
    fields = struct.fields
    signature = fields[SIGNATURE].string_value
    if signature == _SECRET:
        inner = _decode(fields["value"]) if "value" in fields else None
        return inner if isinstance(inner, Secret) else Secret(inner)
    if signature == _OUTPUT:
        inner = _decode(fields["value"]) if "value" in fields else UNKNOWN
        secret = "secret" in fields and fields["secret"].bool_value
        return Secret(inner) if secret and not isinstance(inner, Secret) else inner
    if signature == _REFERENCE:
        ref_id = _decode(fields["id"]) if "id" in fields else None
        version = fields["packageVersion"].string_value if "packageVersion" in fields else ""
        return ResourceRef(fields["urn"].string_value, UNKNOWN if ref_id == "" else ref_id, version)
    if signature in _FILES:
        raise ValueError("assets and archives are not supported as property values; pass text or a path as a string")
    raise ValueError(f"a property value has the unknown signature {signature}")


def encode(mapping: Mapping[str, Any]) -> Struct:
    """Plain Python as the properties of a message; the reverse of `decode`.

    Raises: ValueError for whole numbers that a double cannot hold, TypeError for values that have no form on the wire (a Decimal, a date).
    """
    struct = Struct()
    for key, value in mapping.items():
        _encode(value, struct.fields[key], key)
    return struct


def _encode(value: Any, out: Value, where: str) -> None:
    if value is UNKNOWN:
        out.string_value = _UNKNOWN_STRING
    elif isinstance(value, str):
        out.string_value = value
    elif isinstance(value, bool):  # before int: a bool is one
        out.bool_value = value
    elif isinstance(value, int):
        if abs(value) > _EXACT:
            raise ValueError(f"{where}: the number {value} does not fit a double exactly; send it as a string")
        out.number_value = value
    elif isinstance(value, float):
        out.number_value = value
    elif value is None:
        out.null_value = NullValue.NULL_VALUE
    elif isinstance(value, Secret):
        fields = out.struct_value.fields
        fields[SIGNATURE].string_value = _SECRET
        _encode(value.value, fields["value"], where)
    elif isinstance(value, ResourceRef):
        fields = out.struct_value.fields
        fields[SIGNATURE].string_value = _REFERENCE
        fields["urn"].string_value = value.urn
        if value.id is not None:
            _encode(value.id, fields["id"], where)
        if value.version:
            fields["packageVersion"].string_value = value.version
    elif isinstance(value, dict):
        out.struct_value.CopyFrom(Struct())  # an empty map is a map, not a null
        for key, item in value.items():
            _encode(item, out.struct_value.fields[str(key)], f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        out.list_value.CopyFrom(ListValue())
        for index, item in enumerate(value):
            _encode(item, out.list_value.values.add(), f"{where}[{index}]")
    else:
        raise TypeError(f"{where}: a {type(value).__name__} has no form on the wire; send it as a string")


def plain(value: Any) -> Any:
    """The same value without its secret wrappers, at every depth."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Whether an unknown lies anywhere inside."""
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, ResourceRef):
        return value.id is UNKNOWN
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


def has_secret(value: Any) -> bool:
    """Whether a secret lies anywhere inside."""
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_secret(item) for item in value)
    return isinstance(value, Secret)
