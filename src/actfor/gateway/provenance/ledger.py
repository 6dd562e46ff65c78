"""What happened under one mandate, and what that means for the next call.

Words heard, results read, calls made, values endorsed. ``trace`` changes nothing; ``record`` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from actfor.authorization.intent import (
    HARD,
    TARGET,
    Ask,
    Grounds,
    SinkType,
    ToolReading,
    Wish,
    asking_sentences,
    asks,
    key_of,
    normal,
    read_words,
    relevant,
    takes_orders,
)
from actfor.authorization.intent.lexicon import Deed
from actfor.authorization.intent.limits import says_repeats, says_sum
from actfor.authorization.intent.text import words
from actfor.authorization.model import Fact, ToolEffect
from actfor.errors import Refused
from actfor.gateway.effects import SqlEffect
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.intent import Findings, History, facts_of
from actfor.gateway.provenance.items import Entry
from actfor.gateway.provenance.labels import Label, SlotTrace
from actfor.gateway.provenance.results import Field, read_result
from actfor.gateway.provenance.titled import is_only_object
from actfor.gateway.provenance.tools import KnownTool
from actfor.gateway.provenance.trace import (
    MAX_SLOTS,
    Hand,
    inside,
    slot_of,
    slots,
    trace,
    within_command,
)
from actfor.gateway.sql import written_in
from actfor.wire.canonical import JsonObject, JsonValue, canonical, digest, digest_bytes
from actfor.wire.rar import Origin as Seen
from actfor.wire.rar import Origins

_DOCUMENTS: Final = frozenset({SinkType.PATH, SinkType.URL, SinkType.RECIPIENT})
"""What names one document or one writer, as opposed to a place where many write."""
_MOST_CALLS: Final = 10_000
_KEPT: Final = 4_096  # bytes of canonical JSON; a source is not told by longer arguments
_SENTENCE: Final = 16  # characters; shorter texts ask for nothing
_STRANGERS: Final = frozenset({Label.ATTESTED, Label.UNTRUSTED})
_FREE: Final = frozenset({SinkType.TEXT, SinkType.OTHER, SinkType.DATE, SinkType.AMOUNT})
"""What may hold any text, whatever it is called: a date is seldom a link."""
_TELLING: Final = frozenset({SinkType.TEXT, SinkType.DATE, SinkType.AMOUNT, SinkType.OTHER})


@dataclass(frozen=True, slots=True)
class Traced:
    """One call's facts for the policies, and its arguments' origins for people."""

    facts: Mapping[str, Fact]
    slots: tuple[SlotTrace, ...]


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What was asked and answered, told by their digests: each is worked out once."""

    arguments: str
    size: int
    """Bytes of the arguments in canonical form."""
    result: str | None
    """None where it has no canonical form, so that it cannot be compared."""


