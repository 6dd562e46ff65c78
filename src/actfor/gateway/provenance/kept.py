"""Every value that was read under one mandate, with whose it is; what it means is ``Index``'s.

Fields are kept in normal form, by value (exact), by the typed values inside of them (addresses,
accounts, paths), and as text to search in.

Bound: ``MAX_FIELDS`` fields and ``MAX_CHARS`` characters. What comes after is not kept, and from
then on ``full`` is set: a value that is not found may have been in what was dropped, so it counts
as UNTRUSTED instead of UNKNOWN. Trusted fields that were dropped are not found either. The bound
thus only ever tightens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from actfor.authorization.intent import SinkType, Value, normal, skeleton, typed
from actfor.authorization.intent.text import stem, within, words
from actfor.gateway.provenance.items import Entry, Item, Writers, speaks, typed_of
from actfor.gateway.provenance.labels import Label
from actfor.gateway.provenance.machine import decodings
from actfor.gateway.provenance.results import Field

MAX_FIELDS: Final = 50_000
MAX_CHARS: Final = 4_000_000
_REFERENCES: Final = 32  # fields remembered for one value
_HITS: Final = 32  # places of one value that are looked at
_ENCODED: Final = 24  # characters; shorter tokens are words
_TITLES: Final = frozenset("subject title name filename file_name topic headline".split())


class Kept:
    """What was read. Not shared between threads."""

    def __init__(self) -> None:
        self.version = 0
        """Another one whenever somebody else may be meant by a name."""
        self.full = False
        self.items: list[Item] = []
        self.writers = Writers()
        self.secrets: list[tuple[str, frozenset[str]]] = []
        self.read_untrusted = False
        self.read_secret = False
        self.speaks = False
        self._exact: dict[str, list[Entry]] = {}
        self._typed: dict[Value, list[Entry]] = {}
        self._long = _Joined()
        self._skeletons: dict[str, str] = {}
        self._decoded: set[str] = set()
        self._fields = 0
        self._chars = 0

    @property
    def size(self) -> int:
        """How many characters are kept."""
        return self._chars

    # -- what comes in ------------------------------------------------------------------------

    def add(
        self,
        call: int,
        tool: str,
        fields: Iterable[Field],
        *,
        keyed: bool,
        content: bool,
        complete: bool,
        echoes: Mapping[str, Label] | None = None,
        bidden: bool = False,
    ) -> None:
        """Keep what one call returned.

        ``echoes`` are the doubtful values among its own arguments: a field that repeats one is no
        better than it, whatever system says it. ``bidden``: the call itself was a stranger's wish,
        so that even a record's answer is their choice.
        """
        repeated = {echo: label for echo, label in (echoes or {}).items() if len(echo) > 2}
        best = Label.ATTESTED if bidden else Label.USER
        items: dict[int, Item] = {}
        if not complete:
            self.full = True
        for one in fields:
            item = items.get(one.item)
            if item is None:
                item = items[one.item] = Item(call, tool, keyed, content)
            self._keep(item, replace(one, label=max(one.label, best)), repeated)
        for item in items.values():
            item.speaks = any(map(speaks, item.fields))
            item.attribute()
            self.speaks |= item.speaks
        self.items += items.values()

    def _keep(self, item: Item, one: Field, repeated: Mapping[str, Label]) -> None:
        text = normal(one.text)
        if not text:
            return
        if self._fields >= MAX_FIELDS or self._chars + len(text) > MAX_CHARS:
            self.full = True
            return
        self._fields += 1
        self._chars += len(text)
        worst = max((label for echo, label in repeated.items() if echo in text), default=one.label)
        entry = Entry(item, one.pointer, text, max(one.label, worst), one.text)
        if speaks(entry):
            entry.label = Label.UNTRUSTED  # no system of record speaks to machines
        item.fields.append(entry)
        if one.author:
            self._sign(entry)
        if entry.name in _TITLES and len(text) <= 200:
            item.titles.append(text)
        if entry.label in {Label.ATTESTED, Label.UNTRUSTED}:
            self.read_untrusted = True
        if one.secret and len(text) >= 4:
            self.secrets.append((text, frozenset(stem(w) for w in words(entry.name))))
            self.read_secret = True
        self._refer(entry)

    def _sign(self, entry: Entry) -> None:
        """A field that says who wrote its item."""
        entry.by = entry.text
        entry.item.author = entry.item.author or entry.original[:120]
        entry.item.authors.append(entry.text)
        if self.writers.meet(entry.text):
            self.version += 1

    def _refer(self, entry: Entry) -> None:
        """Have a field found by what it is, what it holds, and what it looks like."""
        _remember(self._exact.setdefault(entry.text, []), entry)
        for value in typed(entry.original):
            _remember(self._typed.setdefault(value, []), entry)
        if " " in entry.text or len(entry.text) > _ENCODED:
            self._long.add(entry)
        if entry.label is Label.UNTRUSTED:
            self._decode(entry.original)
        elif len(entry.text) <= 120:
            self._skeletons.setdefault(skeleton(entry.text), entry.text)

    def _decode(self, text: str) -> None:
        """What encoded tokens of untrusted text spell is as untrusted as they are."""
        for token in text.split()[:4096]:
            bare = token.strip("\"'`<>()[]{},;:")
            for plain in decodings(bare):
                if len(self._decoded) < MAX_FIELDS:
                    self._decoded.add(plain)

    # -- what is asked ------------------------------------------------------------------------

    def exact(self, text: str) -> list[Entry]:
        """The fields that are this text."""
        return self._exact.get(text, [])

    def sightings(self, key: str, kind: SinkType) -> list[Entry]:
        """The fields that are this value, or hold it between word boundaries."""
        found = [*self.exact(key), *self._typed.get(Value(kind, key), ())]
        return found or (list(self._long.holding(key)) if len(key) > 2 else [])

    def mentions(self, key: str, kind: SinkType) -> Iterator[Entry]:
        """The fields in whose text a value stands, whole or in another spelling of its type."""
        if kind is SinkType.DATE:
            for spelling in (key, key[4:] if key[:4].isdigit() else key):
                yield from self._typed.get(Value(kind, spelling), ())
            return
        yield from self._long.holding(key)

    def attested(self) -> Iterator[str]:
        """The addresses that some system vouches for."""
        for value, entries in self._typed.items():
            if value.type is SinkType.RECIPIENT and any(e.label <= Label.ATTESTED for e in entries):
                yield value.key

    def speaking(self) -> Iterator[Entry]:
        """The fields that speak to machines."""
        if not self.speaks:
            return iter(())
        return (
            entry for item in self.items if item.speaks for entry in item.fields if speaks(entry)
        )

    def encoded(self, key: str) -> bool:
        """Whether this is what an encoded token of untrusted text spells."""
        return key in self._decoded

    def drawn(self, outline: str) -> str | None:
        """What others did not write that has this skeleton; the first such."""
        return self._skeletons.get(outline)

    def values_of(self, item: Item, kind: SinkType) -> set[str]:
        """The different values of a type in what others wrote in an item."""
        return {
            value.key
            for entry in item.fields
            if entry.label > Label.TRUSTED and entry.text not in item.authors
            for value in typed_of(entry)
            if value.type is kind
        }

    def has_field_for(self, entry: Entry, kind: SinkType) -> bool:
        """Whether this is prose in an item that has fields for values of this type: an event with
        its participants, and a text about other people. Not what a document is: its content.
        """
        item = entry.item
        if entry.name == "content":
            return False
        if item.kinds is None:
            item.kinds = frozenset(
                value.type
                for other in item.fields
                if " " not in other.text and other.text not in item.authors
                for value in typed_of(other)
                if value.key == other.text
            )
        return kind in item.kinds and Value(kind, entry.text) not in typed_of(entry)


def _remember(known: list[Entry], entry: Entry) -> None:
    # The least and the most trusted sightings both matter, so neither may push out the other.
    if len(known) < _REFERENCES or all(one.label is not entry.label for one in known):
        known.append(entry)


class _Joined:
    """The longer fields, searched all at once: joined by a character that ``normal`` drops."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._starts: list[int] = []
        self._text = ""
        self._added: list[Entry] = []

    def add(self, entry: Entry) -> None:
        self._added.append(entry)

    def holding(self, key: str) -> Iterator[Entry]:
        """The fields in which this stands between word boundaries.

        After ``_HITS`` places the rest is not looked at; the first ones found speak for it.
        """
        self._join()
        at, last = self._text.find(key), None
        for _ in range(_HITS):
            if at < 0:
                return
            number = bisect_right(self._starts, at) - 1
            entry = self._entries[number]
            if entry is not last and within(key, entry.text, doubt=entry.label > Label.TRUSTED):
                yield entry
            last = entry
            at = self._text.find(key, self._starts[number] + len(entry.text))

    def _join(self) -> None:
        if not self._added:
            return
        parts = [self._text]
        at = len(self._text)
        for entry in self._added:
            self._starts.append(at + 1)
            parts.append(f"\x00{entry.text}")
            at += 1 + len(entry.text)
        self._entries += self._added
        self._text = "".join(parts)
        self._added = []
