"""Whether something is said or sent to somebody: `answer her`, `inform my co-authors`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actfor.authorization.intent.lexicon import VERBS, concepts
from actfor.authorization.intent.phrasing import DETERMINER, NOT_NAMES, matters_of
from actfor.authorization.intent.text import stem, words


def _is_capital(near: list[str]) -> bool:
    """Whether a name comes next: `tell Ms Ferro`."""
    return bool(near) and near[0][:1].isupper() and near[0].casefold() not in NOT_NAMES


def goes_to(verb: str, after: list[str]) -> bool:
    """Whether something is sent to somebody: `send the results to her doctor`, `… to Ann`."""
    if verb not in _SENDS | _PUTS_TO:
        return False
    folded = [word.casefold() for word in after[:2]]
    if verb in _SENDS and folded[:1] and folded[0] in _WHOM and folded[1:] and folded[1] in _GIVEN:
        return True  # `send her the pictures`
    near = [whom for _, _, whom in _goals(after[:_CARRIED], _TO)]
    if verb in _PUTS_TO:  # `write the time to his neighbour Mrs Oster`
        return any(_is_person(word) for whom in near for word in whom)
    return any(
        _is_capital(whom) or (whom and whom[0].casefold() in _SOMEBODY | _THEIRS) for whom in near
    )


def _goals(tokens: list[str], leads: frozenset[str]) -> Iterator[tuple[int, str, list[str]]]:
    """Each word that says whom something reaches, where it stands, and the three that follow."""
    for at, word in enumerate(tokens):
        if word.casefold() in leads:
            yield at, word, tokens[at + 1 : at + 4]


def _is_person(word: str) -> bool:
    return "~person" in concepts(frozenset({stem(word.casefold())}))


_TO: Final = frozenset({"to"})
_PUTS_TO: Final = frozenset("write text pass report".split())
_SENDS: Final = frozenset("send forward email mail message".split())
_WHOM: Final = frozenset("him her".split())
_GIVEN: Final = frozenset(
    "the a an my our this that these those what whatever all both everything some another".split()
)
"""What begins the thing that somebody is sent, after whom: not so in `send her to Ann`. Whom
`them` means is too open: a list may hold anybody."""
_THEIRS: Final = frozenset("his her their my our".split())
_CARRIED: Final = 16
"""How many words may stand between `send` and to whom."""


def is_told(verb: str, after: list[str]) -> bool:
    """Whether a verb of speaking is followed by somebody to whom it is said."""
    if verb not in _SPEAKS:
        return False
    if _is_capital(after[:1]) or (verb in _ALWAYS_TO_SOMEBODY and after):
        return True
    if after[:1] == ["to"] and "~file" not in matters_of(" ".join(after[:CLAUSE])):
        return True  # `write to their office`
    if verb == "ask" and _WHETHER.intersection(after[:_CARRIED]):
        return True
    folded = [word.casefold() for word in after[:TOLD]]
    near = [word for word in folded if word not in _BEFORE_WHOM]
    return bool(near) and (near[0] in _SOMEBODY or _is_person(near[0]))


_BEFORE_WHOM: Final = frozenset("back to the that my our each both all of".split())


def goes_elsewhere(sentence: str, address: str) -> bool:
    """Whether a sentence says to whom something goes, and an address tells of nobody such: `send
    the summary to our accountant`; not so in `answer the mail about …`, `let them know`.
    """
    own = frozenset(map(stem, words(address)))
    tokens = words(sentence)[:_LONGEST]
    first = next((at for at, word in enumerate(tokens) if word in _SENDS | _PUTS_TO), _LONGEST)
    for at, word, near in _goals(tokens, _TELLS | _TO):
        if word == "to" and at < first:
            continue
        whom = [one for one in near if one not in DETERMINER]
        if not whom or whom[0] in VERBS or whom[0] in _NOBODY:
            continue
        if word != "to" and near[0] not in DETERMINER:
            continue
        if own.isdisjoint(map(stem, whom)):
            return True
    return False


_TELLS: Final = frozenset("tell inform notify ask remind warn alert thank".split())
_NOBODY: Final = frozenset(
    "me us him her them it mail mails email emails message messages letter letters request requests"
    " question questions inquiry invitation back say whether if how what".split()
)
_LONGEST: Final = 400  # words
CLAUSE: Final = 8
TOLD: Final = 4
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
