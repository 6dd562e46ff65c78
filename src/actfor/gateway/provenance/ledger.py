"""What happened under one mandate, and what that means for the next call.

Words heard, results read, calls made, values endorsed. ``trace`` changes nothing; ``record`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from actfor.authorization.intent import (
    TARGET,
    Ask,
    Grounds,
    SinkType,
    ToolReading,
    Wish,
    asks,
    fills_basket,
    key_of,
    normal,
    relevant,
    takes_orders,
)
from actfor.authorization.intent.each import counts_in
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.limits import says_repeats, says_sum
from actfor.authorization.intent.text import words
from actfor.authorization.intent.values import number_key
from actfor.authorization.model import Fact, ToolEffect
from actfor.gateway.provenance.basket import Basket, pays_unnamed
from actfor.gateway.provenance.bidding import Bidding, awaits_code
from actfor.gateway.provenance.carried import carried, carries_secret, stated
from actfor.gateway.provenance.copied import copies
from actfor.gateway.provenance.findings import Findings, History
from actfor.gateway.provenance.following import is_followed_up
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.intake import Exchange, Intake
from actfor.gateway.provenance.intent import facts_of
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.made import Made
from actfor.gateway.provenance.mirrored import mirrors
from actfor.gateway.provenance.named import Hand
from actfor.gateway.provenance.slots import MAX_SLOTS, slot_of, slots
from actfor.gateway.provenance.switches import agrees
from actfor.gateway.provenance.titled import is_only_object
from actfor.gateway.provenance.tools import KnownTool
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import Origin as Seen
from actfor.wire.rar import Origins


@dataclass(frozen=True, slots=True)
class Traced:
    """One call's facts for the policies, and its arguments' origins for people."""

    facts: Mapping[str, Fact]
    slots: tuple[SlotTrace, ...]


class Ledger:
    """The history of one mandate. Not shared between threads."""

    def __init__(self, wish: Wish) -> None:
        self.index = Index(wish)
        self._intake = Intake(self.index)
        self._bidding = Bidding(self.index)
        self._made = Made()
        self._basket = Basket()
        self._endorsed: dict[str, set[tuple[str, str]]] = {}
        self._lost_secrets = False
        self._grounds: dict[str, Grounds] = {}
        self._catalogue: tuple[ToolReading, ...] = ()

    @property
    def wish(self) -> Wish:
        """The reading of all that the person said."""
        return self.index.wish

    @property
    def size(self) -> int:
        """How many characters are kept."""
        return self.index.size

    # -- what is remembered ---------------------------------------------------------------------

    def hear(self, wish: Wish) -> None:
        """The person said more."""
        self.index.hear(wish)
        self._grounds.clear()

    def offer(self, catalogue: Iterable[ToolReading]) -> None:
        """The tools that the words could mean: a verb that means one of them means no other."""
        self._catalogue = tuple(catalogue)
        self._grounds.clear()

    def endorse(self, tool: str, pointer: str, value: JsonValue) -> None:
        """One value, for one argument of one tool: nothing else is believed because of it."""
        self._endorsed.setdefault(tool, set()).add((slot_of(pointer), normal(str(value))))

    def endorse_only(self, slots: Iterable[tuple[str, str, str]]) -> None:
        """Believe these (tool, argument, value in normal form) and no others."""
        self._endorsed = {}
        for tool, slot, value in slots:
            self._endorsed.setdefault(tool, set()).add((slot, value))

    def missed(self, made: Iterable[tuple[str, str]] = (), *, read_secret: bool = False) -> None:
        """Results went to the agent that were not seen here. From now on what is not found counts
        as read from others, and as if such text had been read and had spoken to the agent.

        ``made`` are the calls that changed something, by tool and the digest of its arguments, and
        ``read_secret`` whether secrets may have been among the results, as the database has it.
        """
        self.unreadable()
        self.index.speaks = True
        if read_secret:
            self.index.read_secret = True
            self._lost_secrets = True
        for tool, arguments in made:
            self._made.note_unseen(tool, arguments)
            self._basket.missed()

    def unreadable(self) -> None:
        """The agent saw what cannot be searched (an image, a file): it may have read anything."""
        self.index.full = True
        self.index.read_untrusted = True

    def record(
        self,
        tool: KnownTool,
        arguments: JsonObject,
        result: JsonValue | str,
        *,
        approved: bool = False,
        failed: bool = False,
    ) -> None:
        """The call was made and this came back; if it ``failed``, it does not count as made.

        Raises:
            Refused: MALFORMED if the arguments have no canonical form; the enforcer asked before.
        """
        exchange = Exchange.of(tool, arguments, result)
        if approved:
            for pointer, kind, value in islice(slots(arguments, tool.sinks), MAX_SLOTS):
                if kind in TARGET:
                    self.endorse(tool.name, pointer, value)
        done = not (failed or exchange.failed)
        if done:
            meant = approved or not fills_basket(tool.reading) or self._is_meant(tool, arguments)
            self._basket.note(tool, arguments, meant=meant)
        self._intake.take(exchange, approved=approved)
        if done:
            self._made.note(tool, arguments, exchange.asked)

    def _is_meant(self, tool: KnownTool, arguments: JsonObject) -> bool:
        """Whether a call was asked for, and nothing in it is others' choice."""
        traced = self.trace(tool, tool.judge(arguments).effect, arguments)
        doubts = ("sinks_untrusted", "target_unnamed", "solicited")
        if traced.facts["effect_asked"] == "no" or any(traced.facts[doubt] for doubt in doubts):
            return False
        return self.wish.hands_over or all(map(self._is_meant_number, traced.slots))

    def _is_meant_number(self, slot: SlotTrace) -> bool:
        """Whether a number in what is put into a basket is the words', or a record's where it says
        no quantity: one unless they say how many. Of 500 a stranger may have written.
        """
        most = Label.TRUSTED if _QUANTITIES.isdisjoint(words(slot.pointer)) else Label.FROM
        if slot.type is not SinkType.AMOUNT or slot.label <= most:
            return True
        number = number_key(normal(slot.value))
        return number == "1" or number in map(str, counts_in(self.wish.plain))

    # -- what it means for a call ---------------------------------------------------------------

    def origins(self, tool: KnownTool, arguments: JsonObject) -> Origins:
        """Where the values of a call were seen, for limits by source (``wire.rar.From``)."""
        found: dict[str, tuple[Seen, ...]] = {}
        for pointer, kind, value in islice(slots(arguments, tool.sinks), MAX_SLOTS):
            key = key_of(value, kind)
            seen = [Seen("user")] if self.index.said(key, kind) else []
            for entry in self.index.sightings(key, kind):
                label = "trusted" if entry.label <= Label.TRUSTED else "untrusted"
                name, given = self._intake.calls[entry.item.call]
                server, slash, called = name.partition("/")
                seen.append(Seen(label, server if slash else "", called or name, given))
            found[pointer] = tuple(seen)
        return found

    def trace(
        self,
        tool: KnownTool,
        effect: ToolEffect,
        arguments: JsonObject,
        *,
        granted: bool = False,
        said: str | None = None,
    ) -> Traced:
        """Origins and facts of a call. ``granted``: a person confirmed a grant for this tool;
        ``said`` is the digest of the arguments, where somebody has it.
        """
        wish, asked = self.wish, self._asks(tool)
        states = stated(self.index, tool, effect, arguments)
        grounds = asked
        switch = None if effect is ToolEffect.READ else agrees(wish, tool.reading, arguments)
        if states or granted or (switch and effect is ToolEffect.WRITE):
            grounds = replace(asked, ask=Ask.YES, one=asked.one and not granted)
        hand = Hand(
            frozenset(self._endorsed.get(tool.name, ())),
            many=not grounds.one or wish.groups,
            sentence=grounds.because,
            stated=states,
            tool=tool.reading,
            tells=any(one.to_someone for one in wish.asked),
            orders=takes_orders(tool.reading),
            reading=effect is ToolEffect.READ,
        )
        values = carried(self.index, tool, effect, arguments, hand)
        every = values.all
        matter = relevant(wish, tool.reading)
        found = Findings(
            tool=tool.reading,
            effect=_reaching(effect, tool),
            grounds=grounds,
            via=grounds.ask is Ask.NO
            and (
                self._bidding.is_handed_over(tool, values.slots)
                or is_followed_up(self.index, tool, effect, list(values.slots))
            ),
            slots=values.slots,
            inner=values.inner,
            embedded=values.embedded,
            relevant=grounds.verb > Ask.NO or wish.hands_over or matter or _aims(values.slots),
            matter=matter,
            solicited=self._bidding.solicited(
                tool,
                effect,
                every,
                asked=asked.ask is Ask.YES,
                awaits=self._made.has_changed and not self.index.speaks,
            ),
            carries_secret=carries_secret(
                self.index, effect, values.slots, unseen=self._lost_secrets
            ),
            history=self._history(tool, effect, arguments, said),
            said=wish.stems,
            taken_over=copies(self.index, values.slots)
            or mirrors(self.index, effect, self._intake.calls, values.slots),
            denied=wish.denied,
            changes_asked=wish.changes,
            links=bool(wish.about & {"~web"}),
            names_recipient=wish.has(SinkType.RECIPIENT),
            hands_over=wish.hands_over,
            awaits_code=awaits_code(wish),
            sum_said=effect is ToolEffect.PAY and says_sum(grounds.because),
            filled=wish.filled,
            share=wish.share if effect is ToolEffect.PAY else None,
            most=wish.most if effect is ToolEffect.PAY else None,
            basket=not granted
            and pays_unnamed(tool, arguments)
            and self._basket.holds_other(self.index),
            dialects={tool.sql.pointer: tool.sql.dialect} if tool.sql else {},
            contrary=switch is False and not granted,
            repeats=says_repeats(grounds.because),
            only_object=is_only_object(self.index, tool, effect, grounds, values.slots),
        )
        return Traced(facts_of(found), tuple(every))

    def _asks(self, tool: KnownTool) -> Grounds:
        grounds = self._grounds.get(tool.name)
        if grounds is None:
            grounds = self._grounds[tool.name] = asks(self.wish, tool.reading, self._catalogue)
        return grounds

    def _history(
        self, tool: KnownTool, effect: ToolEffect, arguments: JsonObject, said: str | None
    ) -> History:
        return History(
            self.index.read_untrusted,
            self.index.read_secret,
            self.index.speaks,
            0 if effect is ToolEffect.READ else self._made.others(tool, arguments, said),
            self._made.same(tool, arguments, said),
            effect is not ToolEffect.READ and self._made.is_last(tool, arguments, said),
            self._made.paid,
            self._made.has_paid(tool, arguments),
        )


_QUANTITIES: Final = frozenset("quantity qty count pieces units number amount".split())


def _aims(traces: list[SlotTrace]) -> bool:
    """Whether what a call is done to is the person's, or out of a source that they named."""
    return any(slot.type in TARGET and slot.label <= Label.FROM for slot in traces)


def _reaching(effect: ToolEffect, tool: KnownTool) -> ToolEffect:
    """A letter is one whether its overlay calls it shared or sent out."""
    letter = effect is ToolEffect.EGRESS and Deed.SEND in tool.reading.deeds
    return ToolEffect.SHARE if letter else effect
