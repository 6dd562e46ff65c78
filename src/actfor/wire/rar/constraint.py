"""What an argument of a call may be: one closed set of checks, none of them a regular expression.

JSON forms, exactly one member each:

    {"const": v}                   equal to v, as JSON values are (1 to 1.0, not to true)
    {"enum": [v, …]}               equal to one of them
    {"pattern": "*@example.com"}   text; `*` is any run without control characters, all else literal
    {"range": {"min": "1", "max": "500.00"}}   a number, or text that is a plain decimal; inclusive
    {"amount": {"max": "500.00", "currency": "EUR"}}   money that says its currency; inclusive
    {"date": {"min": "2026-11-01", "max": "2026-11-30"}}   the calendar date as written; inclusive
    {"prefix": "/srv/data"}        a path at or below it, spelled without tricks
    {"domain": ["example.com", "*.example.com"]}   the host of an address, URL or name; `*.` is
                                   anything below it
    {"type": "email"}              spelled as one thing of that kind: see ``values.VALUE_TYPES``
    {"max_length": 80}             text or a list no longer than this

and those made of others, in ``composite``: ``from``, ``each``, ``all``, ``any``.

An array satisfies pattern, range, amount, date, prefix, domain or type if it is not empty and each
element does. What is NOT checked: where a path leads (symbolic links), who owns a domain, or how
the tool reads the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue, canonical
from actfor.wire.rar.money import Money
from actfor.wire.rar.origins import NOWHERE, Where
from actfor.wire.rar.values import (
    CONTROL,
    MAX_TEXT,
    VALUE_TYPES,
    day_of,
    host_of,
    is_type,
    money_of,
    number_of,
    plain_host,
    segments_of,
)

MAX_VALUES: Final = 64
_STARS: Final = re.compile(r"\*{2,}")
MAX_DOMAINS: Final = 32


@dataclass(frozen=True, slots=True)
class OneOf:
    """The argument equals one of ``values``."""

    values: tuple[JsonValue, ...] = field(compare=False)
    keys: frozenset[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.values) <= MAX_VALUES:
            raise Refused(Kind.MALFORMED, f"an enum has 1 to {MAX_VALUES} values")
        object.__setattr__(self, "keys", frozenset(canonical(value) for value in self.values))

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
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
        if not 1 <= len(self.glob) <= MAX_TEXT or CONTROL.search(self.glob):
            raise Refused(Kind.MALFORMED, f"a pattern is 1 to {MAX_TEXT} printable characters")
        # Two stars in a row are one: equal patterns are equal.
        object.__setattr__(self, "glob", _STARS.sub("*", self.glob))

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, self._matches_one)

    def _matches_one(self, value: JsonValue) -> bool:
        if not isinstance(value, str) or CONTROL.search(value):
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

    def contains(self, other: Pattern) -> bool:
        """Whether whatever ``other`` describes this describes as well; exact, not a guess.

        A letter that stands in no literal of ours can only be taken by one of our stars. So if we
        match ``other`` with such a letter for each of its stars, that star takes any run there, the
        empty one too; and if we do not, that very text is one that ``other`` has beyond us.
        """
        fresh = next(chr(code) for code in range(0xE000, 0xF000) if chr(code) not in self.glob)
        return self._matches_one(other.glob.replace("*", fresh))

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"pattern": self.glob}


@dataclass(frozen=True, slots=True)
class Range:
    """The argument is a number from ``low`` to ``high``, both included; one may be open."""

    low: Decimal | None
    high: Decimal | None

    def __post_init__(self) -> None:
        _bounded(self.low, self.high, "range")

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, self._matches_one)

    def _matches_one(self, value: JsonValue) -> bool:
        number = number_of(value)
        return number is not None and _within(number, self.low, self.high)

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form; bounds are decimal strings."""
        bounds = {"min": self.low, "max": self.high}
        return {"range": {n: _plain(bound) for n, bound in bounds.items() if bound is not None}}


