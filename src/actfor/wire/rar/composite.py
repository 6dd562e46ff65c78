"""Limits that are made of others, and the relation between any two.

    {"from": {"source": {…}, "type": "iban", "cardinality": 1}}   one IBAN out of that source
    {"each": {…}}        a list that is not empty, each element within the limit; or one such value
    {"all": [{…}, …]}    within every one
    {"any": [{…}, …]}    within one of them

A source has one or more of

    {"label": "user"}                        whose words: `user`, `trusted` or `untrusted`
    {"server": "files", "tools": ["read"]}   what a call returned
    {"arguments": {"/path": {"const": "bill.txt"}}}   of a call with these arguments

``from`` is the only limit that depends on more than the value: on where the gateway has seen it. A
value it has seen in no such place is outside, and so is every value where nothing is known.
``cardinality`` is how many different values may come through while the mandate lives; who records
the calls counts them (``taken`` tells what there is to count).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue
from actfor.wire.rar.constraint import (
    Amount,
    Dates,
    Domain,
    MaxLength,
    OneOf,
    Pattern,
    Prefix,
    Range,
    Simple,
    Typed,
    simple_from_json,
)
from actfor.wire.rar.origins import LABELS, NOWHERE, Origin, Take, Where, take
from actfor.wire.rar.pointers import ABSENT, require_pointer, resolve
from actfor.wire.rar.values import VALUE_TYPES, is_type, type_narrows

FORMS: Final[Mapping[str, str]] = {
    "const": "a value",
    "enum": "a list of values",
    "pattern": "text in which `*` is any run of characters",
    "range": "an object of `min` and `max`",
    "amount": "an object of `min`, `max` and `currency`",
    "date": "an object of `min` and `max`, dates such as `2026-11-30`",
    "prefix": "a path such as `/srv/data`",
    "domain": "a list of names such as `example.com` or `*.example.com`",
    "type": "the name of a kind of value",
    "max_length": "a whole number",
    "from": "an object of exactly `source`, `type` and `cardinality`",
    "each": "a limit",
    "all": "a list of limits",
    "any": "a list of limits",
}
"""Each limit, and what is written behind it."""

MAX_PARTS: Final = 8
MAX_NESTING: Final = 3
MAX_TAKEN: Final = 64
_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value may come from; what is not said is not limited, but something must be said."""

    label: str | None = None
    server: str | None = None
    tools: tuple[str, ...] = ()
    arguments: Mapping[str, Constraint] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tools", tuple(sorted(set(self.tools))))
        object.__setattr__(
            self, "arguments", MappingProxyType(dict(sorted(self.arguments.items())))
        )
        if self.label is None and self.server is None:
            raise Refused(Kind.MALFORMED, "a source has a `label` or a `server`")
        if self.label is not None and self.label not in LABELS:
            raise Refused(Kind.MALFORMED, f"a label is one of {', '.join(sorted(LABELS))}")
        if self.server is None and (self.tools or self.arguments):
            raise Refused(Kind.MALFORMED, "a source that names tools names their `server`")
        if any(not name or len(name) > _NAME for name in (*self.tools, self.server or "x")):
            raise Refused(Kind.MALFORMED, f"a source names tools by 1 to {_NAME} characters")
        for pointer in self.arguments:
            require_pointer(pointer)

    def matches(self, origin: Origin) -> bool:
        """Whether what was seen there may be used."""
        if self.label is not None and origin.label != self.label:
            return False
        if self.server is None:
            return True
        if origin.server != self.server or (self.tools and origin.tool not in self.tools):
            return False
        return all(
            (value := resolve(origin.arguments, pointer)) is not ABSENT and limit.matches(value)  # type: ignore[arg-type] # not the sentinel: JSON
            for pointer, limit in self.arguments.items()
        )

    def within(self, other: Source) -> bool:
        """Whether whatever this admits ``other`` admits."""
        if other.label is not None and self.label != other.label:
            return False
        if other.server is not None and self.server != other.server:
            return False
        if other.tools and not (self.tools and set(self.tools) <= set(other.tools)):
            return False
        return all(
            pointer in self.arguments and constraint_narrows(self.arguments[pointer], limit)
            for pointer, limit in other.arguments.items()
        )

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        body: dict[str, JsonValue] = {}
        if self.label is not None:
            body["label"] = self.label
        if self.server is not None:
            body["server"] = self.server
        if self.tools:
            body["tools"] = list(self.tools)
        if self.arguments:
            body["arguments"] = {name: limit.to_json() for name, limit in self.arguments.items()}
        return body


