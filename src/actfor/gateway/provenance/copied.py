"""What the words say to take over from one thing as it is: `the same as ann/winter`, `all the
members of ann/winter`. Each value of that thing's own record is then the person's choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from actfor.authorization.intent import TARGET, SinkType, key_of
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.labels import Label, SlotTrace

_SAME: Final = re.compile(
    r"\b(?:(?:same|identical|equal|copy|copied|contents?) (?:as|to|of|from|with|on|in)"
    r"|(?:members|items|products|entries|guests|people|participants|editors) (?:of|on|in|from))"
    r" (?:(?:the|my|our) )?(\S{3,80})"
)
_FREE: Final = frozenset({*TARGET, SinkType.AMOUNT, SinkType.PERMISSION})


@lru_cache(maxsize=64)
def _taken_over(words: str) -> list[str]:
    """The names of what is to be taken over."""
    return [name.strip("'\"`.,;:()") for name in _SAME.findall(words)]


def is_copied(index: Index, slot: SlotTrace) -> bool:
    """Whether a value stands, whole, in the record of a thing that is to be taken over."""
    if slot.label > Label.TRUSTED:
        return False
    names = _taken_over(index.wish.text)
    key = key_of(slot.value, slot.type)
    return bool(names) and any(
        entry.text == key and entry.item.holds(names) and not entry.item.speaks
        for entry in index.exact(key)
    )


def copies(index: Index, slots: Sequence[SlotTrace]) -> bool:
    """Whether a call takes something over, and nothing in it is anybody else's choice."""
    told = [slot for slot in slots if slot.type in _FREE and slot.label is not Label.USER]
    copied = [slot for slot in told if is_copied(index, slot)]
    rest = [slot for slot in told if slot not in copied]
    own = all(slot.type is SinkType.NAME and slot.label is Label.TRUSTED for slot in rest)
    things = any(slot.type in TARGET for slot in copied)  # a number alone says of no thing
    return things and own and len(rest) <= 1
