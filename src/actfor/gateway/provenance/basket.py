"""What a basket holds that a call pays for without naming it: `checkout` pays for all of it.

What was put there under this mandate must have been asked for, or approved; what was there before
is paid for only where the words speak of it, by its name or as what the basket holds.
"""

from __future__ import annotations

from typing import Final

from actfor.authorization.intent import TARGET, fills_basket, key_of, takes_orders
from actfor.authorization.intent.asking import BASKETS, BUYS
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.text import stem, words
from actfor.authorization.model import ToolEffect
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.items import Item
from actfor.gateway.provenance.labels import Label
from actfor.gateway.provenance.slots import slots
from actfor.gateway.provenance.tools import KnownTool
from actfor.wire.canonical import JsonObject

_MOST: Final = 10_000
_UNNAMED: Final = frozenset(
    "id ids address street city zip postcode postal country delivery shipping payment method card"
    " wallet account balance coupon voucher code promo discount slot date time day note notes"
    " message comment instructions remark currency total amount price tip quantity count customer"
    " user username buyer email phone contact recipient express speed cart basket trolley".split()
)
"""Arguments that say how, where to and by whom something is ordered, and not what."""
_THINGS: Final = frozenset(
    "item items product products article articles sku skus listing listings goods".split()
)


class Basket:
    """What went into the baskets of one mandate. Not shared between threads."""

    def __init__(self) -> None:
        self._put: set[str] = set()
        self._doubtful = False
        self._looks: set[str] = set()
        """The tools that were used to look into a basket."""

    def note(self, tool: KnownTool, arguments: JsonObject, *, meant: bool) -> None:
        """A call was made; ``meant`` says that it was asked for, or approved."""
        reading = tool.reading
        if reading.effect is ToolEffect.READ:
            if not BASKETS.isdisjoint(reading.core | reading.head) and len(self._looks) < _MOST:
                self._looks.add(tool.name)
        elif pays_unnamed(tool, arguments):
            self._put, self._doubtful = set(), False
        elif fills_basket(reading) and Deed.DELETE not in reading.deeds:
            keys = {key_of(v, k) for _, k, v in slots(arguments, tool.sinks) if k in TARGET}
            self._doubtful |= not meant or len(self._put) > _MOST
            self._put |= keys

    def missed(self) -> None:
        """Something was done that nobody saw here."""
        self._doubtful = True

    def holds_other(self, index: Index) -> bool:
        """Whether it may hold what nobody asked for."""
        if self._doubtful:
            return True
        if _orders_all(index):
            return False
        rows = self._seen(index)
        if any(not (self._put & _keys(row) or index.is_ordered(row)) for row in rows):
            return True
        return not (rows or self._put)

    def _seen(self, index: Index) -> list[Item]:
        """What the basket held when it was looked at last."""
        rows = [item for item in index.items if item.tool in self._looks and item.titles]
        last = max((item.call for item in rows), default=0)
        return [item for item in rows if item.call == last]


def pays_unnamed(tool: KnownTool, arguments: JsonObject) -> bool:
    """Whether a call pays for an order and names nothing that is ordered, in an argument that the
    tool has.
    """
    reading = tool.reading
    if reading.effect is not ToolEffect.PAY or not takes_orders(reading):
        return False
    called = [
        frozenset(words(pointer))
        for pointer, _, _ in slots(arguments, tool.sinks)
        if f"/{pointer.split('/')[1]}" in tool.sinks
    ]
    if not BASKETS.isdisjoint(map(stem, reading.vocabulary)):
        return all(_THINGS.isdisjoint(one) for one in called)
    if _ORDER.isdisjoint(reading.head | reading.verbs):
        return False  # `order_taxi`
    return all(one - _UNNAMED <= frozenset(filter(str.isdecimal, one)) for one in called)


_ORDER: Final = frozenset(stem(word) for word in "order purchase checkout".split())


def _orders_all(index: Index) -> bool:
    """Whether the words order what a basket holds, and ask for nothing to be put there first."""
    asked = index.wish.asked
    fills = any(one.verb in _FILLS and one.clause & BASKETS for one in asked)
    return not fills and any(one.verb in BUYS and one.clause & BASKETS for one in asked)


_FILLS: Final = frozenset("add put place fill get".split())


def _keys(item: Item) -> set[str]:
    return {entry.text for entry in item.fields if entry.label <= Label.TRUSTED}
