"""The values of a call: each scalar of its arguments with its pointer, and what is inside of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from actfor.authorization.intent import HARD, SinkType, normal, parameter_type, typed
from actfor.authorization.intent.text import MAX_TEXT, words
from actfor.authorization.intent.values import is_passcode
from actfor.gateway.sql import spelled
from actfor.wire.canonical import JsonValue
from actfor.wire.rar import member_pointer

MAX_SLOTS: Final = 256


FILLED: Final = frozenset({SinkType.RECIPIENT, SinkType.ACCOUNT, SinkType.URL})


def slots(
    arguments: JsonValue, sinks: Mapping[str, SinkType]
) -> Iterator[tuple[str, SinkType, str]]:
    """Every scalar of the arguments: its pointer, its type, its text. Of booleans only a switch
    that opens something says anything: it is a permission by its name.
    """
    yield from _slots(arguments, "", "", sinks, SinkType.OTHER)


def _slots(
    value: JsonValue, pointer: str, rule: str, sinks: Mapping[str, SinkType], kind: SinkType
) -> Iterator[tuple[str, SinkType, str]]:
    kind = sinks.get(rule, kind)
    if isinstance(value, dict):
        for name, part in value.items():
            here, below = member_pointer(pointer, name), member_pointer(rule, name)
            if below in sinks:
                yield from _slots(part, here, below, sinks, kind)
                continue
            # No definition has this member: its name may be data, and says what its value is for.
            if (named := _name_as_data(name, kind)) is not None:
                yield here, named, name
            yield from _slots(part, here, below, sinks, _undefined(name, part, kind))
    elif isinstance(value, list | tuple):
        for position, part in enumerate(value):
            below = f"{rule}/*" if f"{rule}/*" in sinks or isinstance(part, dict) else rule
            yield from _slots(part, f"{pointer}/{position}", below, sinks, kind)
    elif isinstance(value, str):
        if value.strip():
            yield pointer, _as_address(value, kind), value
    elif value is True:
        name = pointer.rpartition("/")[2]
        if parameter_type(name, "", {}) is SinkType.PERMISSION or _OPENS & {*words(name)}:
            yield pointer, SinkType.PERMISSION, name
    elif value is not None and not isinstance(value, bool):
        yield pointer, kind, str(value)


def _as_address(value: str, kind: SinkType) -> SinkType:
    """A mail address where a name may stand as well (`username or email`) is an address."""
    if kind is not SinkType.NAME or "@" not in value:
        return kind
    whole = any(one.type is SinkType.RECIPIENT and one.key == normal(value) for one in typed(value))
    return SinkType.RECIPIENT if whole else kind


_OPENS: Final = frozenset("public anyone everyone anonymous admin owner root sudo".split())
"""What a switch is called that lets in more people than before."""


def _name_as_data(name: str, kind: SinkType) -> SinkType | None:
    """The type of a member's name where that is an address: `{"ann@corp.example": "admin"}`."""
    found = next((one.type for one in typed(name) if one.type in FILLED), None)
    return kind if found is None and kind in FILLED else found


def _undefined(name: str, part: JsonValue, kind: SinkType) -> SinkType:
    """What a member that no definition names is for; below a target it can only be one."""
    if kind in HARD:
        return kind
    guess = parameter_type(name, "", {"type": _json_type(part)})
    return SinkType.CODE if guess is SinkType.COMMAND and is_passcode(str(part)) else guess


def _json_type(part: JsonValue) -> str:
    if isinstance(part, bool):
        return "boolean"
    if isinstance(part, int | float):
        return "number"
    return "object" if isinstance(part, dict) else "string"


def slot_of(pointer: str) -> str:
    """The argument a pointer is in, whatever its place in a list."""
    return "/".join("*" if step.isdigit() else step for step in pointer.split("/"))


def is_id(pointer: str) -> bool:
    """Whether an argument is called an identifier."""
    named = [step for step in slot_of(pointer).split("/") if step != "*"]
    return bool(named) and words(named[-1])[-1:] in (["id"], ["ids"])


def within_command(value: str, sql: str | None) -> Iterator[tuple[SinkType, str]]:
    """Addresses, accounts and links inside of a command or, in a dialect of ``sql``, its strings.

    A string of SQL that is put together out of pieces is given as a KEY: nobody can say what it is.
    """
    pieces = [value[:MAX_TEXT]]
    if sql is not None:
        found = spelled(value, sql)
        pieces = list(found.strings)
        if found.assembled:
            yield SinkType.KEY, value
    for piece in pieces:
        for one in typed(piece):
            if one.type in FILLED:
                yield one.type, one.key


def inside(value: str) -> Iterator[tuple[SinkType, str]]:
    """Addresses and accounts inside of prose: they reach whoever reads it."""
    for found in typed(value[:MAX_TEXT]):
        if found.type in {SinkType.URL, SinkType.ACCOUNT}:
            yield found.type, found.key
