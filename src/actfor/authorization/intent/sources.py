"""Which writings the words point to, and whether they say to do what those say.

`from X`, `X sent me`, `X's list`; `follow the steps in …`, `The page explains what to do, please
take care of it`. A source is never believed as a whole: see ``gateway.provenance``.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from actfor.authorization.intent.deeds import Asked, read_sentence, until
from actfor.authorization.intent.lexicon import VERBS, Deed, concepts
from actfor.authorization.intent.names import names_in
from actfor.authorization.intent.phrasing import HONORIFICS, NOT_NAMES, SPOKEN, WORDS
from actfor.authorization.intent.text import stem, words

_TASKS: Final = frozenset(
    stem(w)
    for w in "task todo instruction action request errand chore favour favor step checklist"
    " runbook playbook procedure protocol routine guideline".split()
)
_LISTS: Final = frozenset(
    stem(w)
    for w in "task todo errand chore favour favor instruction step checklist list runbook"
    " playbook procedure protocol policy"
    " guideline".split()
)
"""What holds several things to do, and is then spoken of as `it` or `them`."""
_ERRANDS: Final = frozenset(stem(w) for w in "task todo errand chore favour favor request".split())
_NEEDS: Final = frozenset(
    stem(w)
    for w in "need want ask say tell request specify mention suggest recommend advise"
    " propose".split()
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
_BETWEEN: Final = frozenset(
    "just has have also recently already had i me the email mail my people team".split()
)
_WRITINGS: Final = frozenset({"~mail", "~message", "~task", "~file", "~web", "~issue"})
_HANDS_OVER: Final = frozenset(
    "do follow complete perform achieve fulfil fulfill execute finish handle carry accomplish"
    " implement address act comply help solve resolve satisfy process tackle arrange organize"
    " organise manage prepare".split()
)


def _tells_to_do_what_is_said(sentence: str) -> bool:
    """Whether a sentence says to do what somebody else's words say: `follow his instructions`."""
    tokens = [token.casefold() for token in WORDS.findall(sentence)]
    for position, word in enumerate(tokens):
        known = VERBS.get(word)
        through = tuple(tokens[position : position + 2]) in _THROUGH
        if known is None or word == "following" or not (through or known[0] in _HANDS_OVER):
            continue
        if word in {"do", "does"} and not _QUESTIONS.isdisjoint(
            tokens[max(0, position - 2) : position]
        ):
            continue  # `What do the guidelines say?`
        window = until(tokens[position + 1 : position + 8], _FINDS)
        if _AS_TOLD.search(" ".join(window)):
            return True  # `do it the way he wrote`
        if "following" in window:
            continue  # the tasks stand right here
        near = {stem(near) for near in window}
        if near & _TASKS or (_WHAT.intersection(window) and near & _NEEDS):
            return True
    return False


_FINDS: Final = frozenset("find see understand know learn check compare look read figure".split())
"""Words of looking: who wants help to find out what they want does none of it."""
_THROUGH: Final = frozenset(
    {("work", "through"), ("work", "off"), ("go", "through"), ("take", "care"), ("deal", "with")}
    | {("see", "to"), ("sort", "out"), ("get", "done")}
)
_QUESTIONS: Final = frozenset("what how when where why which who much many".split())


def hands_over(sentences: list[str]) -> bool:
    """Whether one does, or says to do `it` or `them` where it or the one before tells of things to
    do: `The page explains what presenters have to do, please take care of it`.
    """
    return any(
        _tells_to_do_what_is_said(sentence)
        or _does_what_is_told(sentences[max(0, at - 1) : at + 1])
        for at, sentence in enumerate(sentences)
    )


def _does_what_is_told(two: list[str]) -> bool:
    """Whether the last of two sentences does `it`, and either tells of it."""
    if _MENDS_THEIRS.search(two[-1]) and any(map(_is_others_trouble, two)):
        return True
    found = _DO_THEM.search(two[-1])
    if found is None or not _does_them(two, found):
        return False
    mends = found.group(0).split()[0].casefold() in _MENDS
    return any(_tells_of_things_to_do(sentence, mends=mends) for sentence in two)


def _tells_of_things_to_do(sentence: str, *, mends: bool) -> bool:
    """``mends``: a trouble is mended, or errands are; a list that is to be fixed is no order."""
    told = frozenset(map(stem, words(sentence)))
    named = not told.isdisjoint(_ERRANDS if mends else _LISTS)
    return named or _is_others_trouble(sentence) or _WHAT_TO_DO.search(sentence) is not None


def _is_others_trouble(sentence: str) -> bool:
    """Whether somebody else told of a trouble, or has it with something: `the seller wrote of a
    problem`, `the courier has a problem with my parcel`; not so where a thing has it, or `there is`
    one, and where the person has it themselves.
    """
    spoken = WORDS.findall(sentence)
    told = [word.casefold() for word in spoken]
    first = next((at for at, word in enumerate(told) if word in _TROUBLE), None)
    if first is None or not _OURS.isdisjoint(told[:first]):
        return False
    people = "~person" in concepts(frozenset(map(stem, told[:first])))
    named = any(word[:1].isupper() and word.casefold() not in NOT_NAMES for word in spoken[:first])
    if people or named or not _TELLS.isdisjoint(told[:first]):
        return True
    return told[first + 1 : first + 2] in (["with"], ["from"]) and _MINE.isdisjoint(told[:first])


