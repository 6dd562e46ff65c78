"""What happened under one mandate, and what that means for the next call.

Words heard, results read, calls made, values endorsed. ``trace`` changes nothing; ``record`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from actfor.authorization.intent import (
    TARGET,
    Ask,
    Grounds,
    SinkType,
    Wish,
    asks,
    normal,
    read_words,
    relevant,
)
from actfor.authorization.model import Fact, ToolEffect
from actfor.gateway.provenance.index import Entry, Index
from actfor.gateway.provenance.intent import Findings, History, facts_of
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.results import read_result
from actfor.gateway.provenance.tools import KnownTool
from actfor.gateway.provenance.trace import MAX_SLOTS, Hand, inside, slot_of, slots, trace
from actfor.wire.canonical import JsonObject, JsonValue, canonical

_MOST_CALLS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Traced:
    """One call's facts for the policies, and its arguments' origins for people."""

    facts: Mapping[str, Fact]
    slots: tuple[SlotTrace, ...]


class Ledger:
    """The history of one mandate. Not shared between threads."""

    def __init__(self, wish: Wish) -> None:
        self.index = Index(wish)
        self._endorsed: dict[str, set[tuple[str, str]]] = {}
        self._made: dict[str, set[bytes]] = {}
        self._count = 0
        self._wishes: dict[int, Wish] = {}
        self._grounds: dict[str, Grounds] = {}

    @property
    def wish(self) -> Wish:
        """The reading of all that the person said."""
        return self.index.wish

    def hear(self, wish: Wish) -> None:
        """The person said more."""
        self.index.hear(wish)
        self._grounds.clear()

    def endorse(self, tool: str, pointer: str, value: JsonValue) -> None:
        """One value, for one argument of one tool: nothing else is believed because of it."""
        self._endorsed.setdefault(tool, set()).add((slot_of(pointer), normal(str(value))))

    def trace(
        self, tool: KnownTool, effect: ToolEffect, arguments: JsonObject, *, granted: bool = False
    ) -> Traced:
        """Origins and facts of a call. ``granted``: a person confirmed a grant for this tool."""
        grounds = self._asks(tool)
        if granted:
            grounds = replace(grounds, ask=Ask.YES, one=False)
        hand = Hand(frozenset(self._endorsed.get(tool.name, ())), many=not grounds.one)
        traces: list[SlotTrace] = []
        inner: list[SlotTrace] = []
        for count, (pointer, kind, value) in enumerate(slots(arguments, tool.sinks)):
            if count >= MAX_SLOTS:
                traces.append(SlotTrace(pointer, value, kind, Label.UNTRUSTED, "forgotten"))
                break
            traces.append(trace(self.index, pointer, kind, value, hand))
            if kind in {SinkType.TEXT, SinkType.OTHER} and effect is not ToolEffect.READ:
                inner += [trace(self.index, pointer, k, v, hand) for k, v in inside(value)]
        found = Findings(
            tool=tool.reading,
            effect=effect,
            grounds=grounds,
            via=grounds.ask is Ask.NO and self._via(tool, traces),
            slots=traces,
            inner=inner,
            relevant=self._relevant(tool, traces),
            solicited=self._solicited(tool, effect, traces),
            carries_secret=self._carries_secret(effect, traces),
            history=History(
                self.index.read_untrusted,
                self.index.read_secret,
                self.index.speaks,
                self._others(tool.name, arguments),
            ),
        )
        return Traced(facts_of(found), tuple(traces + inner))

    def record(
        self,
        tool: KnownTool,
        arguments: JsonObject,
        result: JsonValue | str,
        *,
        approved: bool = False,
    ) -> None:
        """The call was made and this came back."""
        made = list(slots(arguments, tool.sinks))[:MAX_SLOTS]
        if approved:
            for pointer, kind, value in made:
                if kind in TARGET:
                    self.endorse(tool.name, pointer, value)
        keyed = any(
            kind in TARGET and trace(self.index, pointer, kind, value, Hand()).label is Label.USER
            for pointer, kind, value in made
        )
        content = tool.reading.content
        fields, complete = read_result(result, tool.results, content=content)
        self._count += 1
        self.index.add(self._count, tool.name, fields, keyed=keyed, complete=complete)
        calls = self._made.setdefault(tool.name, set())
        if len(calls) < _MOST_CALLS:
            calls.add(canonical(arguments))

    # -- what is found out ----------------------------------------------------------------------

    def _asks(self, tool: KnownTool) -> Grounds:
        grounds = self._grounds.get(tool.name)
        if grounds is None:
            grounds = self._grounds[tool.name] = asks(self.wish, tool.reading)
        return grounds

    def _others(self, tool: str, arguments: JsonObject) -> int:
        calls = self._made.get(tool)
        return 0 if not calls else len(calls - {canonical(arguments)})

    def _relevant(self, tool: KnownTool, traces: list[SlotTrace]) -> bool:
        if relevant(self.wish, tool.reading):
            return True
        return any(slot.type in TARGET and slot.label is Label.USER for slot in traces)

    def _via(self, tool: KnownTool, traces: list[SlotTrace]) -> bool:
        """Whether a source that the words name, and hand over to, asks for this.

        A source that speaks to machines is not followed: the person sees it instead.
        """
        if not self.wish.hands_over:
            return False
        return any(
            asks(self._wish_of(entry), tool.reading).ask > Ask.NO
            for item in self.index.items
            if not item.speaks and self.index.is_named(item)
            for entry in item.fields
            if entry.label > Label.TRUSTED and len(entry.text) > 12
        )

    def _solicited(
        self, tool: KnownTool, effect: ToolEffect, traces: list[SlotTrace]
    ) -> SlotTrace | None:
        """The target that a stranger's text names while it asks for this effect."""
        if effect is ToolEffect.READ:
            return None
        for slot in traces:
            if slot.type not in TARGET or slot.label is Label.USER:
                continue
            for entry in self.index.holds(normal(slot.value)):
                if entry.label < Label.ATTESTED:
                    continue
                if self.index.is_named(entry.item) and not entry.item.speaks:
                    continue
                if asks(self._wish_of(entry), tool.reading).ask is Ask.YES:
                    return replace(
                        slot, label=Label.UNTRUSTED, how="solicited", origin=entry.origin
                    )
        return None

    def _wish_of(self, entry: Entry) -> Wish:
        wish = self._wishes.get(id(entry))
        if wish is None:
            wish = self._wishes[id(entry)] = read_words([entry.text])
        return wish

    def _carries_secret(self, effect: ToolEffect, traces: list[SlotTrace]) -> bool:
        if not self.index.secrets or self.wish.about & _SECRETS:
            return False
        texts = [
            normal(slot.value)
            for slot in traces
            if slot.type in {SinkType.TEXT, SinkType.URL, SinkType.OTHER, SinkType.PATH}
        ]
        if effect is ToolEffect.WRITE and not texts:
            return False
        return any(secret in text for secret in self.index.secrets for text in texts)


_SECRETS: Final = frozenset({"~credential", "~key", "code", "secret"})