@dataclass(frozen=True, slots=True)
class From:
    """The argument is one thing of a kind that the gateway has seen in ``source``.

    Of a list, each element is. ``cardinality`` different values may come through.
    """

    source: Source
    type: str
    cardinality: int

    def __post_init__(self) -> None:
        if self.type not in VALUE_TYPES:
            raise Refused(
                Kind.MALFORMED, f"a value's type is one of {', '.join(sorted(VALUE_TYPES))}"
            )
        if type(self.cardinality) is not int or not 1 <= self.cardinality <= MAX_TAKEN:
            raise Refused(Kind.MALFORMED, f"`cardinality` is a count from 1 to {MAX_TAKEN}")

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint, seen where ``where`` says."""
        elements = _elements(value, where)
        return bool(elements) and all(self._matches_one(one, at) for one, at in elements)

    def _matches_one(self, value: JsonValue, where: Where) -> bool:
        return is_type(value, self.type) and any(map(self.source.matches, where.seen))

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        body: dict[str, JsonValue] = {
            "source": self.source.to_json(),
            "type": self.type,
            "cardinality": self.cardinality,
        }
        return {"from": body}


@dataclass(frozen=True, slots=True)
class Each:
    """Each element of a list that is not empty is within ``limit``; so is a value that is none."""

    limit: Constraint

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        elements = _elements(value, where)
        return bool(elements) and all(self.limit.matches(one, at) for one, at in elements)

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"each": self.limit.to_json()}


@dataclass(frozen=True, slots=True)
class AllOf:
    """Within every one of ``parts``."""

    parts: tuple[Constraint, ...]

    def __post_init__(self) -> None:
        _check_parts(self.parts, "all")

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return all(part.matches(value, where) for part in self.parts)

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"all": [part.to_json() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Within one of ``parts``."""

    parts: tuple[Constraint, ...]

    def __post_init__(self) -> None:
        _check_parts(self.parts, "any")

    def matches(self, value: JsonValue, where: Where = NOWHERE) -> bool:
        """Whether ``value`` satisfies the constraint."""
        return any(part.matches(value, where) for part in self.parts)

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        return {"any": [part.to_json() for part in self.parts]}


Constraint: TypeAlias = Simple | From | Each | AllOf | AnyOf


def constraint_from_json(value: JsonValue, *, nesting: int = MAX_NESTING) -> Constraint:
    """Parse the wire form of any limit.

    Raises:
        Refused: MALFORMED for an unknown kind: what we cannot enforce, nobody may rely on.
    """
    if not isinstance(value, Mapping) or len(value) != 1:
        raise Refused(
            Kind.MALFORMED, 'a limit is an object with exactly one member, such as `{"const": "x"}`'
        )
    ((name, body),) = value.items()
    simple = simple_from_json(name, body)
    if simple is not None:
        return simple
    if name in {"each", "all", "any", "from"} and nesting == 0:
        raise Refused(Kind.MALFORMED, f"limits are nested at most {MAX_NESTING} deep")
    match name, body:
        case "from", Mapping() if body.keys() == {"source", "type", "cardinality"}:
            kind, most = body["type"], body["cardinality"]
            return From(
                _source(body["source"], nesting - 1),
                kind if isinstance(kind, str) else "",
                most if type(most) is int else 0,
            )
        case "each", Mapping():
            return Each(constraint_from_json(body, nesting=nesting - 1))
        case "all", list() | tuple():
            return AllOf(_parts(body, nesting))
        case "any", list() | tuple():
            return AnyOf(_parts(body, nesting))
    if name in FORMS:
        raise Refused(Kind.MALFORMED, f"`{name}` is {FORMS[name]}")
    shown = name[:64].encode("unicode_escape").decode("ascii")
    known = ", ".join(sorted(FORMS))
    raise Refused(Kind.MALFORMED, f"a limit `{shown}` is not known; there are {known}")


def constraint_narrows(child: Constraint, parent: Constraint) -> bool:
    """Whether whatever satisfies ``child`` certainly satisfies ``parent``.

    Decided by form, without search. Exact between limits of one simple kind and for listed values;
    conservative between kinds and for combinations: it may say no of what is in truth narrower.
    """
    # Combinations first: the two rules that lose nothing, then the two that may.
    match child, parent:
        case _, AllOf():
            return all(constraint_narrows(child, part) for part in parent.parts)
        case AnyOf(), _:
            return all(constraint_narrows(part, parent) for part in child.parts)
        case OneOf(), _:
            return all(parent.matches(value) for value in child.values)
        case _, AnyOf() if any(constraint_narrows(child, part) for part in parent.parts):
            return True
        case AllOf(), _:
            return any(constraint_narrows(part, parent) for part in child.parts)
    return _narrows_alone(child, parent)