class Ledger:
    """The history of one mandate. Not shared between threads."""

    def __init__(self, wish: Wish) -> None:
        self.index = Index(wish)
        self._endorsed: dict[str, set[tuple[str, str]]] = {}
        self._made: dict[str, Counter[str]] = {}
        self._reached: dict[str, set[str]] = {}
        # The calls whose results are kept, by number; 0 is a call of which nothing is known.
        self._calls: list[tuple[str, JsonObject]] = [("", {})]
        self._told: set[tuple[object, ...]] = set()
        self._lately: set[tuple[object, ...]] = set()
        self._lost_secrets = False
        self._wishes: dict[int, Wish] = {}
        self._bids: dict[tuple[int, str], tuple[ToolReading, Ask, tuple[str, ...]]] = {}
        self._grounds: dict[str, Grounds] = {}
        self._own: set[tuple[frozenset[str], str]] = set()
        """What was made because the words asked for it: what it is, and its name."""
        self._catalogue: tuple[ToolReading, ...] = ()

    @property
    def wish(self) -> Wish:
        """The reading of all that the person said."""
        return self.index.wish

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
        self.index.full = True
        self.index.read_untrusted = True
        self.index.speaks = True
        if read_secret:
            self.index.read_secret = True
            self._lost_secrets = True
        for tool, arguments in made:
            self._count(self._made.setdefault(tool, Counter()), arguments)
            self._reached.setdefault(tool, set()).add(arguments)

    def unreadable(self) -> None:
        """The agent saw what cannot be searched (an image, a file): it may have read anything."""
        self.index.full = True
        self.index.read_untrusted = True

    @property
    def size(self) -> int:
        """How many characters are kept."""
        return self.index.size

    def origins(self, tool: KnownTool, arguments: JsonObject) -> Origins:
        """Where the values of a call were seen, for limits by source (``wire.rar.From``)."""
        found: dict[str, tuple[Seen, ...]] = {}
        for pointer, kind, value in islice(slots(arguments, tool.sinks), MAX_SLOTS):
            key = key_of(value, kind)
            seen = [Seen("user")] if self.index.said(key, kind) else []
            for entry in self.index.sightings(key, kind):
                label = "trusted" if entry.label <= Label.TRUSTED else "untrusted"
                name, given = self._calls[entry.item.call]
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
        grounds = self._asks(tool)
        stated = self._stated(tool, effect, arguments)
        if stated:
            grounds = replace(grounds, ask=Ask.YES)
        if granted:
            grounds = replace(grounds, ask=Ask.YES, one=False)
        hand = Hand(
            frozenset(self._endorsed.get(tool.name, ())),
            many=not grounds.one or self.wish.groups,
            sentence=grounds.because,
            stated=stated,
            tool=tool.reading,
            tells=any(one.to_someone for one in self.wish.asked),
            orders=takes_orders(tool.reading),
            reading=effect is ToolEffect.READ,
        )
        traces: list[SlotTrace] = []
        inner: list[SlotTrace] = []
        embedded: list[SlotTrace] = []
        for count, (pointer, kind, value) in enumerate(slots(arguments, tool.sinks)):
            if count >= MAX_SLOTS:
                traces.append(SlotTrace(pointer, value, kind, Label.UNTRUSTED, "forgotten"))
                break
            traces.append(trace(self.index, pointer, kind, value, hand))
            if effect is ToolEffect.READ:
                continue
            sql = tool.sql if tool.sql and tool.sql.pointer == pointer else None
            if sql is not None or kind is SinkType.COMMAND:
                found_in = within_command(value, _dialect(sql, pointer, value))
                embedded += [trace(self.index, pointer, k, v, hand) for k, v in found_in]
            elif kind in _FREE:
                inner += [trace(self.index, pointer, k, v, hand) for k, v in inside(value)]
        found = Findings(
            tool=tool.reading,
            effect=_reaching(effect, tool),
            grounds=grounds,
            via=grounds.ask is Ask.NO and self._via(tool, traces),
            slots=traces,
            inner=inner,
            embedded=embedded,
            relevant=grounds.verb > Ask.NO or self.wish.hands_over or self._relevant(tool, traces),
            matter=relevant(self.wish, tool.reading),
            solicited=self._solicited(tool, effect, [*traces, *inner, *embedded]),
            carries_secret=self._carries_secret(effect, traces),
            history=History(
                self.index.read_untrusted,
                self.index.read_secret,
                self.index.speaks,
                0 if effect is ToolEffect.READ else self._others(tool, arguments, said),
                self._same(tool, arguments, said),
            ),
            said=self.wish.stems,
            changes_asked=self.wish.changes,
            links=bool(self.wish.about & {"~web"}),
            names_recipient=self.wish.has(SinkType.RECIPIENT),
            hands_over=self.wish.hands_over,
            awaits_code=_awaits_code(self.wish),
            own=bool(self._own) and self._acts_on_own(tool, traces),
            sum_said=effect is ToolEffect.PAY and says_sum(grounds.because),
            filled=self.wish.filled,
            most=self.wish.most if effect is ToolEffect.PAY else None,
            dialects={tool.sql.pointer: tool.sql.dialect} if tool.sql else {},
            repeats=says_repeats(grounds.because),
            only_object=is_only_object(self.index, tool, effect, grounds, traces),
        )
        return Traced(facts_of(found), tuple(traces + inner + embedded))

    def record(
        self,
        tool: KnownTool,
        arguments: JsonObject,
        result: JsonValue | str,
        *,
        approved: bool = False,
    ) -> None:
        """The call was made and this came back.

        Raises:
            Refused: MALFORMED if the arguments have no canonical form; the enforcer asked before.
        """
        asked = canonical(arguments)
        exchange = _Exchange(digest_bytes(asked), len(asked), _digest(result))
        again = self._told_again(tool, exchange) if not approved else None
        if again is not None and again in self._lately:
            self._note_made(tool, arguments, exchange, result)
            return
        made = list(slots(arguments, tool.sinks))[:MAX_SLOTS]
        if approved:
            for pointer, kind, value in made:
                if kind in TARGET:
                    self.endorse(tool.name, pointer, value)
        traced = [trace(self.index, pointer, kind, value, Hand()) for pointer, kind, value in made]
        keyed = any(_names_document(tool, one) for one in traced)
        bidden = any(_bids(one) for one in traced)
        sent = {one.value for one in traced}
        echoes = {normal(one.value): one.label for one in traced if one.label > Label.TRUSTED}
        if self._is_news(tool, exchange, traced):
            read = read_result(
                result,
                tool.results,
                content=tool.returns_content,
                confirms=tool.reading.effect is not ToolEffect.READ,
            )
            self._note_own(tool, traced, (one for one in read.fields if one.text not in sent))
            self.index.add(
                self._numbered(tool, arguments, exchange),
                tool.name,
                read.fields,
                keyed=keyed,
                content=read.content,
                complete=read.complete,
                echoes=echoes,
                bidden=bidden,
            )
        if again is not None:
            if len(self._lately) >= _MOST_CALLS:
                self._lately.clear()
            self._lately.add((*again[:-1], len(self.index.items)))
        self._note_made(tool, arguments, exchange, result)

    def _told_again(self, tool: KnownTool, exchange: _Exchange) -> tuple[object, ...] | None:
        """What tells that nothing was learned since the same call told the same; None: no telling.

        Nothing but the words and what was read decides how a result is labelled.
        """
        if exchange.result is None:
            return None
        said = exchange.arguments, exchange.result
        return tool.name, *said, self.index.version, self.index.full, len(self.index.items)

    def _note_made(
        self, tool: KnownTool, arguments: JsonObject, exchange: _Exchange, result: JsonValue | str
    ) -> None:
        if not _failed(result):
            self._count(self._made.setdefault(tool.name, Counter()), exchange.arguments)
            if key := _reached(tool, arguments):
                self._reached.setdefault(tool.name, set()).add(key)

    def _is_news(self, tool: KnownTool, exchange: _Exchange, traced: list[SlotTrace]) -> bool:
        """Whether the same call has not told the same before, as far as labels go, too.

        An agent that asks again and again fills no memory, and makes nothing slower.
        """
        if exchange.result is None:
            return True  # no canonical form, so nothing to compare
        labels = tuple(slot.label for slot in traced)
        told = (tool.name, exchange.arguments, exchange.result, self.index.version, labels)
        if told in self._told:
            return False
        if len(self._told) >= _MOST_CALLS:
            self._told.clear()
        self._told.add(told)
        return True

    def _numbered(self, tool: KnownTool, arguments: JsonObject, exchange: _Exchange) -> int:
        """The number under which a call is remembered; 0 once there is no more room."""
        if len(self._calls) > _MOST_CALLS:
            return 0
        self._calls.append((tool.name, arguments if exchange.size <= _KEPT else {}))
        return len(self._calls) - 1

    # -- what is found out ----------------------------------------------------------------------

    def _asks(self, tool: KnownTool) -> Grounds:
        grounds = self._grounds.get(tool.name)
        if grounds is None:
            grounds = self._grounds[tool.name] = asks(self.wish, tool.reading, self._catalogue)
        return grounds

    def _stated(self, tool: KnownTool, effect: ToolEffect, arguments: JsonObject) -> frozenset[str]:
        """The values that say what a verb asks for: `status: closed`, where it is to be closed."""
        if effect is not ToolEffect.WRITE or Deed.CHANGE not in tool.reading.deeds:
            return frozenset()
        values = [
            (kind, normal(value))
            for _, kind, value in islice(slots(arguments, tool.sinks), MAX_SLOTS)
        ]
        titles = frozenset().union(
            *(self.index.titled(value) for kind, value in values if kind is SinkType.NAME)
        )
        return frozenset(
            value
            for _, value in values
            if self.wish.asks_state(value, tool.reading.core, titles)
            or (value in tool.reading.vocabulary and self.wish.asks_operation(value))
        )

    def _acts_on_own(self, tool: KnownTool, traces: list[SlotTrace]) -> bool:
        """Whether what a call acts on was made before because the words asked for it."""
        targets = [slot for slot in traces if slot.type in TARGET]
        made = [slot for slot in targets if (tool.reading.head, normal(slot.value)) in self._own]
        return bool(made) and all(slot in made or slot.label <= Label.FROM for slot in targets)

    def _note_own(self, tool: KnownTool, traced: list[SlotTrace], fields: Iterable[Field]) -> None:
        """Keep what names a thing that was made on request: its name, and what its system says of
        its own accord (``fields``).
        """
        made = tool.reading.deeds & {Deed.CREATE} and tool.reading.effect is ToolEffect.WRITE
        if not made or self._asks(tool).ask is not Ask.YES or len(self._own) > _MOST_CALLS:
            return
        names = [
            slot.value for slot in traced if slot.type is SinkType.NAME and slot.how == "words"
        ]
        names += [one.text for one in fields if one.label is Label.TRUSTED]
        self._own |= {(tool.reading.head, normal(name)) for name in names}

    @staticmethod
    def _count(calls: Counter[str], key: str) -> None:
        """One more of these; past the bound all others count as one another's repetition."""
        calls[key if key in calls or len(calls) < _MOST_CALLS else ""] += 1

    def _others(self, tool: KnownTool, arguments: JsonObject, said: str | None) -> int:
        """Calls made with other arguments; of what goes to someone, to others."""
        calls = self._made.get(tool.name)
        if not calls:
            return 0
        if key := _reached(tool, arguments):
            return len(self._reached.get(tool.name, set()) - {key})
        return len(calls.keys() - {said or digest(arguments)})

    def _same(self, tool: KnownTool, arguments: JsonObject, said: str | None) -> int:
        calls = self._made.get(tool.name)
        return 0 if not calls else max(calls[said or digest(arguments)], calls[""])

    def _relevant(self, tool: KnownTool, traces: list[SlotTrace]) -> bool:
        if relevant(self.wish, tool.reading):
            return True
        return any(slot.type in TARGET and slot.label <= Label.FROM for slot in traces)

    def _via(self, tool: KnownTool, traces: list[SlotTrace]) -> bool:
        """Whether a source that the words name, and hand over to, asks for this.

        A source that speaks to machines is not followed: the person sees it instead.
        """
        if not self.wish.hands_over:
            return False
        return any(
            self._bidding(entry, tool)[0] > Ask.NO
            for item in self.index.items
            if not item.speaks and self.index.is_followed(item)
            for entry in item.fields
            if entry.label > Label.TRUSTED and len(entry.text) > 12
            if not self.index.is_by_another(entry)
        )

    def _solicited(
        self, tool: KnownTool, effect: ToolEffect, traces: list[SlotTrace]
    ) -> SlotTrace | None:
        """The target that a stranger's text names while it asks for this effect."""
        if effect is ToolEffect.READ:
            traces = [s for s in traces if s.type is SinkType.URL and s.how != "named-site"]
        mine = [s for s in traces if s.label is not Label.USER and s.how != "followed"]
        if self.wish.hands_over or _awaits_code(self.wish):
            mine = [slot for slot in mine if slot.type is not SinkType.CODE]  # codes are mailed
        if Deed.FETCH in tool.reading.deeds:
            mine = [slot for slot in mine if slot.how != "named-site"]
        targets = [slot for slot in traces if slot.type in TARGET]
        telling = not targets
        if targets and all(slot.label is Label.USER for slot in targets):
            mine = [slot for slot in mine if slot.type in TARGET]  # links inside of the text
        for entry in self.index.speaking():
            if mine and self._bidding(entry, tool)[0] > Ask.NO:
                return replace(mine[0], how="solicited", origin=entry.origin)
        for slot in mine:
            for entry in self._mentioning(slot):
                if self._bids_for(tool, slot, entry, telling=telling):
                    return replace(slot, how="solicited", origin=entry.origin)
        return None

    def _bids_for(self, tool: KnownTool, slot: SlotTrace, entry: Entry, *, telling: bool) -> bool:
        """Whether a text asks for this effect where it holds the value; a stranger's, at all.

        ``telling``: the call has no target, so that what it says is all there is to go by.
        """
        ask, sentences = self._bidding(entry, tool)
        named = self.index.is_followed(entry.item) or self.index.is_described(entry.item)
        named &= not entry.item.speaks
        if named and slot.label is Label.FROM and self._asks(tool).ask is Ask.YES:
            return False  # a bill that says `please transfer` is what the person sent the agent to
        if named and (self.wish.hands_over or (slot.type in _TELLING and not telling)):
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
        for entry in self.index.mentions(key, slot.type):
            if entry.label not in _STRANGERS or len(entry.text) < _SENTENCE:
                continue
            yield entry

    def _bidding(self, entry: Entry, tool: KnownTool) -> tuple[Ask, tuple[str, ...]]:
        """Whether a text asks for what the tool does, and its sentences that may.

        Worked out once for a text and a reading of a tool.
        """
        key = id(entry), tool.name
        reading, ask, sentences = self._bids.get(key, (None, Ask.NO, ()))
        if reading is not tool.reading:
            wish = self._wish_of(entry)
            ask = asks(wish, tool.reading).ask
            sentences = tuple(asking_sentences(wish, tool.reading))
            if len(self._bids) >= _MOST_CALLS:
                self._bids.clear()
            self._bids[key] = tool.reading, ask, sentences
        return ask, sentences

    def _wish_of(self, entry: Entry) -> Wish:
        wish = self._wishes.get(id(entry))
        if wish is None:
            wish = self._wishes[id(entry)] = read_words([entry.text])
        return wish

    def _carries_secret(self, effect: ToolEffect, traces: list[SlotTrace]) -> bool:
        if self.wish.about & _SECRETS:
            return False
        if self._lost_secrets and effect in {ToolEffect.SHARE, ToolEffect.EGRESS}:
            return any(slot.label >= Label.UNKNOWN for slot in traces)
        if not self.index.secrets:
            return False
        kept = [text for text, names in self.index.secrets if not names & self.wish.stems]
        texts = [
            normal(slot.value)
            for slot in traces
            if slot.type in {SinkType.TEXT, SinkType.URL, SinkType.OTHER, SinkType.PATH}
        ]
        if effect is ToolEffect.WRITE and not texts:
            return False
        return any(secret in text for secret in kept for text in texts)


