"""Whether a deletion is done to the one record whose title the tool's verb is said of."""

from __future__ import annotations

from typing import Final

from actfor.authorization.intent import TARGET, Grounds, key_of
from actfor.authorization.intent.lexicon import STOP
from actfor.authorization.intent.text import stem, words
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.items import Item
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.tools import KnownTool


def is_only_object(
    index: Index, tool: KnownTool, effect: ToolEffect, grounds: Grounds, traces: list[SlotTrace]
) -> bool | None:
    """Whether the target is that record's; None where there is no such record, or several things
    are meant.
    """
    targets = [slot for slot in traces if slot.type in TARGET]
    if effect is not ToolEffect.DELETE or len(targets) != 1:
        return None
    meant = _meant(index, tool)
    if not meant:
        return None
    if key_of(targets[0].value, targets[0].type) in _only_theirs(index, meant):
        return True
    return False if grounds.one else None


def _meant(index: Index, tool: KnownTool) -> list[Item]:
    """The records that bear a title out of what the tool's verb is done to (the concepts of each
    clause, and of the very object in it). What somebody wrote is meant only by a tool for letters.
    """
    done_to = [
        (one.clause, one.direct) for one in index.wish.asked if one.verb in tool.reading.verbs
    ]
    letters = not tool.reading.about.isdisjoint(_LETTERS)
    if not letters:  # `I got a mail about the board meeting, delete it`: the mail, of course
        done_to = [(clause, direct) for clause, direct in done_to if direct.isdisjoint(_LETTERS)]
    return [
        item
        for item in index.items
        if (letters or not item.authors)
        and any(
            own and own <= clause and own & direct
            for own in map(_matters, item.titles)
            for clause, direct in done_to
        )
    ]


_LETTERS: Final = frozenset({"~mail", "~message"})


def _only_theirs(index: Index, meant: list[Item]) -> set[str]:
    """The identifiers that all of these have, and no other record with a title."""
    theirs, keys = set(meant), set.intersection(*map(_trusted, meant))
    return {
        key
        for key in keys
        if all(
            entry.item in theirs
            for entry in index.exact(key)
            if entry.label is Label.TRUSTED and entry.item.titles
        )
    }


def _trusted(item: Item) -> set[str]:
    return {entry.text for entry in item.fields if entry.label is Label.TRUSTED}


def _matters(title: str) -> frozenset[str]:
    """What a title is about, if it says enough to tell one thing from others."""
    found = frozenset(one for one in map(stem, words(title)) if one not in STOP)
    return found if len(found) > 1 else frozenset()
