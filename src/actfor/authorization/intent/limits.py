"""What the words say of a tool's arguments, as limits of a grant: machine-checked, and readable.

Only what they say outright is written: an address, an account, a file, a sum, how many. Where they
name a document instead of the value, the value may come out of that document, once. What they leave
open stays open here; whose data it is, is looked at when a call is decided.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from actfor.authorization.intent.asking import Ask, Grounds
from actfor.authorization.intent.request import Wish
from actfor.authorization.intent.text import words
from actfor.authorization.intent.tool import ToolReading
from actfor.authorization.intent.values import SinkType, sums_in
from actfor.authorization.model.facts import ToolEffect
from actfor.wire.rar import (
    AnyOf,
    Constraint,
    Each,
    From,
    OneOf,
    Pattern,
    Range,
    Source,
)

MOST_LIMITED: Final = 12
"""Tools of one draft that get limits of their own: grants are few, and read by people."""

_REACHES: Final = {SinkType.ACCOUNT: "iban", SinkType.RECIPIENT: "email", SinkType.URL: "url"}
"""Types of arguments that say who gets something, and the type that a `from` limit looks for."""
_OPEN: Final = frozenset({ToolEffect.READ, ToolEffect.WRITE, ToolEffect.UNKNOWN})
"""Effects that can be taken back, or of which nobody knows what would limit them."""
_REACHING: Final = frozenset({ToolEffect.SHARE, ToolEffect.EGRESS})
_BOUNDS: Final = re.compile(
    r"\b(?:at most|up to|max|maximum|no more than|not more than|less than|under|below|limit)\b"
)
_NUMBERS: Final = {
    name: number
    for number, name in enumerate("two three four five six seven eight nine ten".split(), 2)
}
_MANY: Final = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten|[2-9]|1[0-9]|20)\b")
_MOST_DOCUMENTS: Final = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one grant: arguments by pointer, and how many calls."""

    args: Mapping[str, Constraint] = field(default_factory=dict)
    max_calls: int | None = None

    def __bool__(self) -> bool:
        return bool(self.args) or self.max_calls is not None


NONE: Final = Limits()


def limits_of(
    wish: Wish, tool: ToolReading, grounds: Grounds, readers: Sequence[tuple[str, ToolReading]]
) -> Limits:
    """What the words say of this tool's calls; nothing unless they surely ask for it.

    ``readers`` are the tools that only read, with their servers: any may return a document.
    """
    if grounds.ask is not Ask.YES or tool.effect in _OPEN:
        return NONE
    args = dict(_arguments(wish, tool, grounds, readers))
    return Limits(args, _calls(wish, tool, grounds))


def says_sum(sentence: str) -> bool:
    """Whether a sentence says how much, and not only what it may be at most."""
    return bool(sums_in(sentence)) and not _BOUNDS.search(sentence)


def says_repeats(sentence: str) -> bool:
    """Whether a sentence says to do a thing more than once: `three times`, `in installments`."""
    return _REPEATS.search(sentence) is not None


_REPEATS: Final = re.compile(
    r"\b(?:twice|thrice|repeatedly|daily|installments?|instalments?|increments?|split"
    r"|(?:two|three|four|five|six|ten|several|many|[0-9]+) times)\b"
)


def _arguments(
    wish: Wish, tool: ToolReading, grounds: Grounds, readers: Sequence[tuple[str, ToolReading]]
) -> Iterator[tuple[str, Constraint]]:
    seen: set[SinkType] = set()
    for sink, kind in tool.sinks.items():
        pointer = sink.removesuffix("/*")
        if kind in seen or "*" in pointer:
            continue  # of several arguments of a kind, the first is the one that is never left out
        if tool.required is not None and pointer not in tool.required:
            continue  # a limited argument must be there: what may be left out is not limited
        limit = None
        if kind in _REACHES and not (wish.hands_over or wish.groups):
            limit = _reached(wish, kind, grounds)
            if limit is None and not wish.has(kind) and SinkType.PATH not in tool.sinks.values():
                limit = _from_documents(wish, kind, grounds, readers)
        elif kind is SinkType.AMOUNT and tool.effect is ToolEffect.PAY:
            limit = _sum(grounds)
        elif kind is SinkType.PATH and tool.effect is ToolEffect.DELETE:
            limit = _said(wish, kind, grounds)
        if words(pointer)[-1:] == ["currency"] and tool.effect is ToolEffect.PAY:
            if (code := _currency(grounds.because)) is not None:
                yield pointer, OneOf((code,))
            continue
        if limit is not None:
            seen.add(kind)
            yield pointer, limit


