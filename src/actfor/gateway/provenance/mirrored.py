"""What is made as often as something else has it: `make sure it has the same steps as my plan`.

One call for each row that was read of what the words name, with that row's values, is then meant;
the same row again is not, and a row of anything else neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from actfor.authorization.intent import SinkType, normal
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.items import Item
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.wire.canonical import JsonObject

_SAME: Final = re.compile(r"\bsame \w+s as\b")
_TOLD: Final = frozenset({SinkType.TEXT, SinkType.DATE, SinkType.AMOUNT})
_FEWEST: Final = 2
"""Values that show which row a call repeats."""


def mirrors(
    index: Index,
    effect: ToolEffect,
    calls: Sequence[tuple[str, JsonObject]],
    slots: Sequence[SlotTrace],
) -> bool:
    """Whether a plain change repeats one row of what the words say is to be had again."""
    told = [normal(slot.value) for slot in slots if slot.type in _TOLD]
    if effect is not ToolEffect.WRITE or len(told) < _FEWEST or not _SAME.search(index.wish.plain):
        return False
    return any(
        not item.speaks and _has(item, told) and _is_of_named(index, calls[item.call][1])
        for item in index.items
    )


def _has(item: Item, told: list[str]) -> bool:
    """Whether a row has each of these as a field of its own."""
    fields = {entry.text for entry in item.fields}
    return fields.issuperset(told)


def _is_of_named(index: Index, arguments: JsonObject) -> bool:
    """Whether a row was read out of a record that the words call by its title."""
    return any(
        entry.label is Label.TRUSTED and index.is_called(entry.item)
        for value in arguments.values()
        if isinstance(value, str)
        for entry in index.exact(normal(value))
    )
