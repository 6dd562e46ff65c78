"""What calls returned under one mandate, taken in: labelled by how it was asked for, and once.

What is told again is no news: an agent that asks again and again fills no memory, and makes
nothing slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final, Self

from actfor.authorization.intent import TARGET, SinkType, normal
from actfor.authorization.intent.text import words
from actfor.authorization.model import ToolEffect
from actfor.errors import Refused
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.named import Hand
from actfor.gateway.provenance.results import read_result
from actfor.gateway.provenance.slots import MAX_SLOTS, slots
from actfor.gateway.provenance.tools import KnownTool
from actfor.gateway.provenance.trace import trace
from actfor.wire.canonical import JsonObject, JsonValue, canonical, digest, digest_bytes

_MOST_CALLS: Final = 10_000
_KEPT: Final = 4_096  # bytes of canonical JSON; a source is not told by longer arguments
_DOCUMENTS: Final = frozenset({SinkType.PATH, SinkType.URL, SinkType.RECIPIENT})
"""What names one document or one writer, as opposed to a place where many write."""
_TITLES: Final = frozenset("title name filename document".split())


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked and answered, and their digests: each is worked out once."""

    tool: KnownTool
    arguments: JsonObject
    result: JsonValue | str
    asked: str
    size: int
    """Bytes of the arguments in canonical form."""
    answered: str | None
    """None where it has no canonical form, so that it cannot be compared."""

    @classmethod
    def of(cls, tool: KnownTool, arguments: JsonObject, result: JsonValue | str) -> Self:
        """One call and what came back.

        Raises:
            Refused: MALFORMED if the arguments have no canonical form.
        """
        asked = canonical(arguments)
        return cls(tool, arguments, result, digest_bytes(asked), len(asked), _digest(result))

    @property
    def failed(self) -> bool:
        """Whether a result is an error's text: such a call did not happen as far as counts go."""
        result = self.result
        if isinstance(result, dict):
            return result.get("isError") is True
        head = result[:60].split(":", 1)[0].strip().lower() if isinstance(result, str) else ""
        return head.endswith(("error", "exception"))


class Intake:
    """Adds to the index what calls return. Not shared between threads."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.calls: list[tuple[str, JsonObject]] = [("", {})]
        """Tool and arguments, by ``Item.call``; 0 is a call of which nothing is known."""
        self._told: set[tuple[object, ...]] = set()
        self._lately: set[tuple[object, ...]] = set()

    def take(self, exchange: Exchange, *, approved: bool) -> None:
        """Label and keep what came back, unless the same call told the same before."""
        again = None if approved else self._told_again(exchange)
        if again is not None and again in self._lately:
            return
        made = islice(slots(exchange.arguments, exchange.tool.sinks), MAX_SLOTS)
        traced = [trace(self._index, pointer, kind, value, Hand()) for pointer, kind, value in made]
        if self._is_news(exchange, traced):
            self._add(exchange, traced)
        if again is not None:
            _put(self._lately, (*again[:-1], len(self._index.items)))

    def _told_again(self, exchange: Exchange) -> tuple[object, ...] | None:
        """What tells that nothing was learned since the same call told the same; None: no telling.

        Nothing but the words and what was read decides how a result is labelled.
        """
        if exchange.answered is None:
            return None
        said = exchange.tool.name, exchange.asked, exchange.answered
        return *said, self._index.version, self._index.full, len(self._index.items)

    def _is_news(self, exchange: Exchange, traced: list[SlotTrace]) -> bool:
        """Whether the same call has not told the same before, as far as labels go, too."""
        if exchange.answered is None:
            return True  # no canonical form, so nothing to compare
        said = exchange.tool.name, exchange.asked, exchange.answered
        told = (*said, self._index.version, tuple(slot.label for slot in traced))
        if told in self._told:
            return False
        _put(self._told, told)
        return True

    def _add(self, exchange: Exchange, traced: list[SlotTrace]) -> None:
        tool = exchange.tool
        read = read_result(
            exchange.result,
            tool.results,
            content=tool.returns_content,
            confirms=tool.reading.effect is not ToolEffect.READ,
        )
        self._index.add(
            self._numbered(exchange),
            tool.name,
            read.fields,
            keyed=any(_names_document(tool, one) for one in traced),
            content=read.content,
            complete=read.complete,
            echoes={normal(one.value): one.label for one in traced if one.label > Label.TRUSTED},
            bidden=any(map(_is_strangers, traced)),
        )

    def _numbered(self, exchange: Exchange) -> int:
        """The number under which a call is remembered; 0 once there is no more room."""
        if len(self.calls) > _MOST_CALLS:
            return 0
        told = exchange.arguments if exchange.size <= _KEPT else {}
        self.calls.append((exchange.tool.name, told))
        return len(self.calls) - 1


def _put(known: set[tuple[object, ...]], one: tuple[object, ...]) -> None:
    if len(known) >= _MOST_CALLS:
        known.clear()
    known.add(one)


def _names_document(tool: KnownTool, slot: SlotTrace) -> bool:
    """Whether the person's words name the one document that was read."""
    if slot.label is not Label.USER:
        return False
    by_title = "~file" in tool.reading.head and (
        slot.type is SinkType.NAME or not _TITLES.isdisjoint(words(slot.pointer))
    )
    return slot.type in _DOCUMENTS or by_title


def _is_strangers(slot: SlotTrace) -> bool:
    """Whether a call was made with what only strangers wrote: its answer is what they wanted."""
    return slot.label is Label.UNTRUSTED and slot.type in {*TARGET, SinkType.TEXT, SinkType.OTHER}


def _digest(result: JsonValue | str) -> str | None:
    try:
        return digest(result)
    except Refused:
        return None
