"""JSON pointers (RFC 6901) into the arguments of a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue
from actfor.wire.rar.values import MAX_TEXT

_POINTER: Final = re.compile(r"(?:/(?:[^~/\x00-\x1f]|~[01])*)+")

ABSENT: Final = object()
"""What ``resolve`` answers where there is nothing: no JSON value is it."""


def require_pointer(pointer: str) -> None:
    """Refuse what does not name a place below the root.

    Raises:
        Refused: MALFORMED.
    """
    if len(pointer) > MAX_TEXT or not _POINTER.fullmatch(pointer):
        shown = pointer[:80].encode("unicode_escape").decode("ascii")
        raise Refused(Kind.MALFORMED, f"`{shown}` is not a JSON pointer such as `/amount`")


def member_pointer(pointer: str, name: str) -> str:
    """The pointer to a member of what is at ``pointer``, whatever signs its name has (§3)."""
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def resolve(arguments: Mapping[str, JsonValue], pointer: str) -> object:
    """The value at a pointer, or ``ABSENT``."""
    here: object = arguments
    for token in pointer[1:].split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(here, Mapping):
            here = here.get(name, ABSENT)
        elif isinstance(here, list | tuple) and name.isascii() and name.isdecimal():
            plain = name == "0" or not name.startswith("0")
            index = int(name) if plain and len(name) < 8 else len(here)
            here = here[index] if index < len(here) else ABSENT
        else:
            return ABSENT
    return here
