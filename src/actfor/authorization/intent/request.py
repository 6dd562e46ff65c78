"""What a person asked for, read from their words: deeds and what they are about, names, sources.

Deterministic and shallow on purpose. It finds verbs that ask (not those that tell of the past, nor
those that are denied), what their sentence is about, whether one thing or many are meant, whom and
which documents the words name, and whether they hand the wheel to a named source ("follow the
instructions in …"). It never decides; what it is unsure of, a person is asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Final

from actfor.authorization.intent.lexicon import (
    PARTICIPLES,
    PAST,
    PHRASES,
    VERBS,
    Deed,
    concepts,
    primary,
)
from actfor.authorization.intent.text import MAX_TEXT, normal, skeleton, stem, words
from actfor.authorization.intent.values import SinkType, Value, sums_in, typed

_BREAKS: Final = re.compile(
    r"(?:(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bSt)(?<!\bMrs)(?<!\bProf)\.|[!?;:])(?=\s|$)|\n+"
)
_SPOKEN: Final = re.compile(r"[^\s,;:!?()]+")
_WORDS: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_DETERMINER: Final = frozenset(
    "the an a all this that these those my his her their our your its any each some another new"
    " latest recent upcoming same no unread entire whole total via by per recurring rental"
    " from".split()
)
_DENIED: Final = frozenset(
    "not don't dont never without avoid no doesn't won't cannot stop".split()
)
_MANY: Final = frozenset(
    "all every each everyone everybody any both them these those multiple several many various"
    " remaining rest others other respective".split()
)
_TASKS: Final = frozenset(
    stem(w)
    for w in "task todo instruction action request errand step checklist runbook playbook procedure"
    " protocol routine guideline".split()
)
_LISTS: Final = frozenset(
    stem(w)
    for w in "task todo instruction step checklist list runbook playbook procedure protocol policy"
    " guideline".split()
)
"""What holds several things to do, and is then spoken of as `it` or `them`."""
_NEEDS: Final = frozenset(
    stem(w)
    for w in "need want ask say tell request specify mention suggest recommend advise propose".split()
)
_WHAT: Final = frozenset("what whatever everything anything as".split())
_TELLS: Final = frozenset(
    "send sends sent ask asks asked tell tells told post posts posted write writes wrote say says"
    " said mention mentions mentioned share shared give gives gave propose proposes proposed email"
    " emails emailed message messaged forward forwarded report reported request requested want"
    " wants need needs suggest suggests suggested recommend recommends recommended advise advises"
    " advised invite invited add added call called leave left listed described explained"
    " announced written noted put".split()
)
"""What someone does whose words are then followed: `John sent me …`."""
_OF: Final = frozenset("from by of via".split())
_NEAR_SOURCE: Final = 4
_POINTS: Final = frozenset(
    "in from per see following follow according using use on read check review open look at by as"
    " consult summarize summarise through with called titled named subject".split()
)
_TELLING: Final = frozenset(
    "says say lists list explains describes contains gives names mentions tells prescribes shows"
    " asks requires suggests has".split()
)
"""What stands before and after the name of a source."""
_BETWEEN: Final = frozenset(
    "just has have also recently already had i me the email mail my people team".split()
)
_WRITINGS: Final = frozenset({"~mail", "~message", "~task", "~file", "~web", "~issue"})
_HANDS_OVER: Final = frozenset(
    "do follow complete perform achieve fulfil fulfill execute finish handle carry accomplish"
    " implement address act comply help solve resolve satisfy process tackle".split()
)
_LOOKING: Final = frozenset({Deed.LOOK})
_ANSWERS: Final = frozenset({None, Deed.LOOK, Deed.ANY})
_IDIOMS: Final = frozenset(
    {
        ("make", "sure"),
        ("take", "a"),
        ("take", "into"),
        ("let", "me"),
        ("let", "us"),
        ("note", "that"),
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


@dataclass(frozen=True, slots=True)
class Wish:
    """The reading of a person's words. ``text`` is ``normal``; its values are the person's own."""

    text: str
    asked: tuple[Asked, ...]
    about: frozenset[str]
    denied: frozenset[str]
    """Bases of the verbs that the words forbid."""
    values: frozenset[Value]
    names: tuple[frozenset[str], ...]
    """Names of people and things, as sets of folded words: capitalised or quoted in the words."""
    sentences: tuple[tuple[str, frozenset[str], frozenset[str], bool], ...]
    """Each in normal form, the stems that could ask, its matters, and if many are meant."""
    groups: bool
    """Whether the words speak of several people without naming them: `the participants`."""
    sources: tuple[frozenset[str], ...]
    """The names among them whose words are meant: `from X`, `X sent`, `X's list`."""
    hands_over: bool
    """Whether the words say to do what some named source says."""
    quotes: frozenset[str] = frozenset()
    """What stands in quotation marks, in normal form."""
    drawn: str = ""
    """The skeleton of the words: what they look like."""
    plain: str = ""
    """The words alone, folded, with one space between: for titles spelled another way."""
    filled: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Stems of nouns with the names that stand beside them: `workspace Apollo`."""
    spelled: Mapping[Value, str] = field(default_factory=dict)
    """Addresses, accounts, links and paths as the person wrote them."""
    truncated: bool = False
    stems: frozenset[str] = field(default_factory=frozenset)

    @property
    def seeks_addresses(self) -> bool:
        """Whether they say that somebody's addresses are to be found in something."""
        return self.groups or self.hands_over or not _ADDRESSING.isdisjoint(self.stems)

    @property
    def changes(self) -> bool:
        """Whether the words ask for more than an answer."""
        return any(
            primary(one.verb) not in _ANSWERS and one.deeds != _LOOKING for one in self.asked
        )

    def asks_state(self, value: str, about: frozenset[str]) -> bool:
        """Whether a verb asks for what a word says of a thing: who says to close it, `closed`."""
        verb, _ = PARTICIPLES.get(value, ("", None))
        return any(one.verb == verb and (one.about & about) for one in self.asked)

    def points_to(self, title: str) -> bool:
        """Whether they name this as what something is taken from: `listed in X`, `X says`.

        ``title``: words with one space between, folded. Not where it is what something is done to.
        """
        at = self.plain.find(title) if title else -1
        while at >= 0:
            before = self.plain[:at].split()[-_NEAR_SOURCE:]
            after = self.plain[at + len(title) :].split()[:2]
            if not (_POINTS.isdisjoint(before) and _TELLING.isdisjoint(after)):
                return True
            at = self.plain.find(title, at + 1)
        return False

    def has(self, kind: SinkType) -> bool:
        """Whether the words hold a value of this type."""
        return any(value.type is kind for value in self.values)

    @property
    def most(self) -> Decimal | None:
        """The largest number in the words, of whatever: no sum that was meant is above it."""
        numbers = (Decimal(v.key) for v in self.values if v.type is SinkType.AMOUNT)
        return max(numbers, default=None)


