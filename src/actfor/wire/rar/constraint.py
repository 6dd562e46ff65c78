"""What an argument of a call may be: one closed set of checks, none of them a regular expression.

JSON forms, exactly one member each:

    {"const": v}                   equal to v, as JSON values are (1 to 1.0, not to true)
    {"enum": [v, …]}               equal to one of them
    {"pattern": "*@example.com"}   text; `*` is any run without control characters, all else literal
    {"range": {"min": "1", "max": "500.00"}}   a number, or text that is a plain decimal; inclusive
    {"prefix": "/srv/data"}        a path at or below it, spelled without tricks
    {"max_length": 80}             text or a list no longer than this

An array satisfies pattern, range or prefix if it is not empty and each element does.
What is NOT checked: where a path leads (symbolic links), or how the tool reads the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue, canonical

MAX_VALUES: Final = 64
MAX_TEXT: Final = 1024

_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,9})?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ESCAPED: Final = re.compile(r"%(2e|2f|5c|00)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class OneOf:
    """The argument equals one of ``values``."""

    values: tuple[JsonValue, ...] = field(compare=False)
    keys: frozenset[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.values) <= MAX_VALUES:
            raise Refused(Kind.MALFORMED, f"an enum has 1 to {MAX_VALUES} values")
        object.__setattr__(self, "keys", frozenset(canonical(value) for value in self.values))

    def matches(self, value: JsonValue) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return canonical(value) in self.keys

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form; one value is a ``const``."""
        if len(self.values) == 1:
            return {"const": self.values[0]}
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Pattern:
    """The argument is text that a glob describes from its first to its last character."""

    glob: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.glob) <= MAX_TEXT or _CONTROL.search(self.glob):
            raise Refused(Kind.MALFORMED, f"a pattern is 1 to {MAX_TEXT} printable characters")

    def matches(self, value: JsonValue) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, self._matches_one)

    def _matches_one(self, value: JsonValue) -> bool:
        if not isinstance(value, str) or _CONTROL.search(value):
            return False
        first, *rest = self.glob.split("*")
        if not rest:
            return value == first
        *middle, last = rest
        if not value.startswith(first) or len(value) < len(first) + len(last):
            return False
        end = len(value) - len(last)
        if value[end:] != last:
            return False
        at = len(first)
        for literal in middle:
            # Leftmost is never worse than a later place: no backtracking.
            found = value.find(literal, at, end)
            if found < 0:
                return False
            at = found + len(literal)
        return True

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"pattern": self.glob}


@dataclass(frozen=True, slots=True)
class Range:
    """The argument is a number from ``low`` to ``high``, both included; one may be open."""

    low: Decimal | None
    high: Decimal | None

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise Refused(Kind.MALFORMED, "a range has `min` or `max`")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise Refused(Kind.MALFORMED, "a range's `min` is above its `max`")

    def matches(self, value: JsonValue) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, self._matches_one)

    def _matches_one(self, value: JsonValue) -> bool:
        number = _number(value)
        if number is None:
            return False
        above = self.low is None or number >= self.low
        return above and (self.high is None or number <= self.high)

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form; bounds are decimal strings."""
        bounds = {"min": self.low, "max": self.high}
        return {"range": {n: _plain(bound) for n, bound in bounds.items() if bound is not None}}


@dataclass(frozen=True, slots=True)
class Prefix:
    """The argument is a path at or below ``path``, compared by whole segments."""

    path: str

    def __post_init__(self) -> None:
        if len(self.path) > MAX_TEXT or _segments(self.path) is None or self.path.endswith("/"):
            raise Refused(
                Kind.MALFORMED, "a prefix is a plain path without `.`, `..` or a trailing slash"
            )

    def matches(self, value: JsonValue) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, self._matches_one)

    def _matches_one(self, value: JsonValue) -> bool:
        segments = _segments(value) if isinstance(value, str) else None
        prefix = _segments(self.path)
        return segments is not None and prefix is not None and segments[: len(prefix)] == prefix

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"prefix": self.path}


@dataclass(frozen=True, slots=True)
class MaxLength:
    """The argument is text of at most ``limit`` code points, or a list of so many elements."""

    limit: int

    def __post_init__(self) -> None:
        if type(self.limit) is not int or not 0 <= self.limit <= 10**9:
            raise Refused(Kind.MALFORMED, "`max_length` is a count")

    def matches(self, value: JsonValue) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return isinstance(value, str | list | tuple) and len(value) <= self.limit

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"max_length": self.limit}


Constraint: TypeAlias = OneOf | Pattern | Range | Prefix | MaxLength


def constraint_from_json(value: JsonValue) -> Constraint:
    """Parse the wire form.

    Raises:
        Refused: MALFORMED for an unknown kind: what we cannot enforce, nobody may rely on.
    """
    if not isinstance(value, Mapping) or len(value) != 1:
        raise Refused(Kind.MALFORMED, "a constraint is an object with exactly one member")
    ((name, body),) = value.items()
    match name, body:
        case "const", _:
            return OneOf((body,))
        case "enum", list() | tuple():
            return OneOf(tuple(body))
        case "pattern", str():
            return Pattern(body)
        case "range", Mapping() if body.keys() <= {"min", "max"}:
            return Range(_bound(body, "min"), _bound(body, "max"))
        case "prefix", str():
            return Prefix(body)
        case "max_length", int() if not isinstance(body, bool):
            return MaxLength(body)
    raise Refused(Kind.MALFORMED, f"constraint `{name[:64]}` is unknown or has the wrong form")


def constraint_narrows(child: Constraint, parent: Constraint) -> bool:
    """Whether whatever satisfies ``child`` certainly satisfies ``parent``.

    Conservative: patterns are compared by equality only, kinds are not compared with each other,
    except that listed values are simply tried.
    """
    match child, parent:
        case OneOf(), _:
            return all(parent.matches(value) for value in child.values)
        case Range(), Range():
            above = parent.low is None or (child.low is not None and child.low >= parent.low)
            below = parent.high is None or (child.high is not None and child.high <= parent.high)
            return above and below
        case Prefix(), Prefix():
            return parent.matches(child.path)
        case MaxLength(), MaxLength():
            return child.limit <= parent.limit
        case _:
            return child == parent


def _each(value: JsonValue, matches: Callable[[JsonValue], bool]) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(matches(element) for element in value)
    return matches(value)


def _number(value: JsonValue) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, str) and len(value) <= 30 and _DECIMAL.fullmatch(value):
        return Decimal(value)
    return None


def _bound(body: Mapping[str, JsonValue], name: str) -> Decimal | None:
    if name not in body:
        return None
    number = _number(body[name])
    if number is None or not number.is_finite() or abs(number) > 10**18:
        raise Refused(Kind.MALFORMED, f"a range's `{name}` is a number or a plain decimal string")
    return number


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _segments(path: str) -> tuple[str, ...] | None:
    """The segments of a path that has one reading only; None otherwise."""
    if not path or "\\" in path or _CONTROL.search(path) or _ESCAPED.search(path):
        return None
    parts = path.removesuffix("/").split("/") if path != "/" else [""]
    if any(part in {"", ".", ".."} for part in parts[1:]) or parts[0] in {".", "..", "~"}:
        return None
    return tuple(parts)
