"""What a switch says that is called as a verb: `liked: false`, where the words say to like.

It must be set as the verb is meant: on where the words ask for it, off where they take it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actfor.authorization.intent import ToolReading, Wish
from actfor.authorization.intent.lexicon import PARTICIPLES, Deed
from actfor.authorization.intent.text import stem, words
from actfor.wire.canonical import JsonObject, JsonValue


def agrees(wish: Wish, tool: ToolReading, arguments: JsonObject) -> bool | None:
    """Whether the words set a switch of the call as it is set, and that is what the tool does; None
    where they speak of none.
    """
    said = [(verb, _is_as_said(wish, verb, on=on)) for verb, on in _switches(arguments)]
    if any(found == "other" for _, found in said):
        return False
    own = tool.verbs | tool.told
    return True if any(found and verb in own for verb, found in said) else None


def _is_as_said(wish: Wish, verb: str, *, on: bool) -> str:
    """`as said`, `other`, or nothing where the words have neither the verb nor its opposite."""
    undone = verb in wish.denied or any(_undoes(text, verb) for text, *_ in wish.sentences)
    done = any(_is_done(text, verb) for text, *_ in wish.sentences) and any(
        one.verb == verb for one in wish.asked
    )
    if not (done or undone):
        return ""
    return "as said" if (done if on else undone) else "other"


def _undoes(text: str, verb: str) -> bool:
    """Whether a sentence takes back what a verb does: `take away my likes`, `unlike`."""
    told = words(text)
    return any(
        _is_opposite(told, at, verb) or (word in _ENDS and _is_near(told, at, verb))
        for at, word in enumerate(told)
    )


def _is_opposite(told: list[str], at: int, verb: str) -> bool:
    """Whether this word is the verb with `un-` or `dis-` before it."""
    rest = told[at].removeprefix("un").removeprefix("dis")
    return rest != told[at] and stem(rest) == stem(verb)


def _is_near(told: list[str], at: int, verb: str) -> bool:
    """Whether the verb, or its noun, comes soon after a word that ends things."""
    after = told[at + 1 : at + _SOON]
    if told[at] in _MOVES and _BACK.isdisjoint(after):
        return False
    return any(stem(word) == stem(verb) for word in after)


def _is_done(text: str, verb: str) -> bool:
    """Whether a sentence has the verb where nothing ends it."""
    told = words(text)
    return any(
        stem(word) == stem(verb)
        and not any(
            told[near] in _ENDS and _is_near(told, near, verb)
            for near in range(max(0, at - _SOON), at)
        )
        for at, word in enumerate(told)
    )


_SOON: Final = 5  # words
_MOVES: Final = frozenset("take pull give".split())
_BACK: Final = frozenset("back away off".split())
_ENDS: Final = _MOVES | frozenset(
    "remove removing delete undo withdraw retract revoke cancel clear drop stop longer don't not"
    " never".split()
)


def _switches(arguments: JsonValue) -> Iterator[tuple[str, bool]]:
    """The verb that each switch of a call is called by, and whether it is on."""
    if isinstance(arguments, list | tuple):
        for part in arguments:
            yield from _switches(part)
    if not isinstance(arguments, dict):
        return
    for name, part in arguments.items():
        yield from _switches(part)
        verb, deeds = PARTICIPLES.get(words(name)[-1] if words(name) else "", ("", frozenset()))
        on = _SPELLED.get(str(part).strip().casefold())
        if verb and on is not None and Deed.ANY not in deeds:
            yield verb, on


_SPELLED: Final = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
"""A switch, however a call spells it."""
