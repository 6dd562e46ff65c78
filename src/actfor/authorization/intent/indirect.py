"""What is asked for without a verb that asks: `Nadia needs access`, `the card should be frozen`."""

from __future__ import annotations

from typing import Final

from actfor.authorization.intent.lexicon import PARTICIPLES, Deed
from actfor.authorization.intent.phrasing import DENIED, LEADS, NOT_NAMES


def is_to_be_done(tokens: list[str], position: int) -> tuple[str, frozenset[Deed]] | None:
    """What is asked for by saying what is to happen to a thing: `the card should be frozen`,
    `every issue of theirs has to be deleted`.
    """
    known = PARTICIPLES.get(tokens[position])
    before = tokens[max(0, position - 2) : position]
    if known is None or before[-1:] != ["be"] or before[:1] not in _TO_BE:
        return None
    lead = tokens[max(0, position - 4) : position - 2]
    return None if DENIED.intersection(lead) or _HOPES.intersection(lead[-1:]) else known


_TO_BE: Final = (["to"], ["should"], ["must"])


_HOPES: Final = frozenset("seem seems appear appears likely like going supposed said".split())
"""What leads `to be done` where nobody asks for it."""


def _is_somebody(before: list[str]) -> bool:
    """Whether a sentence has begun with a person: a name alone, or `she`."""
    first = before[-2:] if len(before) > 1 and before[-2][:1].isupper() else before[-1:]
    alone = len(first) == len(before) or before[-len(first) - 1].casefold() in LEADS
    named = all(word[:1].isupper() and word.casefold() not in NOT_NAMES for word in first)
    return before[-1].casefold() in {"he", "she", "they", "who"} or (alone and named)


def needed(tokens: list[str], spoken: list[str], position: int) -> frozenset[Deed]:
    """What is asked for by saying what somebody else should have: `Nadia needs read access`,
    `he should get the list`, `she has to be able to edit it`. Empty where nothing is.
    """
    before, after = tokens[max(0, position - 1) : position], tokens[position + 1 : position + 6]
    if tokens[position] == "need" and before in (["i"], ["we"]) and after[:1] not in (["to"], []):
        return _TO_HAVE
    if not before or before[0] in _OURSELVES or DENIED.intersection(before):
        return frozenset()
    if tokens[position] in _SHOULD and after[:1] and after[0] in _HAVE:
        return _GIVEN
    if tokens[position] in _NEED | _SHOULD | {"has", "have"} and "to" in after[:1]:
        return _LET_IN if _SEE.intersection(after[1:]) else frozenset()
    if tokens[position] == "needs" and after[:1] != ["to"]:
        return _GIVEN if _is_somebody(spoken[:position]) else _LET_IN
    return frozenset()


_OURSELVES: Final = frozenset("i we you it this that which what there nothing".split())


_SHOULD: Final = frozenset("should must".split())


_NEED: Final = frozenset("need needs".split())


_HAVE: Final = frozenset("get have receive".split())


_SEE: Final = frozenset("see read edit view access use".split())


_GIVEN: Final = frozenset({Deed.SEND, Deed.ADMIT})


_TO_HAVE: Final = frozenset({Deed.LOOK, Deed.FETCH})
"""`I need the data set in /raw`: it is to be got."""


_LET_IN: Final = frozenset({Deed.ADMIT})