def read_words(said: Iterable[str]) -> Wish:
    """The reading of everything a person has said, in order; what is too long is not read."""
    parts = list(said)
    whole = "\n".join(parts)
    text = whole[:MAX_TEXT]
    sentences = [s for s in _BREAKS.split(text) if s.strip()]
    asked: list[Asked] = []
    denied: set[str] = set()
    matters = [_about(sentence) for sentence in sentences]
    for number, sentence in enumerate(sentences):
        before = matters[number - 1] if number else frozenset[str]()
        _read_sentence(sentence, number, asked, denied, matters[number], before)
    all_stems = frozenset(stem(word) for word in words(text))
    return Wish(
        normal(text),
        tuple(asked),
        _about(text),
        frozenset(denied - {one.verb for one in asked}),
        frozenset(typed(text)),
        names_in(text),
        tuple(map(_sentence, sentences, matters)),
        bool(_GROUPS & frozenset(words(text))),
        _sources(text),
        _hands_over_any(sentences),
        frozenset(normal(quoted) for quoted in _quoted(text)),
        skeleton(text),
        " ".join(words(text)),
        _filled(text),
        _spelled(text),
        len(whole) > MAX_TEXT,
        all_stems,
    )


def _sentence(
    sentence: str, about: frozenset[str]
) -> tuple[str, frozenset[str], frozenset[str], bool]:
    tokens = [token.casefold() for token in _WORDS.findall(sentence)]
    unknown = [
        position
        for position, token in enumerate(tokens)
        if token not in VERBS
        and not _DENIED.intersection(tokens[max(0, position - 3) : position])
        and (position == 0 or tokens[position - 1] in _LEADS)
    ]
    asking = frozenset(
        form for position in unknown for form in _spellings(tokens[position : position + 2])
    )
    return normal(sentence), asking, about, bool(_MANY.intersection(tokens)) or _plural(tokens)


