"""A limit of one argument in plain words, made from the very data that is checked.

Values are shown as JSON, with characters that hide or reorder text escaped.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final

from actfor.wire.canonical import JsonValue, canonical
from actfor.wire.rar.composite import AllOf, AnyOf, Constraint, Each, From, Source
from actfor.wire.rar.constraint import (
    Amount,
    Dates,
    Domain,
    MaxLength,
    OneOf,
    Pattern,
    Prefix,
    Range,
    Typed,
)

LABEL_WORDS: Final[Mapping[str, str]] = {
    "user": "what you said",
    "trusted": "data of systems that the operator trusts",
    "untrusted": "other people's text",
    "secret": "secrets",
}
_TYPE_WORDS: Final[Mapping[str, str]] = {
    "amount": "an amount",
    "date": "a date",
    "domain": "a domain name",
    "email": "an e-mail address",
    "iban": "an IBAN",
    "id": "an identifier",
    "name": "a name",
    "number": "a number",
    "path": "a path",
    "phone": "a telephone number",
    "text": "text",
    "url": "a URL",
}


def limit_words(limit: Constraint) -> str:
    """What an argument must be: `must be exactly "a"`."""
    match limit:
        case OneOf(values=values):
            return f"must be exactly {' or '.join(shown(value) for value in values)}"
        case Pattern(glob=glob):
            return f"must look like {visible(glob)}"
        case Prefix(path=path):
            return f"must be {visible(path)} or below it"
        case Domain(names=names):
            return f"must lead to {' or '.join(names)}"
        case Typed(type=kind):
            return f"must be {_TYPE_WORDS[kind]}"
        case MaxLength(limit=most):
            return f"must not be longer than {most}"
        case Range(low=low, high=high):
            return _between(low, high, "")
        case Amount(low=low, high=high, currency=currency):
            return _between(low, high, f" {currency}")
        case Dates(first=first, last=last):
            return _between(first, last, "")
        case From(source=source, type=kind, cardinality=most):
            several = "" if most == 1 else f", at most {most} different ones"
            return f"must be {_TYPE_WORDS[kind]} seen in {source_words(source)}{several}"
        case Each(limit=inner):
            return f"{limit_words(inner)} (each element of a list)"
        case AllOf(parts=parts):
            return f"({' and '.join(limit_words(part) for part in parts)})"
        case AnyOf(parts=parts):
            return f"({' or '.join(limit_words(part) for part in parts)})"


def source_words(source: Source) -> str:
    """Where a value may come from."""
    whose = "" if source.label is None else LABEL_WORDS[source.label]
    if source.server is None:
        return whose
    tools = visible(", ".join(source.tools)) if source.tools else "any tool"
    called = f"what {tools} of {visible(source.server)} returned"
    if source.arguments:
        limits = [f"{visible(name)} {limit_words(lim)}" for name, lim in source.arguments.items()]
        called += f" for a call where {' and '.join(limits)}"
    return f"{called}, if it is {whose}" if whose else called


def shown(value: JsonValue) -> str:
    """A value as JSON, with what hides or reorders text escaped."""
    return visible(canonical(value).decode())


def visible(text: str) -> str:
    """The text on one line, with control, format and unusual blank characters escaped."""
    return "".join(
        char
        if char == " " or unicodedata.category(char)[0] not in {"C", "Z"}
        else f"\\u{ord(char):04x}"
        for char in text
    )


def _between(low: object, high: object, unit: str) -> str:
    if low is not None and low == high:
        return f"must be exactly {low}{unit}"
    if low is None:
        return f"must be at most {high}{unit}"
    if high is None:
        return f"must be at least {low}{unit}"
    return f"must be from {low} to {high}{unit}"
