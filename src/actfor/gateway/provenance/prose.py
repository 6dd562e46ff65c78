"""Where prose comes from: by the sentences and clauses in it that somebody else wrote."""

from __future__ import annotations

import re
from typing import Final

from actfor.authorization.intent import SinkType, normal
from actfor.authorization.intent.text import within
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.items import Entry, speaks
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.machine import decodings
from actfor.gateway.provenance.named import Hand
from actfor.gateway.provenance.slots import slot_of

_SEGMENT: Final = 24  # characters; shorter pieces of prose say nothing about where it is from


def trace_text(index: Index, pointer: str, value: str, hand: Hand) -> SlotTrace:
    """Prose is traced by its segments: the tightest label of those that are someone else's."""
    text = normal(value)
    if (slot_of(pointer), text) in hand.endorsed:
        return SlotTrace(pointer, value, SinkType.TEXT, Label.USER, "endorsed")
    if within(text, index.wish.text):
        return SlotTrace(pointer, value, SinkType.TEXT, Label.USER, "words")
    worst: Entry | None = None
    for segment in _segments(text):
        for entry in index.mentions(segment, SinkType.TEXT):
            if worst is None or (entry.label, speaks(entry)) > (worst.label, speaks(worst)):
                worst = entry
    if worst is not None:
        how = "machine" if worst.item.speaks and speaks(worst) else "part"
        return SlotTrace(pointer, value, SinkType.TEXT, worst.label, how, worst.origin)
    if index.encoded(text) or _hides(value):
        return SlotTrace(pointer, value, SinkType.TEXT, Label.UNTRUSTED, "encoded")
    label = Label.UNTRUSTED if index.full else Label.UNKNOWN
    return SlotTrace(pointer, value, SinkType.TEXT, label, "none")


def _hides(value: str) -> bool:
    """Whether a word of the text spells other words: nobody writes so to people."""
    return any(
        len(plain) >= _SEGMENT // 2 and " " in plain
        for token in value.split()[:512]
        for plain in decodings(token)
    )


_ENDS: Final = re.compile(r"[.:;!?,] ")  # of sentences and clauses


def _segments(text: str) -> list[str]:
    """Sentences and clauses long enough to be recognised; the whole where it is short."""
    kept = [piece.strip(" .'\"") for piece in _ENDS.split(text) if len(piece) >= _SEGMENT]
    return list(dict.fromkeys(kept))[:64] or [text]