def _spellings(two: list[str]) -> Iterator[str]:
    """The stem of a word, and of the word that it makes with the next: `roll back`, `rollback`."""
    yield stem(two[0])
    if len(two) > 1:
        yield stem("".join(two))


def _about(sentence: str) -> frozenset[str]:
    spoken = _PLACES.sub(" ", sentence)
    found = set(concepts(frozenset(stem(word) for word in words(spoken))))
    if sums_in(sentence):
        found.add("~money")
    for token in _SPOKEN.findall(sentence):
        if token[:1] == "#" and token[1:2].isalpha():
            found.add("~channel")
        if any(one.type is SinkType.PATH and "/" not in one.key for one in typed(token)):
            found.add("~file")
    return frozenset(found)


_PLACES: Final = re.compile(r"(?:^|(?<=[\s(\"'`]))(?:/|~/|[a-z]+://)\S+|\S+@\S+")
"""Paths and addresses: where a thing is does not say what it is."""
_ADDRESSING: Final = frozenset(
    stem(word) for word in "address adress contact list listed phone recipient forward cc".split()
)
_GROUPS: Final = frozenset(
    "participants attendees members collaborators everyone everybody users people invitees guests"
    " recipients colleagues contacts employees".split()
)


def _read_sentence(
    sentence: str,
    number: int,
    asked: list[Asked],
    denied: set[str],
    here: frozenset[str],
    before: frozenset[str],
) -> None:
    """``here``: what it is about; ``before``: the sentence before, for what is done to `it`."""
    spoken = _WORDS.findall(sentence)
    tokens = [token.casefold() for token in spoken]
    clauses = _clauses(sentence)
    text = normal(sentence)
    many = bool(_MANY.intersection(tokens)) or _plural(tokens)
    for position, token in enumerate(tokens):
        if done := _is_to_be_done(tokens, position):
            asked.append(Asked(*done, here, number, many, text, after=_about(_before(tokens))))
        known = VERBS.get(token) or _HEADS.get(token)
        if wanted := _wanted(tokens, spoken, position):
            asked.append(
                Asked("give", wanted, here, number, many, text, to_someone=Deed.SEND in wanted)
            )
        begins = position in clauses and (
            _is_done_to(tokens[position + 1 : position + 2])
            or not _CONDITIONS.isdisjoint(tokens[:position])
        )
        if known is None or token in PAST or not (begins or _asks(tokens, position)):
            continue
        if token not in VERBS and position and tokens[position - 1] not in _LEADS:
            continue  # `a security clean-up`
        base, deeds = known
        after = tokens[position + 1] if position + 1 < len(tokens) else ""
        auxiliary = token in {"do", "does"} and after in _AUXILIARY
        if auxiliary or (base, after) in _IDIOMS:
            continue
        if after in {"me", "us"} and base in _TO_ME:
            deeds = _LOOKING
        elif base in _MOVES and _is_of_money(" ".join(spoken[position + 1 :])):
            deeds |= {Deed.PAY}
        elif base == "send" and not _DUE.isdisjoint(tokens[position + 1 : position + 1 + _TOLD]):
            deeds = frozenset({Deed.PAY})  # `send her the money`
        meant = _phrase(tokens, position, base)
        if _DENIED.intersection(tokens[max(0, position - 3) : position]):
            denied.add(base)
            continue
        rest = tokens[position + 1 :]
        about = here | before if _IT.intersection(rest[:2]) else here
        knows = base == "let" and "know" in rest[: _APART + 1]
        following = spoken[position + 1 :]
        single, done_to = _is_single(rest), _about(" ".join(rest))
        for verb, means in _readings(base, deeds, meant):
            told = knows or _is_told(verb, following) or _goes_to(verb, following)
            asked.append(Asked(verb, means, about, number, many, text, single, told, done_to))
        if base in _MARKS and (state := _as_state(tokens[position + 1 :])) is not None:
            asked.append(Asked(*state, here, number, many, text))