def _does_them(two: list[str], found: re.Match[str]) -> bool:
    """Whether the last sentence says to do what was spoken of, and that is nothing that the person
    asks for themselves: `Mail the list to Ann. Please do it today`.
    """
    if (found["what"] or found["sorted"] or found["done"]).casefold() not in _THE_SAME:
        return True
    asked: list[Asked] = []
    for number, sentence in enumerate((*two[:-1], two[-1][: found.start()])):
        read_sentence(sentence, number, asked, set(), frozenset(), frozenset())
    return all(one.deeds <= _LOOKED or one.verb in _HANDS_OVER for one in asked)


_THE_SAME: Final = frozenset("it that so".split())
_LOOKED: Final = frozenset({Deed.LOOK, Deed.ANY})
_DO_THEM: Final = re.compile(
    r"\b(?:do|handle|follow|complete|take care of|go through|work through|see to|deal with"
    r"|carry out|solve|resolve|address|fix|finish|sort out|help (?:me|us)(?: out)? with)"
    r" (?:all of )?(?P<what>it|them|everything|so|(?:that|those|these)(?! (?:\w+ ){0,2}?\w+))\b"
    r"|\bsort (?P<sorted>it|that|this|them) out\b"
    r"|\bget (?P<done>it|them|that|those|these|everything) (?:all )?done\b",
    re.IGNORECASE,
)


_AS_TOLD: Final = re.compile(
    r"\b(?:the way|as|like|how) (?:(?:he|she|they)|(?:his|her|their|the) \w+)"
    r" (?:\w+ )?(?:wrote|said|says|writes|asks?|asked|wants?|wanted|describes?|described|suggests?"
    r"|suggested|explains?|explained|told|requests?|requested)\b"
)
_MENDS_THEIRS: Final = re.compile(
    r"\b(?:fix|solve|resolve|address|deal with|help with|see to) (?:his|her|their)"
    r" (?:problem|issue|trouble|complaint)\b",
    re.IGNORECASE,
)
_MENDS: Final = frozenset("fix solve resolve address sort".split())
_MINE: Final = frozenset("my our".split())
_TROUBLE: Final = frozenset("problem issue trouble complaint".split())
_OURS: Final = frozenset("i we you i've we've i'm we're there there's".split())
"""Who has a trouble that nobody else has told of: with one's own, no page is followed."""
_WHAT_TO_DO: Final = re.compile(
    r"\b(?:what|everything|all|whatever|anything|things?)\b(?:\W+\w+){0,8}?\W+"
    r"(?:to do|be done|done|asks?|requires?|requests?|wants?)\b"
    r"|\b(?:ask(?:s|ed)?|requires?|request(?:s|ed)?|want(?:s|ed)?)(?:\W+\w+){0,3}?"
    r"\W+(?:anything|everything|something)\b",
    re.IGNORECASE,
)


def sources(text: str) -> tuple[frozenset[str], ...]:
    """Names and addresses that stand where a source stands."""
    tokens = [token.rstrip(".") or token for token in SPOKEN.findall(_APPOSITION.sub(" ", text))]
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
        place = "".join(tokens[position + 2 : position + 3])
        if after[:1] in (["from"], ["of"], ["at"]) and place[:1].isupper():
            after = after[2:]  # `Dragan from Bremstech sent me`
        while after and (after[0] in _BETWEEN or tokens[position + 1][:1].isupper()):
            after.pop(0)
            if not after or tokens[position + 1][:1].isupper():
                break
        if owns or (after and after[0] in _TELLS) or _OF.intersection(before[-2:]) or _self(before):
            name = bare.casefold().removesuffix("'s").removesuffix("\u2019s")
            found.append(frozenset({name}) if address else frozenset(words(name)) - HONORIFICS)
            if before[-1:] == ["the"] and name.isalpha() and name.endswith("s"):
                found.append(frozenset({name[:-1]}))  # `the Okafors wrote`: one of them did
    found += _pronoun_writers(text)
    if _IN_THE_INBOX.search(text):
        found += names_in(text)  # `order it for Grace, you find her address in my inbox`
    # A part of a name stands for all of it: `Alexander Chen sent` means both words.
    whole = [name for name in names_in(text) if any(part <= name for part in found)]
    return tuple(name for name in dict.fromkeys((*whole, *found)) if name)


def _pronoun_writers(text: str) -> list[frozenset[str]]:
    """Whom `she` means in `what she sent me`: who was named last before it, and not far."""
    ends = (match.start() for match in islice(_SHE_SENT_ME.finditer(text), _MOST_PRONOUNS))
    return [name for end in ends for name in names_in(text[max(0, end - _NEAR) : end])[-1:]]


_MOST_PRONOUNS: Final = 64
_NEAR: Final = 400  # characters
_SHE_SENT_ME: Final = re.compile(
    r"\b(?:he|she|they)(?: has| have|'s|'ve)?(?: just)? (?:sent|mailed|emailed|wrote|told|messaged)"
    r" (?:to )?(?:me|us)\b"
)
_IN_THE_INBOX: Final = re.compile(
    r"\b(?:add?ress(?:es)?|number|account|iban|details|code|data|it|them)\b(?: \w+){0,3}"
    r" in (?:my|our|the) (?:inbox|mailbox|mails?|e-?mails?|messages)\b",
    re.IGNORECASE,
)
_APPOSITION: Final = re.compile(r", (?:our|my|the|a|an|who|whose|from|at) [^,.;:!?\n]{1,80}, ")
"""What is said of somebody between two commas: `Tomasz, our stage manager, has emailed me`."""


def _self(before: list[str]) -> bool:
    return before[-2:] == ["this", "is"]