def _narrows_alone(child: Constraint, parent: Constraint) -> bool:
    match child, parent:
        case Range(), Range():
            return _between(child.low, child.high, parent.low, parent.high)
        case Amount(), Amount():
            inside = _between(child.low, child.high, parent.low, parent.high)
            return child.currency == parent.currency and inside
        case Dates(), Dates():
            return _between(child.first, child.last, parent.first, parent.last)
        case Pattern(), Pattern():
            return parent.contains(child)
        case Prefix(), Prefix():
            return parent.matches(child.path)
        case Domain(), Domain():
            return parent.contains(child)
        case MaxLength(), MaxLength():
            return child.limit <= parent.limit
        case From(), From():
            return (
                child.cardinality <= parent.cardinality
                and type_narrows(child.type, parent.type)
                and child.source.within(parent.source)
            )
        case ((Typed() | From()), Typed()):
            return type_narrows(child.type, parent.type)
        case Each(), Each():
            return constraint_narrows(child.limit, parent.limit)
    return False


def taken(
    limit: Constraint, value: JsonValue, where: Where, counted: str | None = None
) -> tuple[Take, ...]:
    """What ``limit`` lets through that must be counted, for a value that it matches.

    Of alternatives that all match, the one that uses up least. ``counted`` is the place under which
    takings are counted, where it is not the value's own: elements of a list share one count.
    """
    at = where.pointer if counted is None else counted
    match limit:
        case From():
            said = limit.to_json()
            return tuple(
                take(at, said, one, limit.cardinality) for one, _ in _elements(value, where)
            )
        case Each():
            elements = _elements(value, where)
            return tuple(t for one, place in elements for t in taken(limit.limit, one, place, at))
        case AllOf():
            return tuple(t for part in limit.parts for t in taken(part, value, where, at))
        case AnyOf():
            matching = [part for part in limit.parts if part.matches(value, where)]
            return min((taken(part, value, where, at) for part in matching), key=len, default=())
    return ()


def counts_values(limit: Constraint) -> bool:
    """Whether some value might come through that must be counted."""
    match limit:
        case From():
            return True
        case Each():
            return counts_values(limit.limit)
        case AllOf() | AnyOf():
            return any(counts_values(part) for part in limit.parts)
    return False


def _elements(value: JsonValue, where: Where) -> list[tuple[JsonValue, Where]]:
    if isinstance(value, list | tuple):
        return [(one, where.element(index)) for index, one in enumerate(value)]
    return [(value, where)]


def _source(body: JsonValue, nesting: int) -> Source:
    if not isinstance(body, Mapping) or not body.keys() <= {
        "label",
        "server",
        "tools",
        "arguments",
    }:
        raise Refused(
            Kind.MALFORMED, "a source is an object of `label`, `server`, `tools` and `arguments`"
        )
    label, server, tools = body.get("label"), body.get("server"), body.get("tools", [])
    arguments = body.get("arguments", {})
    if not isinstance(label, str | None) or not isinstance(server, str | None):
        raise Refused(Kind.MALFORMED, "a source's `label` and `server` are text")
    if not isinstance(tools, Sequence) or not all(isinstance(name, str) for name in tools):
        raise Refused(Kind.MALFORMED, "a source's `tools` are a list of text")
    if not isinstance(arguments, Mapping) or len(arguments) > MAX_PARTS:
        raise Refused(Kind.MALFORMED, f"a source limits at most {MAX_PARTS} arguments")
    limits = {
        pointer: constraint_from_json(limit, nesting=nesting)
        for pointer, limit in arguments.items()
    }
    return Source(label, server, tuple(str(name) for name in tools), limits)


def _parts(body: Sequence[JsonValue], nesting: int) -> tuple[Constraint, ...]:
    if len(body) > MAX_PARTS:
        raise Refused(Kind.MALFORMED, f"a combination has 1 to {MAX_PARTS} parts")
    return tuple(constraint_from_json(part, nesting=nesting - 1) for part in body)


def _check_parts(parts: Sequence[Constraint], name: str) -> None:
    if not 1 <= len(parts) <= MAX_PARTS:
        raise Refused(Kind.MALFORMED, f"`{name}` has 1 to {MAX_PARTS} parts")


def _between(low: object, high: object, least: object, most: object) -> bool:
    """Whether [low, high] lies in [least, most]; None is open."""
    above = least is None or (low is not None and low >= least)  # type: ignore[operator] # of one type
    below = most is None or (high is not None and high <= most)  # type: ignore[operator] # of one type
    return bool(above and below)