def _is_to_be_done(tokens: list[str], position: int) -> tuple[str, frozenset[Deed]] | None:
    """What is asked for by saying what is to happen to a thing: `the card should be frozen`,
    `every issue of theirs has to be deleted`.
    """
    known = PARTICIPLES.get(tokens[position])
    before = tokens[max(0, position - 2) : position]
    if known is None or before[-1:] != ["be"] or before[:1] not in _TO_BE:
        return None
    lead = tokens[max(0, position - 4) : position - 2]
    return None if _DENIED.intersection(lead) or _HOPES.intersection(lead[-1:]) else known


_TO_BE: Final = (["to"], ["should"], ["must"])
_HOPES: Final = frozenset("seem seems appear appears likely like going supposed said".split())
"""What leads `to be done` where nobody asks for it."""


def _before(tokens: list[str]) -> str:
    return " ".join(tokens[: tokens.index("be")])


def _is_of_money(rest: str) -> bool:
    """Whether what follows a verb of moving is a sum, or what is due."""
    return bool(sums_in(rest)) or not _DUE.isdisjoint(words(rest)[:_APART])


_MOVES: Final = frozenset("move put return shift give".split())
_DUE: Final = frozenset("difference deposit money sum remainder overpayment".split())


def _is_somebody(before: list[str]) -> bool:
    """Whether a sentence has begun with a person: a name alone, or `she`."""
    first = before[-2:] if len(before) > 1 and before[-2][:1].isupper() else before[-1:]
    alone = len(first) == len(before) or before[-len(first) - 1].casefold() in _LEADS
    named = all(word[:1].isupper() and word.casefold() not in _NOT_NAMES for word in first)
    return before[-1].casefold() in {"he", "she", "they", "who"} or (alone and named)


def _wanted(tokens: list[str], spoken: list[str], position: int) -> frozenset[Deed]:
    """What is asked for by saying what somebody else should have: `Nadia needs read access`,
    `he should get the list`, `she has to be able to edit it`. Empty where nothing is.
    """
    before, after = tokens[max(0, position - 1) : position], tokens[position + 1 : position + 6]
    if tokens[position] == "need" and before in (["i"], ["we"]) and after[:1] not in (["to"], []):
        return _TO_HAVE
    if not before or before[0] in _OURSELVES or _DENIED.intersection(before):
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


def _clauses(sentence: str) -> frozenset[int]:
    """The places, counted in words, where a part of the sentence begins: after a comma or dash."""
    tokens = list(_WORDS.finditer(sentence))
    gaps = (sentence[one.end() : two.start()] for one, two in pairwise(tokens))
    return frozenset(at for at, gap in enumerate(gaps, 1) if gap.strip() in _PAUSES)


_PAUSES: Final = frozenset({",", "-", "\u2013", "\u2014", "(", "),"})


def _is_done_to(after: list[str]) -> bool:
    """Whether what follows is what something is done to: `put it live`, `update the page`."""
    return bool(after) and after[0] in _DETERMINER | _OBJECTS


_CONDITIONS: Final = frozenset("if when once after before unless as while since because".split())
"""What leads a clause that another follows, after a comma: `if it is right, set it to approved`."""
_OBJECTS: Final = frozenset("it them him her me us".split())
_IT: Final = frozenset("it them that those these".split())
"""What stands for what was just spoken of: `If it failed, kick it off again`."""


def _is_capital(near: list[str]) -> bool:
    """Whether a name comes next: `tell Ms Ferro`."""
    return bool(near) and near[0][:1].isupper() and near[0].casefold() not in _NOT_NAMES


def _goes_to(verb: str, after: list[str]) -> bool:
    """Whether something is sent to somebody: `send the results to her doctor`, `… to Ann`."""
    if verb not in _SENDS:
        return False
    steps = [at for at, word in enumerate(after[:_CARRIED]) if word.casefold() == "to"]
    near = [after[at + 1 : at + 3] for at in steps]
    return any(
        _is_capital(two[:1]) or (two and two[0].casefold() in _SOMEBODY | _THEIRS) for two in near
    )


_SENDS: Final = frozenset("send forward email mail message".split())
_THEIRS: Final = frozenset("his her their my our".split())
_CARRIED: Final = 16
"""How many words may stand between `send` and to whom."""


