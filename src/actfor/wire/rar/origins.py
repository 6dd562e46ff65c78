"""Where a value came from, and the limit that says where it must come from.

The agent never says where it has a value from: the gateway has seen the results that went to the
agent, and finds the value there. What it has not seen has no origin, and satisfies no source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue, canonical, digest

LABELS: Final = frozenset({"user", "trusted", "untrusted"})
"""Whose words a value is: the person's, a system of record's, anyone's. Unknown is untrusted."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One place where the gateway saw a value before: the call whose result held it.

    For what the person said, ``label`` is `user` and there is no server. ``arguments`` are those of
    that call.
    """

    label: str
    server: str = ""
    tool: str = ""
    arguments: Mapping[str, JsonValue] = field(default_factory=lambda: _NOTHING)


_NOTHING: Final[Mapping[str, JsonValue]] = MappingProxyType({})

Origins: TypeAlias = Mapping[str, Sequence[Origin]]
"""Origins by the pointer (RFC 6901) of the scalar that was traced: `/to`, `/to/0`."""


@dataclass(frozen=True, slots=True)
class Where:
    """The place in the arguments at which a value is looked at, and what is known of origins."""

    pointer: str
    origins: Origins

    def element(self, index: int) -> Where:
        """The place of one element of a list."""
        return Where(f"{self.pointer}/{index}", self.origins)

    @property
    def seen(self) -> Sequence[Origin]:
        """Where the value at this place was seen."""
        return self.origins.get(self.pointer, ())


NOWHERE: Final = Where("", MappingProxyType({}))
"""Nothing is known of origins: at exchange, for a foreign enforcement point."""


@dataclass(frozen=True, slots=True)
class Take:
    """A value that one ``from`` limit let through. At most ``most`` different ones may be.

    ``limit`` names the limit within its grant, ``value`` is the digest of the value.
    """

    limit: str
    value: str
    most: int


def take(pointer: str, limit: JsonValue, value: JsonValue, most: int) -> Take:
    """The taking of ``value`` through a limit whose wire form is ``limit``, at ``pointer``."""
    return Take(digest([pointer, limit]), digest(_folded(value)), most)


def _folded(value: JsonValue) -> JsonValue:
    """Spellings of one value count once: `DE02 1203` and `de021203`. Tighter would only annoy."""
    if isinstance(value, str):
        return "".join(value.split()).casefold()
    return canonical(value).decode()


def malformed(detail: str) -> Refused:
    """A limit that cannot be read."""
    return Refused(Kind.MALFORMED, detail)
