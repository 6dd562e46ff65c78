"""The values of a call: each scalar of its arguments with its pointer, and what is inside of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from actfor.authorization.intent import HARD, TARGET, SinkType, parameter_type, typed
from actfor.authorization.intent.text import MAX_TEXT, words
from actfor.authorization.intent.values import is_address, is_passcode
from actfor.gateway.sql import spelled
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import member_pointer

MAX_SLOTS: Final = 256


PAYER: Final = frozenset("from source payer debit sender own my card".split())
"""What an account is called that pays: it says nothing of who gets the money."""
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
    if kind is SinkType.RECIPIENT and _is_time(pointer, value):
        kind = SinkType.DATE
    if isinstance(value, dict):
        lasts = _lasts(value, rule, sinks)
        for name, part in value.items():
            here, below = member_pointer(pointer, name), member_pointer(rule, name)
            if below in sinks:
                when = lasts and sinks[below] is SinkType.NAME and _is_time(here, part)
                kinds = {**sinks, below: SinkType.DATE} if when else sinks
                yield from _slots(part, here, below, kinds, kind)
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
            yield pointer, _called(kind, value), value
    elif value is True:
        name = pointer.rpartition("/")[2]
        if parameter_type(name, "", {}) is SinkType.PERMISSION or _OPENS & {*words(name)}:
            yield pointer, SinkType.PERMISSION, name
    elif value is not None and not isinstance(value, bool):
        yield pointer, kind, str(value)


def _called(kind: SinkType, value: str) -> SinkType:
    """An address that stands for a name is whose it is."""
    return SinkType.RECIPIENT if kind is SinkType.NAME and is_address(value) else kind


def _is_time(pointer: str, value: JsonValue) -> bool:
    """Whether this is from or to when something lasts, and so nobody: `from 19:00 to 21:00`. What
    is known by its time is still called so: `cancel_slot(start="14:00")`.
    """
    when = not _WHEN.isdisjoint(words(pointer.rpartition("/")[2]))
    return when and isinstance(value, str) and _TIME.fullmatch(value) is not None


def _lasts(members: JsonObject, rule: str, sinks: Mapping[str, SinkType]) -> bool:
    """Whether there is from when, to when and what: then the times name nothing."""
    known = [(member_pointer(rule, name), part) for name, part in members.items()]
    times = [below for below, part in known if _is_time(below, part)]
    return len(times) > 1 and any(
        sinks.get(below) in TARGET for below, _ in known if below not in times
    )


_WHEN: Final = frozenset("from to start end until till at time begin since".split())
_TIME: Final = re.compile(r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?")


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
