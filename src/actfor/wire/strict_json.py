"""JSON as RFC 7493 (I-JSON) has it: one reading of each document, or none.

Parsers disagree about duplicate members, huge numbers and broken Unicode, and each
disagreement is a way to show one document to the check and another to the action.
Everything that comes from outside is parsed here, before any verifier looks at it.
"""

from __future__ import annotations

import math
from json import JSONDecodeError, JSONDecoder
from typing import NoReturn, cast

from actfor.errors import Kind, Refused
from actfor.wire.canonical import MAX_INTEGER, JsonObject, JsonValue

_MAX_INTEGER_DIGITS = 17  # a sign and the sixteen digits of 2**53


def loads(data: bytes, *, max_depth: int = 32) -> JsonValue:
    """Parse one JSON document.

    Does not limit the size of ``data``; whoever reads it from the network does.

    Raises:
        Refused: MALFORMED for a syntax error, bad UTF-8, a byte order mark, a duplicate member,
            NaN or Infinity, an integer beyond ±(2^53-1), a number too large for a double,
            a lone surrogate, or nesting deeper than ``max_depth``.
    """
    try:
        text = data.decode()
        value = _DECODER.decode(text)
    except UnicodeDecodeError as cause:
        raise _malformed("the document is not UTF-8") from cause
    except JSONDecodeError as cause:
        raise _malformed(f"the document is not JSON at character {cause.pos}") from cause
    except RecursionError as cause:
        raise _malformed("the document is nested too deeply") from cause
    # Only a document with that many brackets can be too deep, only one with escapes can hold
    # a surrogate; most have neither and are not walked a second time.
    if data.count(b"{") + data.count(b"[") > max_depth or b"\\u" in data:
        _check(value, max_depth)
    return cast("JsonValue", value)


def load_object(data: bytes, *, max_depth: int = 32) -> JsonObject:
    """Parse one JSON document that must be an object; raises as ``loads`` does."""
    value = loads(data, max_depth=max_depth)
    if not isinstance(value, dict):
        raise _malformed("the document is not a JSON object")
    return cast("JsonObject", value)


def _malformed(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _malformed(f"duplicate member {_shown(twice)}")
    return members


def _shown(name: str) -> str:
    """A caller's text inside a one-line message: short, and visible whatever it holds."""
    return f"`{name[:64].encode('unicode_escape').decode('ascii')}`"


def _integer(digits: str) -> int:
    if len(digits) > _MAX_INTEGER_DIGITS or abs(value := int(digits)) > MAX_INTEGER:
        raise _malformed("an integer is beyond 2^53-1")
    return value


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _malformed("a number is too large for a double")
    return value


def _constant(name: str) -> NoReturn:
    raise _malformed(f"`{name}` is not JSON")


def _check(value: object, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value)
    elif isinstance(value, dict):
        if depth == 0:
            raise _malformed("the document is nested too deeply")
        for name, member in value.items():
            _check(name, depth)
            _check(member, depth - 1)
    elif isinstance(value, list):
        if depth == 0:
            raise _malformed("the document is nested too deeply")
        for item in value:
            _check(item, depth - 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise _malformed("a string holds a lone surrogate") from cause


_DECODER = JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_number,
    parse_constant=_constant,
)
