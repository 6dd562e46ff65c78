"""The verbs of a sentence that ask for something, and what each is done to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from actfor.authorization.intent.indirect import (
    is_agreed_to,
    is_sought_for,
    is_to_be_done,
    is_written_to,
    needed,
)
from actfor.authorization.intent.lexicon import PAST, PHRASES, VERBS, Deed
from actfor.authorization.intent.phrasing import (
    DENIED,
    DETERMINER,
    LEADS,
    MANY,
    WORDS,
    is_plural,
    matters_of_words,
)
from actfor.authorization.intent.telling import CLAUSE, TOLD, goes_to, is_told
from actfor.authorization.intent.text import normal, words
from actfor.authorization.intent.values import SinkType, sums_in, typed

MOST_ASKED: Final = 2_000
"""Verbs of one text that are read: ten times what people write into as long a text."""
LOOKING: Final = frozenset({Deed.LOOK})
_IDIOMS: Final = frozenset(
    {
        ("make", "sure"),
        ("take", "a"),
        ("take", "into"),
        ("take", "place"),
        ("let", "me"),
        ("let", "us"),
        ("note", "that"),
        ("thank", "you"),
        *(("pay", word) for word in "attention close special particular heed".split()),
    }
)
"""Verbs with words that make them ask for nothing by themselves."""
_AUXILIARY: Final = frozenset("i you we they he she it not my the n't".split())
"""What follows `do` where it only helps another verb: `how much time do I have`."""
_TO_ME: Final = frozenset("give send show tell get find provide list write".split())
"""`give me …` wants an answer, not that something is sent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One verb that asks for something: where it stands, and what its sentence is about."""

    verb: str
    deeds: frozenset[Deed]
    about: frozenset[str]
    sentence: int
    many: bool
    text: str
    single: bool = False
    """What the verb is done to is one new thing: `create a code`."""
    to_someone: bool = False
    """It is said to somebody: `answer her`, `tell the customer`."""
    after: frozenset[str] = frozenset()
    """What the part of its sentence is about that follows the verb: what it is done to."""
    clause: frozenset[str] = frozenset()
    """The same, up to where its clause ends."""
    direct: frozenset[str] = frozenset()
    """The same, up to the first preposition: `comment` of `delete the comment on the case`."""
    thing: frozenset[str] = frozenset()
    """The last noun of that: `overview` of `write an account overview`."""


def read_sentence(
    sentence: str,
    number: int,
    asked: list[Asked],
    denied: set[str],
    here: frozenset[str],
    before: frozenset[str],
) -> None:
    """``here``: what it is about; ``before``: the sentence before, for what is done to `it`.

    No more is read once ``MOST_ASKED`` were found: whoever meets the bound must tighten.
    """
    found = list(WORDS.finditer(sentence))
    spoken = [word.group() for word in found]
    tokens = [token.casefold() for token in spoken]
    clauses = _clauses(sentence)
    text = normal(sentence)
    many = bool(MANY.intersection(tokens)) or is_plural(tokens)
    for position, token in enumerate(tokens):
        if len(asked) >= MOST_ASKED:
            return
        if done := is_to_be_done(tokens, position):
            object_ = _done_to(_before(tokens[max(0, position - _FAR) : position - 2]))
            asked.append(Asked(*done, here, number, many, text, False, False, *object_))
        known = VERBS.get(token) or _HEADS.get(token)
        if is_agreed_to(tokens, position):
            asked.append(Asked("agree", frozenset({Deed.ACCEPT}), here, number, many, text))
        if is_written_to(tokens, position):
            asked.append(
                Asked("send", frozenset({Deed.SEND}), here, number, many, text, to_someone=True)
            )
        if wanted := needed(tokens, spoken, position):
            asked.append(
                Asked("give", wanted, here, number, many, text, to_someone=Deed.SEND in wanted)
            )
        begins = position in clauses and (
            _is_done_to(tokens[position + 1 : position + 2])
            or not _CONDITIONS.isdisjoint(tokens[max(0, position - _FAR) : position])
        )
        if is_sought_for(tokens, spoken, position) and _asks(tokens, position):
            asked.append(Asked("arrange", _ARRANGED, here, number, many, text))
        if known is None or token in PAST or not (begins or _asks(tokens, position)):
            continue
        if token not in VERBS and position and tokens[position - 1] not in LEADS:
            continue  # `a security clean-up`
        base, deeds = known
        after = tokens[position + 1] if position + 1 < len(tokens) else ""
        auxiliary = token in {"do", "does"} and after in _AUXILIARY
        if auxiliary or (base, after) in _IDIOMS:
            continue
        if after in {"me", "us"} and base in _TO_ME:
            deeds = LOOKING
        elif base in _MOVES and _is_of_money(
            base,
            sentence[found[position].end() : found[position + 1 : position + _FAR][-1].end()]
            if position + 1 < len(found)
            else "",
        ):
            deeds |= {Deed.PAY}
        elif base == "send" and not _DUE.isdisjoint(tokens[position + 1 : position + 1 + TOLD]):
            deeds = frozenset({Deed.PAY})  # `send her the money`
        elif base == "take" and "free" in here | before and _is_taken(tokens[position + 1 :][:2]):
            deeds |= {Deed.BOOK}  # `is the room free? If so, take it`
        elif base == "get" and _is_fetched(tokens[position + 1 : position + 3]):
            deeds -= {Deed.BOOK}
        meant = _phrase(tokens, position, base)
        if DENIED.intersection(tokens[max(0, position - 3) : position]):
            denied.add(base)
            continue
        rest = tokens[position + 1 : position + 1 + _FAR]
        about = here | before if _IT.intersection(rest[:2]) else here
        if base in _CHASES and not _OWED.isdisjoint(rest):
            about |= {"~money"}  # `remind everybody who has not paid`
        knows = base == "let" and "know" in rest[: _APART + 1]
        following = spoken[position + 1 : position + 1 + _FAR]
        single, done_to = _is_single(rest), _done_to(rest)
        if _IT.intersection(rest[:1]):
            # `it` is what was spoken of
            done_to = done_to[0] | about, done_to[1] | about, about, frozenset()
        for verb, means in _readings(base, deeds, meant):
            told = knows or is_told(verb, following) or goes_to(verb, following)
            asked.append(Asked(verb, means, about, number, many, text, single, told, *done_to))
        if base in _MARKS and (state := _as_state(rest)) is not None:
            asked.append(Asked(*state, here, number, many, text))


_ARRANGED: Final = frozenset({Deed.BOOK, Deed.CREATE, Deed.CHANGE})
"""What is done to a time that is found for somebody: it is booked, or an older one is moved."""


def _is_taken(after: list[str]) -> bool:
    """Whether `it` is taken as one's own, and not carried somewhere: `take it into the summary`."""
    return not _IT.isdisjoint(after[:1]) and _CARRIED.isdisjoint(after[1:])