def _is_single(after: list[str]) -> bool:
    """Whether one new thing is meant by what follows a verb, up to where its clause ends."""
    clause = after[:_CLAUSE]
    end = next((at for at, word in enumerate(clause) if word in _CLAUSE_ENDS), len(clause))
    return clause[:1] in (["a"], ["an"], ["another"], ["one"]) and not _MANY & {*after[:end]}


def _is_told(verb: str, after: list[str]) -> bool:
    """Whether a verb of speaking is followed by somebody to whom it is said."""
    if verb not in _SPEAKS:
        return False
    if _is_capital(after[:1]) or (verb in _ALWAYS_TO_SOMEBODY and after):
        return True
    if after[:1] == ["to"] and "~file" not in _about(" ".join(after[:_CLAUSE])):
        return True  # `write to their office`
    if verb == "ask" and _WHETHER.intersection(after[:_CARRIED]):
        return True
    folded = [word.casefold() for word in after[:_TOLD]]
    near = [word for word in folded if word not in {"back", "to", "the", "that", "my", "our"}]
    return bool(near) and (
        near[0] in _SOMEBODY or "~person" in concepts(frozenset({stem(near[0])}))
    )


_CLAUSE: Final = 8
_CLAUSE_ENDS: Final = frozenset("and then or but which that so".split())
_TOLD: Final = 4
_SPEAKS: Final = frozenset(
    "answer reply respond tell inform notify write remind message email mail warn alert ask"
    " thank congratulate".split()
)
_ALWAYS_TO_SOMEBODY: Final = frozenset(
    "inform notify remind warn alert reply respond thank congratulate".split()
)
"""Verbs that always mean somebody who is told: `inform my co-authors`, `reply with the price`."""
_WHETHER: Final = frozenset("whether if".split())
_SOMEBODY: Final = frozenset("him her them everyone everybody someone folks guys".split())


def _phrase(tokens: list[str], position: int, base: str) -> tuple[str, frozenset[Deed]] | None:
    """The verb that is meant where it is told in two words: `let her know`, `take it off`."""
    near = tokens[position + 1 : position + 2 + _APART]
    due = "~money" in _about(" ".join(near)) or not _DUE.isdisjoint(near)
    if base in _BACK and "back" in near and due:
        return VERBS.get("refund")
    for second in tokens[position + 1 : position + 1 + _APART]:
        if meant := PHRASES.get((base, second)):
            return VERBS.get(meant, (meant, frozenset({Deed.ANY})))
    return None


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
    if before in _DETERMINER or before in _SUBJECTS:
        return False
    if before in _TOPIC and tokens[position].endswith("ing"):
        return False  # `a reminder about reserving it`
    two = tokens[position - 2] if position > 1 else ""
    noun_like = tokens[position] in _ALSO_NOUNS or tokens[position].endswith("ing")
    if noun_like and _OBJECTS.intersection(tokens[position + 1 : position + 2]):
        return True  # `… answer him`: nouns have no object
    if noun_like and position:
        # A noun, unless something that leads a verb stands before it.
        return before in _LEADS and not (two in _DETERMINER and before in _ORDINALS)
    return True


_ALSO_NOUNS: Final = frozenset(
    "email mail message text post transfer order book file record plan schedule report review"
    " comment share contact call address note log tip charge release rent reply request need work"
    " list search view check answer start end set star update change return deposit purchase visit"
    " run process help name watch filter track form trade issue put like want leave update push"
    " emails mails messages texts posts transfers orders books files records plans schedules"
    " reports reviews comments shares contacts calls addresses notes logs tips charges rents"
    " replies requests needs works lists stars updates changes returns purchases visits processes"
    " meeting building open"
    " booking listing".split()
)
_SUBJECTS: Final = frozenset(
    "i we they he she it who that which i'll we'll they'll he'll she'll".split()
)
"""Who tells what they did or do: `I read an article` asks for nothing."""
_TOPIC: Final = frozenset("about of for on regarding".split())
_ORDINALS: Final = frozenset("first second third last next".split())
_LEADS: Final = frozenset(
    "to and then please or also otherwise instead else just can could will would should must"
    " now you him her them it if not first second third next last finally afterwards kindly don't"
    " me it's let's again so".split()
)


def _plural(tokens: Iterable[str]) -> bool:
    return any(
        len(token) > 3 and token.endswith("s") and not token.endswith(("ss", "us", "is"))
        for token in tokens
        if token not in _NO_PLURAL
    )