@dataclass(frozen=True, slots=True)
class Amount:
    """The argument is money in ``currency`` that says so, from ``low`` to ``high``, included.

    Text such as `500.00 EUR`, or an object of `amount` (or `value`) and `currency`. A bare number
    is not: what it is a number of stands elsewhere (``Grant.amount`` limits what a call spends).
    """

    low: Decimal | None
    high: Decimal | None
    currency: str

    def __post_init__(self) -> None:
        _bounded(self.low, self.high, "amount")
        for bound in (self.low, self.high):
            if bound is not None:
                Money(bound, self.currency)  # refuses what no amount in that currency can be

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, self._matches_one)

    def _matches_one(self, value: JsonValue) -> bool:
        money = money_of(value)
        return (
            money is not None
            and money.currency == self.currency
            and _within(money.value, self.low, self.high)
        )

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form; bounds are decimal strings."""
        bounds = {"min": self.low, "max": self.high}
        said = {n: _plain(bound) for n, bound in bounds.items() if bound is not None}
        return {"amount": {**said, "currency": self.currency}}


@dataclass(frozen=True, slots=True)
class Dates:
    """The argument is a date, as written, from ``first`` to ``last``, both included."""

    first: date | None
    last: date | None

    def __post_init__(self) -> None:
        _bounded(self.first, self.last, "date")

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, self._matches_one)

    def _matches_one(self, value: JsonValue) -> bool:
        day = day_of(value)
        return day is not None and _within(day, self.first, self.last)

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        bounds = {"min": self.first, "max": self.last}
        return {"date": {n: bound.isoformat() for n, bound in bounds.items() if bound is not None}}


@dataclass(frozen=True, slots=True)
class Prefix:
    """The argument is a path at or below ``path``, compared by whole segments."""

    path: str

    def __post_init__(self) -> None:
        if len(self.path) > MAX_TEXT or segments_of(self.path) is None or self.path.endswith("/"):
            raise Refused(
                Kind.MALFORMED, "a prefix is a plain path without `.`, `..` or a trailing slash"
            )

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, self._matches_one)

    def _matches_one(self, value: JsonValue) -> bool:
        segments, prefix = segments_of(value), segments_of(self.path)
        return segments is not None and prefix is not None and segments[: len(prefix)] == prefix

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"prefix": self.path}


@dataclass(frozen=True, slots=True)
class Domain:
    """The argument leads to one of these hosts: by e-mail, by URL, or as a name.

    ``example.com`` is that host alone; ``*.example.com`` is whatever is below it and not itself.
    Names are sorted, in lower case, ASCII (internationalised names as `xn--…`); a name that another
    contains is dropped, so that equal limits are equal.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        names = {_domain(name) for name in self.names}
        kept = {name for name in names if not any(_below(name, o) for o in names if o != name)}
        if not 1 <= len(names) <= MAX_DOMAINS:
            raise Refused(Kind.MALFORMED, f"`domain` is a list of 1 to {MAX_DOMAINS} names")
        object.__setattr__(self, "names", tuple(sorted(kept)))

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, self._matches_one)

    def _matches_one(self, value: JsonValue) -> bool:
        host = host_of(value)
        return host is not None and any(_below(host, name) for name in self.names)

    def contains(self, other: Domain) -> bool:
        """Whether every host of ``other`` is one of ours."""
        return all(any(_below(theirs, ours) for ours in self.names) for theirs in other.names)

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"domain": list(self.names)}


@dataclass(frozen=True, slots=True)
class Typed:
    """The argument is spelled as one thing of this kind (``values.VALUE_TYPES``)."""

    type: str

    def __post_init__(self) -> None:
        if self.type not in VALUE_TYPES:
            raise Refused(
                Kind.MALFORMED, f"a value's type is one of {', '.join(sorted(VALUE_TYPES))}"
            )

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return _each(value, lambda one: is_type(one, self.type))

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"type": self.type}


