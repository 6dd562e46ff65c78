"""What the texts that were read ask for themselves, and whether a call is what one of them wants.

Where the words hand over to a source, that is a reason to believe a call; anywhere else a stranger
who asks for what is about to be done, and names to whom, is the reason to doubt it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from actfor.authorization.intent import (
    TARGET,
    Ask,
    SinkType,
    ToolReading,
    Wish,
    asking_sentences,
    asks,
    key_of,
    read_words,
)
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.text import words
from actfor.authorization.intent.values import is_passcode
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.copied import is_copied
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.items import Entry
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.tools import KnownTool

_MOST: Final = 10_000
_MEANT: Final = frozenset({"followed", "invitation"})
"""How a value was found that the words mean, whatever else asks for it."""
_SENTENCE: Final = 16  # characters; shorter texts ask for nothing
_STRANGERS: Final = frozenset({Label.ATTESTED, Label.UNTRUSTED})
_TELLING: Final = frozenset({SinkType.TEXT, SinkType.DATE, SinkType.AMOUNT, SinkType.OTHER})
_CODES: Final = frozenset("confirmation verification otp pin passcode".split())


_CODED: Final = frozenset({SinkType.CODE, SinkType.KEY})


class Bidding:
    """Reads the texts of the index as if they were words. Not shared between threads."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._wishes: dict[int, Wish] = {}
        self._bids: dict[tuple[int, str], tuple[ToolReading, Ask, tuple[str, ...]]] = {}

    def is_handed_over(self, tool: KnownTool, slots: list[SlotTrace]) -> bool:
        """Whether a source that the words name, and hand over to, asks for this, or is answered.

        A source that speaks to machines is not followed: the person sees it instead.
        """
        if not self._index.wish.hands_over:
            return False
        return self._answers(tool, slots) or any(
            self._asks(entry, tool)[0] > Ask.NO and not self._wish_of(entry).truncated
            for item in self._index.items
            if not item.speaks and self._index.is_followed(item)
            for entry in item.fields
            if entry.label > Label.TRUSTED and len(entry.text) > 12
            if not self._index.is_by_another(entry)
        )

    def _answers(self, tool: KnownTool, slots: list[SlotTrace]) -> bool:
        """Whether this is a message to nobody but who wrote what the words hand over to."""
        if Deed.SEND not in tool.reading.deeds:
            return False
        to = {key_of(slot.value, slot.type) for slot in slots if slot.type in TARGET}
        return bool(to) and any(
            to <= set(item.authors)
            for item in self._index.items
            if not item.speaks and self._index.is_followed(item)
        )

    def solicited(
        self,
        tool: KnownTool,
        effect: ToolEffect,
        traces: list[SlotTrace],
        *,
        asked: bool,
        awaits: bool,
    ) -> SlotTrace | None:
        """The target that a stranger's text names while it asks for this effect.

        ``asked`` is whether the person's own words surely ask for it; ``awaits``, whether something
        was done that may wait for a mailed code: its letter says to confirm with it.
        """
        if effect is ToolEffect.READ:
            traces = [s for s in traces if s.type is SinkType.URL and s.how != "named-site"]
        mine = self._not_the_persons(tool, traces)
        if awaits and Deed.LOGIN in tool.reading.deeds:
            mine = [slot for slot in mine if not (slot.type in _CODED and is_passcode(slot.value))]
        if asked:  # what a letter says of a member whom the words mean asks for nothing new
            mine = [slot for slot in mine if not is_copied(self._index, slot)]
        for entry in self._index.speaking():
            if mine and self._asks(entry, tool)[0] > Ask.NO:
                return replace(mine[0], how="solicited", origin=entry.origin)
        telling = not any(slot.type in TARGET for slot in traces)
        for slot in mine:
            for entry in self._mentioning(slot):
                if self._bids_for(tool, slot, entry, telling=telling, asked=asked):
                    return replace(slot, how="solicited", origin=entry.origin)
        return None

    def _not_the_persons(self, tool: KnownTool, traces: list[SlotTrace]) -> list[SlotTrace]:
        """The values that a stranger may have chosen."""
        mine = [s for s in traces if s.label is not Label.USER and s.how not in _MEANT]
        if Deed.LOGIN in tool.reading.deeds and self._is_one_account(mine):
            return []
        if self._index.wish.hands_over or awaits_code(self._index.wish):
            mine = [slot for slot in mine if slot.type is not SinkType.CODE]  # codes are mailed
        if Deed.FETCH in tool.reading.deeds:
            mine = [slot for slot in mine if slot.how != "named-site"]
        targets = [slot for slot in traces if slot.type in TARGET]
        if targets and all(slot.label is Label.USER for slot in targets):
            mine = [slot for slot in mine if slot.type in TARGET]  # links inside of the text
        return mine

    def _is_one_account(self, mine: list[SlotTrace]) -> bool:
        """Whether the only address and its password stand together in a source that the words name,
        which begins with somebody whom they name: a text of theirs may well say to sign in.
        """
        if any(slot.label > Label.FROM for slot in mine):
            return False
        keys = [key_of(slot.value, slot.type) for slot in mine]
        return any(
            all(any(key in entry.text for entry in item.fields) for key in keys)
            for item in self._index.items
            if not item.speaks and item.keyed and self._index.begins_with_somebody(item)
            if self._index.only_address(item) in keys
        )

    def _bids_for(
        self, tool: KnownTool, slot: SlotTrace, entry: Entry, *, telling: bool, asked: bool
    ) -> bool:
        """Whether a text asks for this effect where it holds the value; a stranger's, at all.

        ``telling``: the call has no target, so that what it says is all there is to go by.
        """
        ask, sentences = self._asks(entry, tool)
        named = self._index.is_followed(entry.item) or self._index.is_described(entry.item)
        named &= not entry.item.speaks
        if named and slot.label is Label.FROM and asked:
            return False  # a bill that says `please transfer` is what the person sent the agent to
        if named and (self._index.wish.hands_over or (slot.type in _TELLING and not telling)):
            return False
        if not named and ask is Ask.YES:
            return True
        key = key_of(slot.value, slot.type)
        return any(key in sentence for sentence in sentences)

    def _mentioning(self, slot: SlotTrace) -> Iterator[Entry]:
        """Texts of strangers that hold a value of the call."""
        key = key_of(slot.value, slot.type)
        if slot.type in _TELLING and len(key) < 8:
            return
        for entry in self._index.mentions(key, slot.type):
            if entry.label in _STRANGERS and len(entry.text) >= _SENTENCE:
                yield entry

    def _asks(self, entry: Entry, tool: KnownTool) -> tuple[Ask, tuple[str, ...]]:
        """Whether a text asks for what the tool does, and its sentences that may.

        Worked out once for a text and a reading of a tool.
        """
        key = id(entry), tool.name
        reading, ask, sentences = self._bids.get(key, (None, Ask.NO, ()))
        if reading is not tool.reading:
            wish = self._wish_of(entry)
            ask = asks(wish, tool.reading).ask
            sentences = tuple(asking_sentences(wish, tool.reading))
            if wish.truncated:  # what was not read may ask for anything
                ask, sentences = Ask.YES, (wish.text, entry.text)
            if len(self._bids) >= _MOST:
                self._bids.clear()
            self._bids[key] = tool.reading, ask, sentences
        return ask, sentences

    def _wish_of(self, entry: Entry) -> Wish:
        wish = self._wishes.get(id(entry))
        if wish is None:
            wish = self._wishes[id(entry)] = read_words([entry.text])
        return wish


def awaits_code(wish: Wish) -> bool:
    """Whether the words speak of a code that is sent to them, and not of a program's."""
    spoken = frozenset(words(wish.plain))
    written = not wish.about.isdisjoint({"~mail", "~message"})
    return not spoken.isdisjoint(_CODES) or (written and not spoken.isdisjoint({"code", "codes"}))