def _is_fetched(after: list[str]) -> bool:
    """Whether what is got is there already: `get the order confirmation`, not `get her a table`."""
    new = not _NEW.isdisjoint(after) or (after[:1] and after[0] not in DETERMINER | _OBJECTS)
    return not new


_NEW: Final = frozenset("a an another one some any".split())
_CARRIED: Final = frozenset(
    "into onto to in along with out off away down up over back home as apart".split()
)


def _before(tokens: list[str]) -> list[str]:
    """What a passive is said of, where another came before it: `the account` of `The card should
    be frozen and the account …`.
    """
    last = max((at for at, word in enumerate(tokens) if word == "be"), default=-2)
    rest = tokens[last + 2 :]
    return rest[1:] if rest[:1] in (["and"], ["or"], ["then"]) else rest


def _done_to(rest: list[str]) -> tuple[frozenset[str], ...]:
    """What a part of a sentence is about: all of it, its first clause, its very object, and that
    one's last noun.
    """
    clause = until(rest, _CLAUSE_ENDS | _CONDITIONS)
    direct = until(clause, _PREPOSITIONS)
    thing = until(direct, _NAMED)[-1:]
    return tuple(matters_of_words(part) for part in (rest, clause, direct, thing))


_NAMED: Final = frozenset("named called titled".split())