@dataclass(frozen=True, slots=True)
class MaxLength:
    """The argument is text of at most ``limit`` code points, or a list of so many elements."""

    limit: int

    def __post_init__(self) -> None:
        if type(self.limit) is not int or not 0 <= self.limit <= 10**9:
            raise Refused(Kind.MALFORMED, "`max_length` is a count")

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return isinstance(value, str | list | tuple) and len(value) <= self.limit

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"max_length": self.limit}


Simple: TypeAlias = OneOf | Pattern | Range | Amount | Dates | Prefix | Domain | Typed | MaxLength


def simple_from_json(name: str, body: JsonValue) -> Simple | None:
    """Parse one limit that looks at the value alone; None if it is none, or has another form.

    Raises:
        Refused: MALFORMED for one that is of the right form and makes no sense.
    """
    match name, body:
        case "const", _:
            return OneOf((body,))
        case "enum", list() | tuple():
            return OneOf(tuple(body))
        case "pattern", str():
            return Pattern(body)
        case "range", Mapping() if body.keys() <= {"min", "max"}:
            return Range(_bound(body, "min"), _bound(body, "max"))
        case "amount", Mapping() if body.keys() <= {"min", "max", "currency"}:
            currency = body.get("currency")
            return Amount(
                _bound(body, "min"),
                _bound(body, "max"),
                currency if isinstance(currency, str) else "",
            )
        case "date", Mapping() if body.keys() <= {"min", "max"}:
            return Dates(_date(body, "min"), _date(body, "max"))
        case "prefix", str():
            return Prefix(body)
        case "domain", list() | tuple() if all(isinstance(one, str) for one in body):
            return Domain(tuple(str(one) for one in body))
        case "type", str():
            return Typed(body)
        case "max_length", int() if not isinstance(body, bool):
            return MaxLength(body)
    return None


def _each(value: JsonValue, matches: Callable[[JsonValue], bool]) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(matches(element) for element in value)
    return matches(value)


def _bounded(low: Decimal | date | None, high: Decimal | date | None, what: str) -> None:
    if low is None and high is None:
        raise Refused(Kind.MALFORMED, f"a limit by {what} has `min` or `max`")
    if low is not None and high is not None and low > high:  # type: ignore[operator] # both of one type
        raise Refused(Kind.MALFORMED, f"`min` is above `max` in a limit by {what}")


def _within(value: Decimal | date, low: Decimal | date | None, high: Decimal | date | None) -> bool:
    above = low is None or value >= low  # type: ignore[operator] # both of one type
    return above and (high is None or value <= high)  # type: ignore[operator] # as above


def _bound(body: Mapping[str, JsonValue], name: str) -> Decimal | None:
    if name not in body:
        return None
    number = number_of(body[name])
    if number is None or not number.is_finite() or abs(number) > 10**18:
        raise Refused(Kind.MALFORMED, f"`{name}` is a number or a plain decimal string")
    return number


def _date(body: Mapping[str, JsonValue], name: str) -> date | None:
    if name not in body:
        return None
    text = body[name]
    day = day_of(text)
    if day is None or text != day.isoformat():
        raise Refused(Kind.MALFORMED, f"`{name}` is a date such as `2026-11-30`")
    return day


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _domain(name: str) -> str:
    wild, bare = name.startswith("*."), name.removeprefix("*.")
    host = plain_host(bare) if bare.isascii() else None
    if host is None or (wild and "." not in host):
        shown = name[:80].encode("unicode_escape").decode("ascii")
        raise Refused(
            Kind.MALFORMED,
            f"domain `{shown}` is not a name such as `example.com` or `*.example.com` "
            "(other letters as `xn--…`)",
        )
    return f"*.{host}" if wild else host


def _below(name: str, limit: str) -> bool:
    """Whether a host, or all that `*.` stands for before it, is within one name of a limit."""
    if not limit.startswith("*."):
        return name == limit
    return name.removeprefix("*.").endswith(limit[1:]) or name == limit
