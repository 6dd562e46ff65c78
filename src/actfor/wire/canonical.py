"""Canonical JSON (RFC 8785, JCS) and the digest strings made from it.

Everything that is signed, hashed or compared as "the same" passes here, so that
two parties that parsed the same JSON hold the same bytes. A digest string is
``"sha-256:" + base64url(SHA-256(bytes))`` without padding, everywhere.

INVARIANT: ``canonical`` equals the reference implementation byte for byte; the quick
path is taken only for values on which a general encoder is proven equal (a property test
compares them): orjson, or the standard library's where the thin installation has no orjson.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from json import JSONEncoder
from json.encoder import encode_basestring
from typing import Any, TypeAlias, cast

import rfc8785

from actfor.errors import Kind, Refused
from actfor.wire.base64_text import base64url

JsonValue: TypeAlias = (
    "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
)
JsonObject: TypeAlias = Mapping[str, JsonValue]

MAX_INTEGER = 2**53 - 1
"""The largest magnitude every JSON implementation holds exactly (RFC 7493 §2.2)."""

MAX_DEPTH = 64
"""Deeper values are refused, before recursion could exhaust the stack."""

_LONG = 256
"""Characters of a text from which on the general encoder is quicker, by far for very long ones."""
_SCALARS = {str, bool, type(None)}
_CONTAINERS = {dict, list, tuple}


def _quick_encoder() -> Callable[[object], bytes]:
    """Sorted and compact. For plain values only: see ``_is_plain``."""
    try:
        import orjson
    except ImportError:
        return standard_encode
    return partial(orjson.dumps, option=orjson.OPT_SORT_KEYS)


def standard_encode(value: object) -> bytes:
    """What orjson does, by the standard library."""
    return _STANDARD.encode(value).encode()


_STANDARD = JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
)
_encode = _quick_encoder()


def canonical(value: JsonValue) -> bytes:
    """The RFC 8785 bytes of a JSON value.

    Accepts dicts with string keys, lists, tuples, strings, booleans, None, finite floats and
    integers up to ``MAX_INTEGER`` in magnitude, nested at most ``MAX_DEPTH`` deep.

    Raises:
        Refused: MALFORMED for anything else, lone surrogates included.
    """
    try:
        if type(value) is str and len(value) < _LONG:  # most of what is committed to
            return encode_basestring(value).encode()
        if _is_plain(value, MAX_DEPTH):
            return _encode(value)
        return rfc8785.dumps(cast("dict[str, object]", _as_builtin(value)))  # type: ignore[arg-type] # its alias names dict and list, ours Mapping and Sequence
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, TypeError) as cause:
        raise Refused(Kind.MALFORMED, "value has no canonical JSON form") from cause


def digest(value: JsonValue) -> str:
    """The digest string of a JSON value's canonical bytes."""
    return digest_bytes(canonical(value))


def digest_bytes(data: bytes) -> str:
    """The digest string of these bytes."""
    return "sha-256:" + base64url(sha256(data).digest())


def _is_plain(value: Any, depth: int) -> bool:  # Any: whatever was passed; it is told apart here
    """Whether a general encoder is equal to RFC 8785 on this value.

    No floats (their text differs), and ASCII member names only (RFC 8785 §3.2.3 sorts by
    UTF-16 code units, others by code points; they differ beyond the BMP).
    """
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is int:
        return bool(-MAX_INTEGER <= value <= MAX_INTEGER)
    if kind not in _CONTAINERS:
        return False
    if depth == 0:
        raise Refused(Kind.MALFORMED, "value is nested too deeply")
    if kind is dict:
        for name in value:
            if type(name) is not str or not name.isascii():
                return False
        value = value.values()
    for item in value:
        # Most of what is inside are scalars: asking here saves a call for each.
        inner = type(item)
        if inner in _SCALARS:
            continue
        if inner is int:
            if not -MAX_INTEGER <= item <= MAX_INTEGER:
                return False
        elif not _is_plain(item, depth - 1):
            return False
    return True


def _as_builtin(value: object, depth: int = MAX_DEPTH) -> object:
    """Mappings become dicts, sequences lists, subclasses of str and int the plain type."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if depth == 0:
        raise Refused(Kind.MALFORMED, "value is nested too deeply")
    if isinstance(value, Mapping):
        return {_name(name): _as_builtin(member, depth - 1) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_as_builtin(item, depth - 1) for item in value]
    raise Refused(Kind.MALFORMED, "value has no canonical JSON form")


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise Refused(Kind.MALFORMED, "a member name must be a string")
    return str.__str__(name)