def until(tokens: list[str], ends: frozenset[str]) -> list[str]:
    """The words before the first of ``ends``."""
    return tokens[: next((at for at, word in enumerate(tokens) if word in ends), len(tokens))]


_PREPOSITIONS: Final = frozenset(
    "on in at of for from to about with by into regarding under via per that has have".split()
)


def _is_of_money(verb: str, rest: str) -> bool:
    """Whether what follows a verb of moving is a sum, or what is due; what is put somewhere is
    written there, but into an account.
    """
    told = words(rest)
    if (
        verb in _PUTS
        and _ACCOUNTS.isdisjoint(told)
        and not any(one.type is SinkType.ACCOUNT for one in typed(rest))
    ):
        return False
    return bool(sums_in(rest)) or not _DUE.isdisjoint(told[:_APART])


_CHASES: Final = frozenset("remind nudge chase".split())
_OWED: Final = frozenset("paid owe owes".split())
_MOVES: Final = frozenset("move put return shift give".split())
_PUTS: Final = frozenset("move put shift".split())
_ACCOUNTS: Final = frozenset("account accounts wallet card iban savings".split())
_DUE: Final = frozenset("difference deposit money sum remainder overpayment".split())


def _clauses(sentence: str) -> frozenset[int]:
    """The places, counted in words, where a part of the sentence begins: after a comma or dash."""
    tokens = list(WORDS.finditer(sentence))
    gaps = (sentence[one.end() : two.start()] for one, two in pairwise(tokens))
    return frozenset(at for at, gap in enumerate(gaps, 1) if gap.strip() in _PAUSES)


_PAUSES: Final = frozenset({",", "-", "\u2013", "\u2014", "(", "),"})


def _is_done_to(after: list[str]) -> bool:
    """Whether what follows is what something is done to: `put it live`, `update the page`."""
    return bool(after) and after[0] in DETERMINER | _OBJECTS


_CONDITIONS: Final = frozenset("if when once after before unless as while since because".split())
"""What leads a clause that another follows, after a comma: `if it is right, set it to approved`."""
_OBJECTS: Final = frozenset("it them him her me us".split())
_IT: Final = frozenset("it them that those these".split())
"""What stands for what was just spoken of: `If it failed, kick it off again`."""


def _is_single(after: list[str]) -> bool:
    """Whether one new thing is meant by what follows a verb, up to where its clause ends."""
    clause = after[:CLAUSE]
    end = next((at for at, word in enumerate(clause) if word in _CLAUSE_ENDS), len(clause))
    return clause[:1] in (["a"], ["an"], ["another"], ["one"]) and not MANY & {*after[:end]}


_FAR: Final = 32
"""Words on each side of a verb that are looked at: a sentence of many verbs stays linear."""
_CLAUSE_ENDS: Final = frozenset("and then or but which that so".split())


def _phrase(tokens: list[str], position: int, base: str) -> tuple[str, frozenset[Deed]] | None:
    """The verb that is meant where it is told in two words: `let her know`, `take it off`."""
    near = tokens[position + 1 : position + 2 + _APART]
    due = "~money" in matters_of_words(near) or not _DUE.isdisjoint(near)
    if base in _BACK and "back" in near and due:
        return VERBS.get("refund")
    if base in _TAKES and _is_part_off(tokens[position + 1 : position + 1 + _APART]):
        return VERBS.get("reduce")
    for at, second in enumerate(tokens[position + 1 : position + 1 + _APART], position + 2):
        if base == "make" and tokens[at : at + 1] and tokens[at] not in _MADE_SO:
            continue  # `make a list of visible errors`
        if second == "out" and tokens[at : at + 1] == ["of"]:
            continue  # `get the confirmation out of my mail`
        if meant := PHRASES.get((base, second)):
            return VERBS.get(meant, (meant, frozenset({Deed.ANY})))
    return None


