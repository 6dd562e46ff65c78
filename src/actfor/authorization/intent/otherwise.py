"""Where a verb is the right one and its sentence says that something else is done: `put the status
of the case into notes.txt` changes no case, and `delete the mail about the meeting` no meeting.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from actfor.authorization.intent.deeds import Asked
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.phrasing import matters_of
from actfor.authorization.intent.request import Wish
from actfor.authorization.intent.text import stem
from actfor.authorization.intent.tool import ToolReading
from actfor.authorization.model.facts import ToolEffect

_LETTERS: Final = frozenset({"~mail", "~message"})
_ROOT: Final = 4
NEAR: Final = 600
"""Characters of a sentence that are looked at."""


def is_else(one: Asked, wish: Wish, tool: ToolReading) -> bool:
    """Whether a verb says in its sentence that something else is done than what a tool does."""
    return (
        _only_writes_down(one, tool)
        or _writes_elsewhere(one, tool)
        or _only_makes(one, tool)
        or _throws_away_a_letter(one, wish, tool)
    )


def _writes_elsewhere(one: Asked, tool: ToolReading) -> bool:
    """Whether something is written of a thing into a file or a letter, and a tool would change the
    thing: `put the status of case C-1 into notes.txt`.
    """
    if one.verb not in _WRITES_INTO or Deed.CHANGE not in tool.deeds:
        return False
    found = _said_goals(one)
    return not found.isdisjoint(_WRITINGS) and found.isdisjoint(tool.core)


def _only_makes(one: Asked, tool: ToolReading) -> bool:
    """Whether a verb makes what answers a question, and a tool would publish or change one that
    exists: `make a list of the books`; not so with one that gets a name, or goes to somebody.
    """
    if one.verb not in _MAKES or one.verb in tool.verbs or _ANSWERS.isdisjoint(one.thing):
        return False
    made = tool.effect is ToolEffect.READ or bool(tool.deeds & {Deed.CREATE, Deed.BOOK})
    goes = one.to_someone or not _said_goals(one).isdisjoint(tool.mentions)
    return not (made or goes or _CALLED.search(one.text))


def _throws_away_a_letter(one: Asked, wish: Wish, tool: ToolReading) -> bool:
    """Whether a letter is deleted, and a tool would delete what it is about: `delete the mail about
    the meeting`, `read the mail about the meeting and delete it`.
    """
    if tool.effect is not ToolEffect.DELETE or one.verb not in _THROWS_AWAY:
        return False
    letter = not one.direct.isdisjoint(_LETTERS) and tool.about.isdisjoint(_LETTERS)
    return letter and _tells_of_a_letter(wish.text)


@lru_cache(maxsize=16)
def _tells_of_a_letter(text: str) -> bool:
    """Once for a text, and not for each of its verbs."""
    return _A_LETTER.search(text) is not None


def _said_goals(one: Asked) -> frozenset[str]:
    """What stands after `to`, `into`, `in` behind the verb."""
    return goals(one.text[one.text.find(one.verb[:_ROOT]) :][:NEAR])


_MAKES: Final = frozenset("make create write compose draft build prepare generate".split())
_WRITES_INTO: Final = frozenset("put save enter copy write insert append note record log".split())
_WRITINGS: Final = frozenset({"~file", "~mail", "~message", "~web", "~event"}) | frozenset(
    stem(word) for word in "list table sheet wiki notebook diary".split()
)
_ANSWERS: Final = frozenset(
    stem(word)
    for word in "list overview summary comparison ranking breakdown digest timeline".split()
)
_CALLED: Final = re.compile(r"\b(?:named|called|titled)\b")
_THROWS_AWAY: Final = frozenset(
    "delete remove erase trash discard destroy purge clear drop wipe".split()
)
"""What is done to letters; what is cancelled or declined is what they are about."""
_A_LETTER: Final = re.compile(
    r"\b(?:the|an?|his|her|their|this|that|my|our)(?: \w+){0,2}? "
    r"(?:(?:e-?)?mails?|messages?|letters?)\b"
)


def _only_writes_down(one: Asked, tool: ToolReading) -> bool:
    """Whether a verb makes something of a sum without paying it: `put the sum into notes.txt`."""
    paying = tool.effect is ToolEffect.PAY and one.verb in _WRITES_DOWN
    return paying and one.verb not in tool.verbs and Deed.PAY not in one.deeds


_WRITES_DOWN: Final = frozenset(
    "put write insert append note record log save store draft compose generate enter".split()
)


@lru_cache(maxsize=256)
def goals(sentence: str) -> frozenset[str]:
    """What stands after `to`, `into`, `in`."""
    found = (matters_of(goal.partition(" of ")[0]) for goal in _GOAL.findall(sentence))
    return frozenset().union(*found)


_GOAL: Final = re.compile(r"\b(?:to|into|onto|in)\s+(?=(\S+(?:\s\S+){0,3}))")
