"""What one call carries: each of its arguments traced, what is inside of them, and secrets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from actfor.authorization.intent import SinkType, normal
from actfor.authorization.intent.lexicon import STOP, Deed
from actfor.authorization.intent.text import stem, words
from actfor.authorization.model import ToolEffect
from actfor.gateway.effects import SqlEffect
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.named import Hand
from actfor.gateway.provenance.slots import MAX_SLOTS, inside, slots, within_command
from actfor.gateway.provenance.tools import KnownTool
from actfor.gateway.provenance.trace import trace
from actfor.gateway.sql import written_in
from actfor.wire.canonical import JsonObject

_FREE: Final = frozenset({SinkType.TEXT, SinkType.OTHER, SinkType.DATE, SinkType.AMOUNT})
"""What may hold any text, whatever it is called: a date is seldom a link."""
_HOLD_SECRETS: Final = frozenset({SinkType.TEXT, SinkType.URL, SinkType.OTHER, SinkType.PATH})
_SECRETS: Final = frozenset({"~credential", "~key", "code", "secret"})
_STATEMENTS: Final = frozenset("sql query statement".split())


@dataclass(frozen=True, slots=True)
class Carried:
    """The values of a call, each with its origin."""

    slots: list[SlotTrace]
    inner: list[SlotTrace]
    """Addresses and accounts inside of free text."""
    embedded: list[SlotTrace]
    """Addresses and accounts inside of a command or an SQL text that changes something."""

    @property
    def all(self) -> list[SlotTrace]:
        """Arguments first."""
        return [*self.slots, *self.inner, *self.embedded]


def carried(
    index: Index, tool: KnownTool, effect: ToolEffect, arguments: JsonObject, hand: Hand
) -> Carried:
    """The origins of a call's values. What is beyond ``MAX_SLOTS`` counts as a stranger's."""

    def traced(pointer: str, found: Iterable[tuple[SinkType, str]]) -> list[SlotTrace]:
        return [trace(index, pointer, kind, value, hand) for kind, value in found]

    found = Carried([], [], [])
    for count, (pointer, kind, value) in enumerate(slots(arguments, tool.sinks)):
        if count >= MAX_SLOTS:
            found.slots.append(SlotTrace(pointer, value, kind, Label.UNTRUSTED, "forgotten"))
            break
        found.slots.append(trace(index, pointer, kind, value, hand))
        if effect is ToolEffect.READ:
            continue
        sql = tool.sql if tool.sql and tool.sql.pointer == pointer else None
        if sql is not None or kind is SinkType.COMMAND:
            within = within_command(value, _dialect(sql, pointer, value))
            found.embedded.extend(traced(pointer, within))
        elif kind in _FREE:
            found.inner.extend(traced(pointer, inside(value)))
    return found


def _dialect(sql: SqlEffect | None, pointer: str, value: str) -> str | None:
    """In which SQL a text is written: by the overlay, or where the argument is called so and the
    text reads so. None: it is a command, in which `fin.payments` may be a host.
    """
    if sql is not None:
        return sql.dialect
    return written_in(value) if not _STATEMENTS.isdisjoint(words(pointer)) else None


def stated(
    index: Index, tool: KnownTool, effect: ToolEffect, arguments: JsonObject
) -> frozenset[str]:
    """The values that say what a verb asks for: `status: closed`, where it is to be closed, and
    `remove_option`, where an option is to be removed and the tool has an operation of that name;
    `unlocked`, where what the call names is what the words unlock.
    """
    if effect is not ToolEffect.WRITE or Deed.CHANGE not in tool.reading.deeds:
        return frozenset()
    wish = index.wish
    values = [(k, normal(v)) for _, k, v in islice(slots(arguments, tool.sinks), MAX_SLOTS)]
    names = [value for kind, value in values if kind is SinkType.NAME]
    titles = [index.titled(value) for value in names]
    called = [frozenset(map(stem, words(value))) - STOP for value in names]
    return frozenset(
        value
        for _, value in values
        if wish.asks_state(value, tool.reading.core, frozenset().union(*titles), called)
        or (value in tool.reading.vocabulary and wish.asks_operation(value))
    )


def carries_secret(
    index: Index, effect: ToolEffect, traces: list[SlotTrace], *, unseen: bool
) -> bool:
    """Whether a call takes out a secret that was read and that the words do not speak of.

    ``unseen``: secrets were read that are not kept here, so that any value from nowhere may be one.
    """
    if index.wish.about & _SECRETS:
        return False
    if unseen and effect in {ToolEffect.SHARE, ToolEffect.EGRESS}:
        return any(slot.label >= Label.UNKNOWN for slot in traces)
    if not index.secrets:
        return False
    kept = [text for text, names in index.secrets if not names & index.wish.stems]
    texts = [normal(slot.value) for slot in traces if slot.type in _HOLD_SECRETS]
    return any(secret in text for secret in kept for text in texts)