def _is_part_off(near: list[str]) -> bool:
    """Whether a part or a sum is taken off something, which stays: `take half off the price`."""
    off = near.index("off") if "off" in near else 0
    part = near[:off]
    return bool(part) and (part[-1] in _PARTS or part[-1].isdigit())


_TAKES: Final = frozenset("take knock".split())
_PARTS: Final = frozenset(
    "half third quarter fifth tenth percent euro euros pound pounds dollar dollars".split()
)


def _readings(
    base: str, deeds: frozenset[Deed], phrase: tuple[str, frozenset[Deed]] | None
) -> Iterator[tuple[str, frozenset[Deed]]]:
    """What a verb may mean here: itself, and the phrase that it is part of.

    Who drops a line deletes nothing, and to set up is not to set.
    """
    if phrase is None or not (phrase[0] == "setup" or Deed.DELETE in deeds):
        yield base, deeds
    if phrase is not None:
        yield phrase


_MADE_SO: Final = frozenset("to for on in at and so until by now again from as with".split())
_HEADS: Final = {first: (first, frozenset[Deed]()) for first, _ in PHRASES if first not in VERBS}
"""Words that are verbs in a phrase only: `jot … down`, `hand … over`."""
_BACK: Final = frozenset("get give have send pay".split())
_APART: Final = 5
"""How many words may stand between the two of a phrase: `take the old one off`."""


def _as_state(after: list[str]) -> tuple[str, frozenset[Deed]] | None:
    """`mark … as closed` asks to close it."""
    for position, word in enumerate(after[:-1]):
        if word == "as":
            state = after[position + 1]
            known = VERBS.get(state.removesuffix("d")) or VERBS.get(state.removesuffix("ed"))
            return known if known is not None and Deed.PAY not in known[1] else None
    return None


_MARKS: Final = frozenset("mark set flag label".split())


def _asks(tokens: list[str], position: int) -> bool:
    """Whether a verb's form is used as a verb here, and not as a noun after its article."""
    before = tokens[position - 1] if position else ""
    if before in DETERMINER or before in _SUBJECTS:
        return False
    if before in _TOPIC and tokens[position].endswith("ing"):
        return False  # `a reminder about reserving it`
    two = tokens[position - 2] if position > 1 else ""
    noun_like = tokens[position] in _ALSO_NOUNS or tokens[position].endswith("ing")
    if noun_like and _OBJECTS.intersection(tokens[position + 1 : position + 2]):
        return True  # `… answer him`: nouns have no object
    if noun_like and position:
        # A noun, unless something that leads a verb stands before it.
        return before in LEADS and not (two in DETERMINER and before in _ORDINALS)
    return True


_ALSO_NOUNS: Final = frozenset(
    "email mail message text post transfer order book file record plan schedule report review"
    " comment share contact call address note log tip charge release rent reply request need work"
    " list search view check answer start end set star update change return deposit purchase visit"
    " run process help name watch filter track form trade issue put like want leave update push"
    " emails mails messages texts posts transfers orders books files records plans schedules"
    " reports reviews comments shares contacts calls addresses notes logs tips charges rents"
    " replies requests needs works lists stars updates changes returns purchases visits processes"
    " likes follows invites watches names forms trades issues leaves pushes pulls forks votes"
    " meeting building open"
    " booking listing place".split()
)
_SUBJECTS: Final = frozenset(
    "i we they he she it who that which i'll we'll they'll he'll she'll".split()
)
"""Who tells what they did or do: `I read an article` asks for nothing."""
_TOPIC: Final = frozenset("about of for on regarding".split())
_ORDINALS: Final = frozenset("first second third last next".split())
