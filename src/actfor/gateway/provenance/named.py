"""Values out of what the words name, describe or call: `from(source, type, cardinality)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from actfor.authorization.intent import HARD, TARGET, SinkType, ToolReading, typed
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.telling import goes_elsewhere
from actfor.authorization.intent.text import words
from actfor.authorization.intent.values import bears_name, may_bear, person_matches
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.described import is_by_another
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.items import Entry
from actfor.gateway.provenance.labels import Label
from actfor.gateway.provenance.slots import FILLED


@dataclass(frozen=True, slots=True)
class Hand:
    """What else is known when a call is traced: what was endorsed, and whether many are meant."""

    endorsed: frozenset[tuple[str, str]] = frozenset()
    many: bool = False
    sentence: str = ""
    """The sentence of the words that asks for the call."""
    stated: frozenset[str] = frozenset()
    """Values that say what a verb of the words asks for: `closed`."""
    tool: ToolReading | None = None
    """The reading of the tool that is called."""
    tells: bool = False
    """The words ask to tell somebody something."""
    orders: bool = False
    """The call orders something, or puts it into a basket."""
    reading: bool = False
    """The call only reads, so an address is followed and nothing is sent."""


_TOLD: Final = frozenset({SinkType.NAME, SinkType.PATH, SinkType.RECIPIENT, SinkType.URL})
"""What a letter that is only described may say, where the words hand over to it."""


def from_named(
    index: Index, key: str, kind: SinkType, seen: list[Entry], hand: Hand
) -> Entry | None:
    """One value of one type, out of an item that the words name: `from(source, type, cardinality)`.

    If the source holds several that could be meant, none is: the person chooses.
    """
    filled = kind in FILLED and index.wish.has(kind)
    if kind is SinkType.URL and index.is_of_named_site(key):
        filled = False  # a link of the very site that the words name
    if (
        filled
        and not index.wish.hands_over
        and (
            kind is SinkType.URL
            or not hand.many
            or any(v.type is kind for v in typed(hand.sentence))
        )
    ):
        return None  # the words say who: nobody else's word counts
    anew = kind is SinkType.RECIPIENT and _writes_down(hand)
    for entry in seen:
        follows = kind is SinkType.URL and hand.reading and index.is_about(entry.item)
        followed = kind in _TOLD and index.is_followed(entry.item)
        followed |= kind not in TARGET - {SinkType.NAME} and index.is_described(entry.item)
        if not (index.is_named(entry.item) or follows or followed):
            continue
        if (kind in HARD and not entry.item.content) or index.is_by_another(entry):
            continue
        if kind in HARD:
            several = index.choices(entry.item, kind)
            apart = kind is SinkType.RECIPIENT and "@" not in key and index.is_fuller_name(key)
            if several - {key} and not apart and not (hand.many and not entry.item.speaks):
                continue
        if entry.item.speaks or index.is_of_other_line(entry.item, key, kind):
            continue
        if kind is SinkType.RECIPIENT and _is_not_whom(index, entry, key, hand):
            continue
        told = kind is SinkType.RECIPIENT and entry.item.authors and key not in entry.item.authors
        if told and not (anew or index.wish.seeks_addresses):
            continue  # who is to be answered is whoever wrote, not whom they write of
        free = anew or index.wish.hands_over or index.is_meant_line(entry.item, key, kind)
        if kind in HARD and not free and index.has_field_for(entry, kind):
            continue  # what the source has a field for is not what its prose says
        return entry
    return None


def _writes_down(hand: Hand) -> bool:
    """Whether a call changes a record and reaches nobody: an address in it is what somebody tells
    of themselves, and the words must speak of it (``doubts``).
    """
    tool = hand.tool
    changes = tool is not None and tool.effect is ToolEffect.WRITE and Deed.CHANGE in tool.deeds
    return changes and tool is not None and Deed.SEND not in tool.deeds


def contact(index: Index, key: str, seen: list[Entry], hand: Hand) -> Entry | None:
    """The address in a record's own field for it, where the words tell everybody of such records
    something, or name that one.
    """
    return next(
        (
            one
            for one in seen
            if one.text == key and one.item.is_record
            if not _CONTACTS.isdisjoint(words(one.name))
            if hand.many or index.is_told_of(one.item)
        ),
        None,
    )


_CONTACTS: Final = frozenset("email mail contact phone".split())


def _is_not_whom(index: Index, entry: Entry, key: str, hand: Hand) -> bool:
    """Whether this is the writer of a letter that the words know by its matter alone, which anybody
    may choose, and the words say that something goes to somebody else, or who wrote it.
    """
    if key not in entry.item.authors or entry.item.keyed or index.is_by_named(entry.item):
        return False
    told = " ".join(entry.item.titles) if index.wish.seeks_addresses else ""
    other = is_by_another(index.wish, entry.item.authors)
    return other or goes_elsewhere(hand.sentence, f"{key} {told}")


def described_writer(index: Index, key: str, seen: list[Entry], hand: Hand) -> Entry | None:
    """The address from which a letter came that the words describe, if no other bears its name."""
    if any(
        person_matches(name, key) and index.writers.has_rival(name, key)
        for name in index.wish.names
    ):
        return None
    return next(
        (
            one
            for one in seen
            if key in one.item.authors and index.is_described(one.item)
            if not _is_not_whom(index, one, key, hand)
        ),
        None,
    )


def followed_writer(index: Index, key: str) -> Entry | None:
    """What a letter holds whose writer has this whole name, where the words name the writer and
    hand over to the letter. Others may write of them, too: that makes it no doubtful name.
    """
    name = frozenset(words(key))
    if not index.wish.hands_over or len(name) < _WHOLE:
        return None
    return next(
        (
            item.fields[0]
            for item in index.items
            if item.fields and not item.speaks and index.is_by_named(item)
            if any(bears_name(name, author) for author in item.authors)
            if any(own <= name for own in index.wish.sources)
            if name
            <= frozenset(words(" ".join((*item.authors, *map(" ".join, index.wish.sources)))))
        ),
        None,
    )


_WHOLE: Final = 2  # words of a name


def person_named(index: Index, key: str, seen: list[Entry]) -> Entry | None:
    """The address of a person in the words, as systems attest it, if only one such is known."""
    for name in index.people():
        if not person_matches(name, key):
            continue
        # Beside who bears all of a name, who bears another surname is no rival; `office` is none.
        whole = len(name) > 1 and bears_name(name, key)
        matches = may_bear if whole else person_matches
        rivals = {other for other in index.attested() if other != key and matches(name, other)}
        if rivals:
            return None
        attested = next((entry for entry in seen if entry.label <= Label.ATTESTED), None)
        if attested is not None:
            return attested
    return None