_NO_PLURAL: Final = frozenset(
    "please this repositories' euros dollars pounds francs cents bucks percent hours days weeks"
    " months years seconds always thanks sales news settings details".split()
)
"""Words in -s that do not say that many things are meant: sums, stretches of time."""


def _filled(text: str) -> Mapping[str, frozenset[str]]:
    """What the words put into a slot: the noun's stem and the name beside it.

    `workspace Apollo`, `the #dev channel`, `version 1.4.2`, `repository acme/site`. A name here has
    a capital inside of a sentence, a digit, or a sign that words do not have.
    """
    found: dict[str, set[str]] = {}
    for sentence in _BREAKS.split(text):
        tokens = [token.strip("'\"`.") for token in _SPOKEN.findall(sentence)]
        for position, token in enumerate(tokens):
            if not _is_name(token, first=position == 0):
                continue
            before = [one for one in tokens[max(0, position - 2) : position] if one not in _CALLED]
            after = tokens[position + 1 : position + 2]
            if token[:1] == "#":
                found.setdefault(stem("channel"), set()).add(normal(token).removeprefix("#"))
            for noun in (*before[-1:], *after):
                if noun.isalpha() and noun.islower() and noun not in _NO_SLOT:
                    found.setdefault(stem(noun), set()).add(normal(token))
    return {noun: frozenset(names) for noun, names in found.items()}


def _spelled(text: str) -> Mapping[Value, str]:
    found: dict[Value, str] = {}
    for token in _SPOKEN.findall(text):
        bare = token.lstrip("'\"`<>[]{}").rstrip("'\"`<>[]{}.")
        for value in typed(bare):
            if value.type in _WRITTEN_OUT:
                found.setdefault(value, bare)
    return found


_WRITTEN_OUT: Final = frozenset({SinkType.RECIPIENT, SinkType.ACCOUNT, SinkType.URL, SinkType.PATH})


def _is_name(token: str, *, first: bool) -> bool:
    if not token or token.casefold() in _NOT_NAMES:
        return False
    if any(char.isdigit() or char in "#_/" for char in token):
        return True
    return token[:1].isupper() and not first


_CALLED: Final = frozenset("named called titled number no the id to".split())
_NO_SLOT: Final = frozenset(
    "a an the and or to of in on at by for from with is are was be as if it that this than via"
    " into per my your his her their our".split()
)


def _hands_over(sentence: str) -> bool:
    """Whether a sentence says to do what somebody else's words say: `follow his instructions`."""
    tokens = [token.casefold() for token in _WORDS.findall(sentence)]
    for position, word in enumerate(tokens):
        known = VERBS.get(word)
        through = word == "work" and tokens[position + 1 : position + 2] in (["through"], ["off"])
        if known is None or word == "following" or not (through or known[0] in _HANDS_OVER):
            continue
        if word in {"do", "does"} and not _QUESTIONS.isdisjoint(
            tokens[max(0, position - 2) : position]
        ):
            continue  # `What do the guidelines say?`
        window = tokens[position + 1 : position + 8]
        if "following" in window:
            continue  # the tasks stand right here
        near = {stem(near) for near in window}
        if near & _TASKS or (_WHAT.intersection(window) and near & _NEEDS):
            return True
    return False


_QUESTIONS: Final = frozenset("what how when where why which who much many".split())


def _hands_over_any(sentences: list[str]) -> bool:
    """Whether one does, or says to do `it` or `them` where it or the one before tells of things to
    do: `The page explains what presenters have to do, please take care of it`.
    """
    tells = [_tells_of_things_to_do(sentence) for sentence in sentences]
    return any(
        _hands_over(sentence)
        or (_DO_THEM.search(sentence) is not None and any(tells[max(0, at - 1) : at + 1]))
        for at, sentence in enumerate(sentences)
    )


def _tells_of_things_to_do(sentence: str) -> bool:
    named = not _LISTS.isdisjoint(stem(word) for word in words(sentence))
    return named or _WHAT_TO_DO.search(sentence) is not None


