"""What is done because a text says so that the words follow, in words that no tool is called by.

`Ada left a comment on my plan, address what she says`; `Bo sent me some errands, complete them`. A
plain change of the record that bears the comment, or that the text or the person names, is then
meant, and so is an answer there; never what pays, deletes or lets in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actfor.authorization.intent import TARGET, SinkType, key_of
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.text import within, words
from actfor.authorization.intent.values import person_matches
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.items import Entry
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.slots import is_id
from actfor.gateway.provenance.tools import KnownTool


def is_followed_up(
    index: Index, tool: KnownTool, effect: ToolEffect, slots: list[SlotTrace]
) -> bool:
    """Whether a call is a plain change, or an answer, because of a text that is followed."""
    if effect is ToolEffect.READ or not index.wish.hands_over or index.speaks:
        return False
    texts = list(_followed(index))
    targets = [slot for slot in slots if slot.type in TARGET]
    if not (texts and targets and all(_is_free_of_others(slot) for slot in targets)):
        return False
    ids = [slot for slot in targets if is_id(slot.pointer)]
    own = bool(ids) and any(_bears_comment(index, slot, texts) for slot in ids)
    meant = all(_bears_comment(index, slot, texts) or _is_named(index, slot, texts) for slot in ids)
    if not meant or any(_is_others_text(index, slot, ids, texts) for slot in slots):
        return False
    if _is_answer(index, tool, effect):
        return bool(ids) and ids == targets
    plain = effect is ToolEffect.WRITE and tool.reading.deeds.isdisjoint(_GRAVER)
    return plain and (own or any(_is_of(slot, texts) for slot in slots))


_GRAVER: Final = frozenset(
    {Deed.DELETE, Deed.PAY, Deed.BOOK, Deed.ADMIT, Deed.RUN, Deed.LOGIN, Deed.SEND}
)


def _followed(index: Index) -> Iterator[Entry]:
    """The texts of the writers whom the words name."""
    handle = _handle(index)
    for item in index.items:
        if item.speaks or not item.authors:
            continue
        named = index.is_by_named(item)
        for entry in item.fields:
            by = entry.by or item.author
            theirs = (named and not index.is_by_another(entry)) or by == handle
            if entry.label > Label.TRUSTED and theirs:
                yield entry


def _handle(index: Index) -> str | None:
    """What one is called whom the words name, if it is the address of the one such, without its
    signs: `annaroth` for Anna, whose address some system has as `anna.roth@…`.
    """
    handles = {
        _plain(address)
        for address in index.attested()
        if any(person_matches(name, address) for name in index.wish.sources)
    }
    return (handles.pop() or None) if len(handles) == 1 else None


def _plain(address: str) -> str:
    return "".join(filter(str.isalnum, address.partition("@")[0]))


def _is_free_of_others(slot: SlotTrace) -> bool:
    """Whether nobody else chose a target: where an agent keeps its files is its own choice."""
    own = slot.type is SinkType.PATH and slot.label is Label.UNKNOWN
    return own or slot.label <= Label.TRUSTED


def _bears_comment(index: Index, slot: SlotTrace, texts: list[Entry]) -> bool:
    """Whether this is the record on which a followed comment stands."""
    key = key_of(slot.value, slot.type)
    theirs = {id(entry.item) for entry in texts if entry.by}
    return any(e.label is Label.TRUSTED and id(e.item) in theirs for e in index.exact(key))


def _is_named(index: Index, slot: SlotTrace, texts: list[Entry]) -> bool:
    """Whether the person, or a followed text, calls a record by its title."""
    told = [" ".join(words(entry.text)) for entry in texts]
    return any(
        index.is_called(entry.item) or any(_is_titled(entry, text) for text in told)
        for entry in index.exact(key_of(slot.value, slot.type))
        if entry.label is Label.TRUSTED
    )


def _is_titled(entry: Entry, told: str) -> bool:
    titles = (" ".join(words(title)) for title in entry.item.titles)
    return any(len(title) > _SHORT and within(title, told) for title in titles)


_SHORT: Final = 3  # characters; what is shorter names nothing


def _is_of(slot: SlotTrace, texts: list[Entry]) -> bool:
    """Whether a followed text has this value, or the name of this file."""
    value = key_of(slot.value, slot.type)
    value = value.rpartition("/")[2] if slot.type is SinkType.PATH else value
    return bool(value) and any(within(value, entry.text) for entry in texts)


def _is_others_text(
    index: Index, slot: SlotTrace, ids: list[SlotTrace], texts: list[Entry]
) -> bool:
    """Whether somebody wrote this who is not followed, and the record itself has it nowhere."""
    if slot.type is not SinkType.TEXT or slot.label < Label.ATTESTED or slot.how == "none":
        return False
    keys = [key_of(one.value, one.type) for one in ids]
    records = [entry.item for key in keys for entry in index.exact(key)]
    own = [one for item in records for one in item.fields if one.by in {"", item.author}]
    return not (_is_of(slot, texts) or _is_of(slot, own))


def _is_answer(index: Index, tool: KnownTool, effect: ToolEffect) -> bool:
    """Whether this is a comment, where the words speak of one."""
    writes = effect in {ToolEffect.WRITE, ToolEffect.SHARE, ToolEffect.EGRESS}
    return writes and "comment" in index.wish.stems & tool.reading.head
