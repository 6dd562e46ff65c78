"""What is asked for without a verb that asks: `Nadia needs access`, `the card should be frozen`,
`find her another day`.
"""

from __future__ import annotations

from itertools import pairwise
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
    near = tokens[max(0, position - _FAR) : position]
    lead = near[-4:-2]
    wanted = any(two in _WE_WANT for two in pairwise(near))
    if before[0] == "to" and _OUGHT.isdisjoint(lead[-1:]) and not wanted:
        return None  # `it seems to be deleted`, `she asks to be paid`
    if DENIED.intersection(lead) or _is_told_of(near[:-2]):
        return None
    return known


_TO_BE: Final = (["to"], ["should"], ["must"])
_WE_WANT: Final = frozenset(
    {(who, verb) for who in ("i", "we") for verb in ("want", "need", "would")}
    | {("i'd", "like"), ("we'd", "like")}
)
"""`I would like every review to be answered`."""
_OUGHT: Final = frozenset("has have needs need ought is are".split())
"""What leads `to be done` where somebody asks for it."""
_FAR: Final = 32
"""Words before it that are looked at."""


def _is_told_of(before: list[str]) -> bool:
    """Whether what should be done is asked about or reported: `which have to be paid`."""
    return not (_QUESTIONS.isdisjoint(before) and _REPORTS.isdisjoint(before)) or (
        "if" in before[1:]
    )


_QUESTIONS: Final = frozenset("what which whether who whom why how when where".split())
_REPORTS: Final = frozenset(
    "say says said claim claims claimed write writes wrote think thinks thought state states"
    " suggest suggests suggested demand demands demanded ask asks asked".split()
)


def _is_somebody(before: list[str]) -> bool:
    """Whether a sentence has begun with a person: a name alone, or `she`."""
    first = before[-2:] if len(before) > 1 and before[-2][:1].isupper() else before[-1:]
    alone = len(first) == len(before) or before[-len(first) - 1].casefold() in LEADS
    named = all(word[:1].isupper() and word.casefold() not in NOT_NAMES for word in first)
    told = before[-1].casefold() in _PEOPLE or before[0].casefold() in _EVERYBODY
    return told or (alone and named)


_PEOPLE: Final = frozenset("he she they who".split())
_EVERYBODY: Final = frozenset("everybody everyone anybody anyone somebody someone".split())


def needed(tokens: list[str], spoken: list[str], position: int) -> frozenset[Deed]:
    """What is asked for by saying what somebody else should have: `Nadia needs read access`,
    `he should get the list`, `she has to be able to edit it`. Empty where nothing is.
    """
    before, after = tokens[max(0, position - 1) : position], tokens[position + 1 : position + 6]
    if tokens[position] == "need" and before in (["i"], ["we"]) and after[:1] not in (["to"], []):
        return _TO_HAVE
    if not before or before[0] in _OURSELVES or DENIED.intersection(before):
        return frozenset()
    if _is_told_of(tokens[max(0, position - _FAR) : position]):
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


def is_sought_for(tokens: list[str], spoken: list[str], position: int) -> bool:
    """Whether who is to find a time finds it for somebody, and so arranges it: `find her something
    next week`, `find an hour for Sam`. Not `find me …`, `find a time that suits`: an answer.
    """
    if tokens[position] not in _FIND:
        return False
    after, names = tokens[position + 1 : position + _SOUGHT], spoken[position + 1 :]
    if after[:1] and (after[0] in _THEM or (names[0][:1].isupper() and after[0] not in NOT_NAMES)):
        return _is_free_time(after)
    at = next((at for at, word in enumerate(after) if word == "for"), 0)
    whom = names[at + 1 : at + 3]
    somebody = bool(whom) and (whom[0][:1].isupper() or whom[0].casefold() in _THEM)
    return at > 0 and somebody and _is_free_time(after[:at])


def _is_free_time(after: list[str]) -> bool:
    """Whether some time is to be found, and not that of something: `the date of the meeting`."""
    at = next((at for at, word in enumerate(after) if word in _A_TIME), None)
    return at is not None and (after[at] == "something" or not _SOME.isdisjoint(after[:at]))


_FIND: Final = frozenset("find get".split())
_THEM: Final = frozenset("him her them us".split())
_A_TIME: Final = frozenset("something slot time hour appointment date day half-hour".split())
_SOME: Final = frozenset(
    "a an another some any one new other free next earliest first available different".split()
)
_SOUGHT: Final = 10  # words


def is_written_to(tokens: list[str], position: int) -> bool:
    """Whether it is said that others get a letter of ours: `those who come by train get a mail from
    me that …`. Not `get a mail`, which fetches one, nor what we get, or got.
    """
    if tokens[position] not in _GET or position == 0 or tokens[position - 1] in _NO_SUBJECT | LEADS:
        return False
    if tokens[0] in _ASKING or _is_habit(tokens[max(0, position - _FAR) : position + _FAR]):
        return False
    after = tokens[position + 1 : position + 6]
    at = next((at for at, word in enumerate(after) if word in _LETTER), 0)
    ours = tuple(after[at + 1 : at + 3]) in _FROM_US
    return at > 0 and after[0] in _ONE and ours


def _is_habit(near: list[str]) -> bool:
    """Whether it is told what happens time and again: `they get a message from us every month`."""
    often = any(how in _TIMES and often in _PERIODS for how, often in pairwise(near))
    return often or not _USUALLY.isdisjoint(near)


_TIMES: Final = frozenset("every each per a".split())
_PERIODS: Final = frozenset("day week month quarter year morning evening night time".split())
_USUALLY: Final = frozenset(
    "always usually often sometimes already daily weekly monthly yearly regularly".split()
)
_GET: Final = frozenset("get gets".split())
_NO_SUBJECT: Final = frozenset("i we you did didn't don't not".split())
_ASKING: Final = frozenset("do does did will if whether how why when".split())
_ONE: Final = frozenset("a an another one".split())
_LETTER: Final = frozenset("mail email e-mail message letter note reply answer text".split())
_FROM_US: Final = frozenset({("from", "me"), ("from", "us")})


def is_agreed_to(tokens: list[str], position: int) -> bool:
    """Whether it is said that something is right with us, and so is to be approved: `her leave in
    August is okay with me`. Not where it is asked, doubted, or somebody else's view.
    """
    if tokens[position] not in _RIGHT or tokens[0] in _ASKING or position == 0:
        return False
    near = tokens[max(0, position - _FAR) : position]
    ours = tuple(tokens[position + 1 : position + 3]) in _WITH_US
    return ours and near[-1] in _IS and not (DENIED | _REPORTS | {"if"}).intersection(near)


_RIGHT: Final = frozenset("okay ok fine alright".split())
_IS: Final = frozenset("is are".split())
_WITH_US: Final = frozenset((with_, us) for with_ in ("with", "by", "for") for us in ("me", "us"))