def _names_document(tool: KnownTool, slot: SlotTrace) -> bool:
    """Whether the person's words name the one document that was read."""
    if slot.label is not Label.USER:
        return False
    by_title = "~file" in tool.reading.head and (
        slot.type is SinkType.NAME or not _TITLES.isdisjoint(words(slot.pointer))
    )
    return slot.type in _DOCUMENTS or by_title


_TITLES: Final = frozenset("title name filename document".split())


def _bids(slot: SlotTrace) -> bool:
    """Whether a call was made with what only strangers wrote: its answer is what they wanted."""
    return slot.label is Label.UNTRUSTED and slot.type in {*TARGET, SinkType.TEXT, SinkType.OTHER}


def _reached(tool: KnownTool, arguments: JsonObject) -> str:
    """Whom a message reaches, as one text; nothing for tools that send none."""
    if tool.reading.effect not in {ToolEffect.SHARE, ToolEffect.EGRESS}:
        return ""
    return "\n".join(
        sorted(
            key_of(value, kind) for _, kind, value in slots(arguments, tool.sinks) if kind in HARD
        )
    )


def _digest(result: JsonValue | str) -> str | None:
    try:
        return digest(result)
    except Refused:
        return None


def _failed(result: JsonValue | str) -> bool:
    """Whether a result is an error's text: such a call did not happen as far as counts go."""
    if isinstance(result, dict):
        return result.get("isError") is True
    head = result[:60].split(":", 1)[0].strip().lower() if isinstance(result, str) else ""
    return head.endswith(("error", "exception"))


def _reaching(effect: ToolEffect, tool: KnownTool) -> ToolEffect:
    """A letter is one whether its overlay calls it shared or sent out."""
    letter = effect is ToolEffect.EGRESS and Deed.SEND in tool.reading.deeds
    return ToolEffect.SHARE if letter else effect


def _awaits_code(wish: Wish) -> bool:
    """Whether the words speak of a code that is sent to them, and not of a program's."""
    spoken = frozenset(words(wish.plain))
    written = not wish.about.isdisjoint({"~mail", "~message"})
    return not spoken.isdisjoint(_CODES) or (written and not spoken.isdisjoint({"code", "codes"}))


_CODES: Final = frozenset("confirmation verification otp pin passcode".split())
_SECRETS: Final = frozenset({"~credential", "~key", "code", "secret"})


def _dialect(sql: SqlEffect | None, pointer: str, value: str) -> str | None:
    """In which SQL a text is written: by the overlay, or where the argument is called so and the
    text reads so. None: it is a command, in which `fin.payments` may be a host.
    """
    if sql is not None:
        return sql.dialect
    return written_in(value) if not _STATEMENTS.isdisjoint(words(pointer)) else None


_STATEMENTS: Final = frozenset("sql query statement".split())
