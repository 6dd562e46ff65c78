"""How much is meant for each of several who are paid, and how much in all.

`Pay the 12 players 20 euros each` means twelve payments of 20 euros, and none of 240; `pay the club
for the 12 tickets, 20 euros each` means one of 240.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

from actfor.authorization.intent.lexicon import VERBS, Deed
from actfor.authorization.intent.phrasing import MANY, is_plural
from actfor.authorization.intent.text import words
from actfor.authorization.intent.values import SinkType, Value, number_key, sums_in

_EACH: Final = frozenset("each apiece per".split())
_MOST_TIMES: Final = 31
_COUNTS: Final = {
    word: count
    for count, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), 1
    )
} | {"both": 2}


@dataclass(frozen=True, slots=True)
class Share:
    """What each of several gets, and how many they are, where the words say it."""

    sum: Decimal
    count: int | None = None
    alone: bool = True
    """Whether the words speak of no other money than of this."""

    @property
    def total(self) -> Decimal | None:
        """What all of them get."""
        return None if self.count is None else self.sum * self.count


def share_of(sentences: Iterable[str]) -> Share | None:
    """What each is paid: by the first sentence, in normal form, that says so."""
    for sentence in sentences:
        if (found := _found(sentence)) is not None:
            others = {one for text in sentences for one in sums_in(text)}
            return Share(found.sum, found.count, others <= {found.sum, found.total})
    return None


def _found(sentence: str) -> Share | None:
    if _EVERY.isdisjoint(words(sentence)):
        return None
    sums = sums_in(sentence)
    if sums and (match := _TO_EACH.search(sentence)):
        return Share(sums[0], _count(words(match["whom"])))
    for match in (*_SUM_EACH.finditer(sentence), *_EACH_TO.finditer(sentence)):
        whom, number = words(match["whom"]), number_key(match["sum"].rstrip(".,"))
        if number and (_count(whom) or "and" in whom or MANY.intersection(whom) or is_plural(whom)):
            return Share(Decimal(number), _count(whom))
    return None


def _count(whom: Iterable[str]) -> int | None:
    """How many are meant: `the 12 players`, `both of them`."""
    found = (int(one) if one.isdecimal() else _COUNTS.get(one, 0) for one in whom)
    return next((count for count in found if count > 1), None)


def counts_in(plain: str) -> frozenset[int]:
    """The numbers that words spell: `two`, `both`, `a dozen`."""
    known = _COUNTS | {"pair": 2, "couple": 2, "dozen": 12}
    return frozenset(known[word] for word in words(plain) if word in known)


def most_of(values: Iterable[Value], plain: str, share: Share | None) -> Decimal | None:
    """The largest number in the words, of whatever: no sum that was meant is above it; where they
    say how much is due for `each`, as often as the largest count that they hold. Not where each is
    somebody who gets it: `pay each of them`.
    """
    said = words(plain)
    numbers = [Decimal(v.key) for v in values if v.type is SinkType.AMOUNT]
    each = not _EACH.isdisjoint(said) and share is None
    if not numbers or not each or any(map(_pays_each, pairwise(said))):
        return max(numbers, default=None)
    counts = [one for one in numbers if one <= _MOST_TIMES and one != max(numbers)]
    return max(numbers) * max([*counts, *(Decimal(_COUNTS.get(one, 1)) for one in said)])


def _pays_each(two: tuple[str, str]) -> bool:
    """Whether a word before `each` says that each is paid."""
    before, each = two
    _, deeds = VERBS.get(before, ("", frozenset[Deed]()))
    return each in _EACH and (before == "to" or Deed.PAY in deeds)


_EVERY: Final = _EACH | {"every"}
_PAY: Final = r"\b(?:pay|give|send|transfer|refund|reimburse|repay|tip|wire|remit)(?:ing)? "
_SUM: Final = r"(?P<sum>[^\s\w]?[0-9][0-9.,]*[^\s\w]?)(?: \w+)?"
_WHOM: Final = r"(?P<whom>(?:(?!(?:for|from|to|then)\b)[^\s;:]+ ){1,8}?)"
_SUM_EACH: Final = re.compile(rf"{_PAY}{_WHOM}{_SUM},? (?:each|apiece|per (?:head|person))\b")
"""`Pay the 12 players 20 euros each`: who is paid stands right behind the verb."""
_EACH_TO: Final = re.compile(rf"{_PAY}{_SUM} (?:each|apiece) to (?P<whom>(?:[^\s,;:]+ ?){{1,5}})")
_TO_EACH: Final = re.compile(
    r"\b(?:to|pay|give|send|refund|reimburse|repay|tip) (?:each|every)\b"
    r"(?P<whom>(?: [^\s,;:]+){0,5})"
)