def _reached(wish: Wish, kind: SinkType, grounds: Grounds) -> Constraint | None:
    """The addresses in the words; where they name people as well, either may be meant."""
    named = kind is SinkType.RECIPIENT and _names_others(wish)
    return None if named else _said(wish, kind, grounds)


def _names_others(wish: Wish) -> bool:
    """Whether the words name anybody or anything beside the addresses and files they hold."""
    spoken = {word for text in wish.spelled.values() for word in words(text)}
    return any(not name & spoken for name in wish.names)


def _said(wish: Wish, kind: SinkType, grounds: Grounds) -> Constraint | None:
    """The values of a type in the words, as they are spelled there; all of them must stand where
    the words ask, or it is not known which are meant.
    """
    found = {value: text for value, text in wish.spelled.items() if value.type is kind}
    if not found or not all(value.key in grounds.because for value in found):
        return None
    spellings = {*found.values(), *(value.key for value in found if kind is SinkType.RECIPIENT)}
    return Each(OneOf(tuple(sorted(spellings))))


def _from_documents(
    wish: Wish, kind: SinkType, grounds: Grounds, readers: Sequence[tuple[str, ToolReading]]
) -> Constraint | None:
    """One value of the type, out of the document that the words name where they ask.

    Not where they name people: then the document is what is sent, and not who says where to.
    """
    if not grounds.one or _names_others(wish):
        return None
    documents = [
        text
        for value, text in wish.spelled.items()
        if value.type is SinkType.PATH and value.key in grounds.because
        if _is_place(value.key) or wish.points_to(" ".join(words(text)))
    ]
    sources = [
        From(Source(None, server, (reader.name,), {at: Pattern(f"*{text}")}), _REACHES[kind], 1)
        for text in documents[:_MOST_DOCUMENTS]
        for server, reader in readers
        for at, sink in reader.sinks.items()
        if sink is SinkType.PATH and "*" not in at and "*" not in text
    ]
    if not 1 <= len(sources) <= _MOST_DOCUMENTS:
        return None
    return sources[0] if len(sources) == 1 else AnyOf(tuple(sources))


def _is_place(path: str) -> bool:
    """Whether a path is spelled as a file's or from a root; `ann/gear` may be any two words."""
    return path.startswith(("/", ".", "~")) or "." in path.rpartition("/")[2]


def _sum(grounds: Grounds) -> Constraint | None:
    sums = sums_in(grounds.because)
    if len(sums) != 1 or not grounds.one:
        return None
    return Range(sums[0], sums[0]) if says_sum(grounds.because) else Range(None, sums[0])


def _currency(sentence: str) -> str | None:
    """The one currency that a sentence speaks of, as ISO 4217 has it."""
    found = {code for token, code in _CURRENCIES.items() if token in sentence.split(" ")}
    found |= {code for sign, code in _SIGNS.items() if sign in sentence}
    return found.pop() if len(found) == 1 else None


_SIGNS: Final = {"\u20ac": "EUR"}
_CURRENCIES: Final = {
    **{code.lower(): code for code in "EUR USD GBP CHF JPY CAD AUD NOK SEK DKK PLN CZK".split()},
    **dict.fromkeys(("euro", "euros"), "EUR"),
}
"""Currencies that one word or sign means. A dollar or a pound is that of several countries."""


def _calls(wish: Wish, tool: ToolReading, grounds: Grounds) -> int | None:
    if wish.hands_over:
        return None
    if grounds.one and tool.effect in _REACHING:
        return None  # sending again what did not arrive is light; what was sent is looked at anyway
    if grounds.one:
        told = [v for v in wish.spelled if v.type is SinkType.PATH and v.key in grounds.because]
        return max(1, len(told)) if tool.effect is ToolEffect.DELETE else 1
    counts = _MANY.findall(grounds.because)
    if tool.effect is ToolEffect.DELETE and len(counts) == 1 and not sums_in(grounds.because):
        return _NUMBERS.get(counts[0]) or int(counts[0])
    return None