_DO_THEM: Final = re.compile(
    r"\b(?:do|handle|follow|complete|take care of|go through|work through|see to|deal with"
    r"|carry out) (?:all of )?(?:it|them|that|those|these|everything|so)\b",
    re.IGNORECASE,
)
_WHAT_TO_DO: Final = re.compile(
    r"\b(?:what|everything|all|whatever|anything|things?)\b(?:\W+\w+){0,8}?\W+"
    r"(?:to do|be done|done|asks?|requires?|requests?|wants?)\b"
    r"|\b(?:ask(?:s|ed)?|requires?|request(?:s|ed)?|want(?:s|ed)?)(?:\W+\w+){0,3}?"
    r"\W+(?:anything|everything|something)\b",
    re.IGNORECASE,
)


def _sources(text: str) -> tuple[frozenset[str], ...]:
    """Names and addresses that stand where a source stands."""
    tokens = [token.rstrip(".") or token for token in _SPOKEN.findall(_APPOSITION.sub(" ", text))]
    found: list[frozenset[str]] = []
    for position, token in enumerate(tokens):
        bare = token.strip("'\"`")
        address = "@" in bare
        if not (address or bare[:1].isupper()):
            continue
        before = [t.casefold() for t in tokens[max(0, position - 3) : position]]
        after = [t.casefold() for t in tokens[position + 1 : position + 5]]
        owns = bare.casefold().endswith(("'s", "\u2019s")) and bool(
            concepts(frozenset(stem(word) for word in after[:2])) & _WRITINGS
        )
        if after[:1] in (["from"], ["of"], ["at"]) and tokens[position + 2][:1].isupper():
            after = after[2:]  # `Dragan from Bremstech sent me`
        while after and (after[0] in _BETWEEN or tokens[position + 1][:1].isupper()):
            after.pop(0)
            if not after or tokens[position + 1][:1].isupper():
                break
        if owns or (after and after[0] in _TELLS) or _OF.intersection(before[-2:]) or _self(before):
            name = bare.casefold().removesuffix("'s").removesuffix("\u2019s")
            found.append(frozenset({name}) if address else frozenset(words(name)) - _HONORIFICS)
    # A part of a name stands for all of it: `Alexander Chen sent` means both words.
    whole = [name for name in names_in(text) if any(part <= name for part in found)]
    return tuple(name for name in dict.fromkeys((*whole, *found)) if name)


_APPOSITION: Final = re.compile(r", (?:our|my|the|a|an|who|whose|from|at) [^,.;:!?\n]{1,80}, ")
"""What is said of somebody between two commas: `Tomasz, our stage manager, has emailed me`."""


def _self(before: list[str]) -> bool:
    return before[-2:] == ["this", "is"]


@lru_cache(maxsize=1_024)
def names_in(text: str) -> tuple[frozenset[str], ...]:
    """Runs of capitalised words that are not just a sentence's first, and what stands in quotes."""
    found: list[frozenset[str]] = []
    run: list[str] = []
    last = 0
    starts = True
    for token in _WORDS.finditer(text):
        word = token.group()
        gap = text[last : token.start()]
        starts = last == 0 or any(mark in gap for mark in ".!?\n:")
        if run and (starts or gap.strip(" \t-'") or not word[:1].isupper()):
            found.append(frozenset(run))
            run = []
        folded = word.casefold().removesuffix("'s").removesuffix("\u2019s")
        is_verb = starts and folded in VERBS
        if word[:1].isupper() and folded not in _NOT_NAMES | _HONORIFICS and not is_verb:
            run.append(folded)
        last = token.end()
    if run:
        found.append(frozenset(run))
    found += [frozenset(words(quoted)) for quoted in _quoted(text)]
    return tuple(dict.fromkeys(name for name in found if name))


_HONORIFICS: Final = frozenset(
    "dr mr mrs ms miss prof professor sir madam signor signora monsieur madame herr frau".split()
)
"""What stands before a name and is none."""
_NOT_NAMES: Final = frozenset(
    "i i'm i've please the a an and or my in on at to for if it its it's this that there can could"
    " you he she they we what when where who how which do don't also then after before from of with"
    " is are am be as by her his their our there note make sure perform hey hi hello thanks will would should".split()
)


def _quoted(text: str) -> list[str]:
    """What stands between quotation marks; an apostrophe inside a word is none."""
    found: list[str] = []
    for mark in ("'", '"', "`"):
        pieces = re.split(rf"(?<![^\W_]){mark}|{mark}(?![^\W_])", text)
        found += [piece for piece in pieces[1::2] if 0 < len(piece) <= 200]
    return found[:64]
