"""Reading JSON of our own making quickly: bytes that encode back to themselves.

What is read and written back without a difference has no member twice, no blank, no other escape
and no other number than it shows, so it has one reading; with sorted members it is RFC 8785's form.
Whatever might be read in two ways all the same (floats, integers that a double does not hold, text
beyond the basic plane, deep nesting) is left to the strict readers: the answer is None.

By orjson, or by the standard library where the thin installation has no orjson.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from json import JSONDecoder, JSONEncoder
from typing import Final, TypeAlias, cast

from actfor.wire.canonical import MAX_DEPTH, MAX_INTEGER, JsonObject

_Codec: TypeAlias = tuple[
    Callable[[bytes], object], Callable[[object], bytes], Callable[[object], bytes]
]

_ASTRAL: Final = re.compile(rb"[\xf0-\xff]")


def sorted_object(data: bytes) -> JsonObject | None:
    """The object whose RFC 8785 bytes these are; None where there is any doubt."""
    return _read(data, _SORTED)


def compact_object(data: bytes) -> JsonObject | None:
    """The same for members in any order."""
    return _read(data, _AS_IS)


def standard_codec() -> _Codec:
    """Decode, encode sorted, encode as it is: what orjson does, by the standard library."""
    decoder = JSONDecoder()
    ordered, as_is = (
        JSONEncoder(ensure_ascii=False, sort_keys=sort, separators=(",", ":"))
        for sort in (True, False)
    )
    return (
        lambda data: decoder.decode(data.decode()),
        lambda value: ordered.encode(value).encode(),
        lambda value: as_is.encode(value).encode(),
    )


def _codec() -> _Codec:
    try:
        import orjson
    except ImportError:
        return standard_codec()
    as_is = orjson.OPT_STRICT_INTEGER
    ordered = as_is | orjson.OPT_SORT_KEYS
    return (
        orjson.loads,
        lambda value: orjson.dumps(value, option=ordered),
        lambda value: orjson.dumps(value, option=as_is),
    )


def _read(data: bytes, encode: Callable[[object], bytes]) -> JsonObject | None:
    if not data.isascii() and _ASTRAL.search(data):
        return None  # four-byte characters sort otherwise in UTF-16
    try:
        value = _DECODE(data)
        same = encode(value) == data
    except (ValueError, TypeError, RecursionError):  # not JSON, or not to be encoded
        return None
    if not same or type(value) is not dict or not _is_plain(value, MAX_DEPTH):
        return None
    return cast("JsonObject", value)


def _is_plain(value: dict[str, object] | list[object], depth: int) -> bool:
    """No floats, no large integers, not too deep."""
    for member in value.values() if type(value) is dict else value:
        kind = type(member)
        if kind is str:
            continue
        if kind is dict or kind is list:
            if not depth or not _is_plain(member, depth - 1):  # type: ignore[arg-type] # by its kind
                return False
        elif kind is float or (kind is int and not -MAX_INTEGER <= member <= MAX_INTEGER):  # type: ignore[operator] # by its kind
            return False
    return True


_DECODE, _SORTED, _AS_IS = _codec()
