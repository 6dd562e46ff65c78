"""Every value that passed, with whose it is: what arguments are traced in.

Owned by one mandate's history. Fields are kept in normal form, by value (exact), by the typed
values inside of them (addresses, accounts, paths), and as text to search in.

Bound: ``MAX_FIELDS`` fields and ``MAX_CHARS`` characters. What comes after is not kept, and from
then on ``full`` is set: a value that is not found may have been in what was dropped, so it counts
as UNTRUSTED instead of UNKNOWN. Trusted fields that were dropped are not found either. The bound
thus only ever tightens.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from actfor.authorization.intent import SinkType, Value, Wish, key_of, normal, skeleton, typed
from actfor.authorization.intent.lexicon import STOP
from actfor.authorization.intent.names import names_in
from actfor.authorization.intent.text import stem, within, words
from actfor.authorization.intent.values import host_of, person_matches, series_of
from actfor.gateway.provenance.described import described
from actfor.gateway.provenance.labels import Label, Origin
from actfor.gateway.provenance.lines import told_values
from actfor.gateway.provenance.results import Field

MAX_FIELDS: Final = 50_000
MAX_CHARS: Final = 4_000_000
_REFERENCES: Final = 32  # fields remembered for one value
_HITS: Final = 32  # places of one value that are looked at
_SENTENCE: Final = 20  # characters
_ENCODED: Final = 24  # characters; shorter tokens are words

# How texts speak to a machine instead of a person. Seen in what others wrote, only ever a reason to
# be stricter: an attacker who avoids these words is met by the labels, not by this list.
_ADDRESSES: Final = tuple(
    frozenset(phrase.split())
    for phrase in (
        "ignore instructions",
        "ignore previous",
        "disregard instructions",
        "disregard previous",
        "forget instructions",
        "override instructions",
        "important message to you",
        "before you solve task",
        "system prompt",
        "ai assistant you",
        "ai agent you",
        "language model you",
        "user task following first",
        "new instructions you",
    )
)


def _by_longest(phrases: Iterable[frozenset[str]]) -> Mapping[str, tuple[frozenset[str], ...]]:
    """The phrases by their longest words: few searches tell that a long text holds none of them."""
    found: dict[str, list[frozenset[str]]] = {}
    for phrase in phrases:
        found.setdefault(max(sorted(phrase), key=len), []).append(phrase)
    return {word: tuple(held) for word, held in found.items()}


_BY_LONGEST: Final = _by_longest(_ADDRESSES)


@dataclass(eq=False, slots=True)
class Item:
    """One record of one result: a mail, a file, a page, a row. Its fields share author and name."""

    call: int
    tool: str
    keyed: bool
    """Whether the call that fetched it named it by the person's own words."""
    content: bool = True
    """Whether it is a document; a row of a record speaks only by its fields."""
    author: str = ""
    authors: list[str] = field(default_factory=list)
    fields: list[Entry] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    speaks: bool = False
    """Whether its text speaks to a machine."""
    named: tuple[int, bool] | None = None
    """Memo: the version of the words, and whether they name this item."""
    kinds: frozenset[SinkType] | None = None
    """Memo: the types of which it has fields that hold one value each; authors' apart."""


@dataclass(eq=False, slots=True)
class Entry:
    """One field as it is kept."""

    item: Item
    pointer: str
    text: str
    label: Label
    original: str = ""
    """As it was written, for what capitals tell."""
    by: str = ""
    """Who wrote it, where its item has a part for each of several authors: a ticket's comments."""

    @property
    def origin(self) -> Origin:
        """Where a person would look for it."""
        return Origin(self.item.tool, self.pointer, self.item.author)


class Index:
    """What was said and read under one mandate. Not shared between threads."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.version = 0
        self.full = False
        self.items: list[Item] = []
        self.secrets: list[tuple[str, frozenset[str]]] = []
        self.read_untrusted = False
        self.read_secret = False
        self.speaks = False
        self._exact: dict[str, list[Entry]] = {}
        self._typed: dict[Value, list[Entry]] = {}
        self._long: list[Entry] = []
        self._text = ""
        self._starts: list[int] = []
        self._added: list[Entry] = []
        self._skeletons: dict[str, str] = {}
        self._decoded: set[str] = set()
        self._writers: set[str] = set()
        self._bearers: dict[frozenset[str], set[str]] = {}
        """Memo: the domains of the writers who bear a name."""
        self._described: tuple[tuple[int, int], frozenset[int]] = (-1, 0), frozenset()
        """Memo: the letters that the words describe, for what was heard and read so far."""
        self._fields = 0
        self._chars = 0

    @property
    def size(self) -> int:
        """How many characters are kept."""
        return self._chars

    # -- what comes in ------------------------------------------------------------------------

    def hear(self, wish: Wish) -> None:
        """The person's words as they are now."""
        self.wish = wish
        self.version += 1

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
        items: dict[int, Item] = {}
        if not complete:
            self.full = True
        for one in fields:
            item = items.get(one.item)
            if item is None:
                item = items[one.item] = Item(call, tool, keyed, content)
            self._keep(item, _bidden(one) if bidden else one, repeated)
        for item in items.values():
            item.speaks = any(map(speaks, item.fields))
            _attribute(item)
            self.speaks |= item.speaks
        self.items += items.values()

    def _keep(self, item: Item, one: Field, repeated: Mapping[str, Label]) -> None:
        text = normal(one.text)
        worst = max((label for echo, label in repeated.items() if echo in text), default=one.label)
        one = replace(one, label=max(one.label, worst))
        if not text:
            return
        if self._fields >= MAX_FIELDS or self._chars + len(text) > MAX_CHARS:
            self.full = True
            return
        self._fields += 1
        self._chars += len(text)
        if len(text) >= _SENTENCE and speaks_to_machine(text):
            one = replace(one, label=Label.UNTRUSTED)  # no system of record speaks to machines
        entry = Entry(item, one.pointer, text, one.label, one.text)
        item.fields.append(entry)
        if one.author:
            item.author = item.author or one.text[:120]
            item.authors.append(text)
            if "@" in text and text not in self._writers:
                self._writers.add(text)
                self._bearers.clear()
                self.version += 1  # who is meant by a name may be another question now
            entry.by = text
        if one.label in {Label.ATTESTED, Label.UNTRUSTED}:
            self.read_untrusted = True
        name = one.pointer.rpartition("/")[2]
        if one.secret and len(text) >= 4:
            self.secrets.append((text, frozenset(stem(w) for w in words(name))))
            self.read_secret = True
        if name in _TITLES and len(text) <= 200:
            item.titles.append(text)
        self._refer(self._exact, text, entry)
        for value in typed(one.text):
            self._refer(self._typed, value, entry)
        if " " in text or len(text) > _ENCODED:
            self._added.append(entry)
        if one.label is Label.UNTRUSTED:
            self._decode(one.text)
        elif len(text) <= 120:
            self._skeletons.setdefault(skeleton(text), text)

    def _refer(self, table: dict, key: object, entry: Entry) -> None:  # type: ignore[type-arg] # either table
        entries = table.setdefault(key, [])
        # The least and the most trusted sightings both matter, so neither may push out the other.
        if len(entries) < _REFERENCES or all(known.label is not entry.label for known in entries):
            entries.append(entry)

    def _decode(self, text: str) -> None:
        """What encoded tokens of untrusted text spell is as untrusted as they are."""
        for token in text.split()[:4096]:
            bare = token.strip("\"'`<>()[]{},;:")
            for plain in decodings(bare):
                if len(self._decoded) < MAX_FIELDS:
                    self._decoded.add(plain)

    # -- what is asked ------------------------------------------------------------------------

    def said(self, key: str, kind: SinkType) -> bool:
        """Whether the person's own words hold this value."""
        return within(key, self.wish.text) or Value(kind, key) in self.wish.values

    def sightings(self, key: str, kind: SinkType) -> list[Entry]:
        """The fields that are this value, or hold it between word boundaries."""
        found = list(self._exact.get(key, ()))
        found += self._typed.get(Value(kind, key), ())
        return found or (list(self._containing(key)) if len(key) > 2 else [])

    def _containing(self, key: str) -> Iterator[Entry]:
        """The longer fields in which this stands between word boundaries.

        One search over all of them: they are kept joined, by a character that ``normal`` drops.
        After ``_HITS`` places the rest is not looked at; the first ones found speak for it.
        """
        self._join()
        at, last = self._text.find(key), None
        for _ in range(_HITS):
            if at < 0:
                return
            number = bisect_right(self._starts, at) - 1
            entry = self._long[number]
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
        self._long += self._added
        self._text = "".join(parts)
        self._added = []

    def people(self) -> tuple[frozenset[str], ...]:
        """The names in the words, and in the sources that the words hand over to."""
        if not self.wish.hands_over:
            return self.wish.names
        found = [
            name
            for item in self.items
            if not item.speaks and self.is_named(item)
            for entry in item.fields
            if entry.label > Label.TRUSTED
            for name in names_in(entry.original)
        ]
        return tuple(dict.fromkeys((*self.wish.names, *found)))

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

    def mentions(self, key: str, kind: SinkType) -> Iterator[Entry]:
        """The fields in whose text a value stands, whole or in another spelling of its type."""
        if kind is SinkType.DATE:
            for spelling in (key, key[4:] if key[:4].isdigit() else key):
                yield from self._typed.get(Value(kind, spelling), ())
            return
        yield from self._containing(key)

    def encoded(self, key: str) -> bool:
        """Whether this is what an encoded token of untrusted text spells."""
        return key in self._decoded

    def looks_like(self, key: str, kind: SinkType) -> str | None:
        """A value of the words or of a record that is drawn like this one and is not this one."""
        drawn = skeleton(key)
        for name in self._said_names():
            near = (
                kind in _NEAR
                and len(name) > 3
                and "/" not in key.removeprefix(name)
                and (key.startswith(name) or key.endswith(name))
            ) or (kind is SinkType.PATH and "." in name and key.startswith(f"{name}."))
            if name != key and (near or skeleton(name) == drawn):
                return name
        if len(drawn) > 3 and within(drawn, self.wish.drawn) and not within(key, self.wish.text):
            return drawn
        known = self._skeletons.get(drawn)
        return known if known is not None and known != key else None

    def knows_named(self, sentence: str) -> bool:
        """Whether a record was read that the sentence which asks names."""
        names = [name for name in self.wish.quotes if len(name) > 2 and name in sentence]
        return bool(names) and any(_holds(item, names) for item in self.items)

    def _said_names(self) -> Iterator[str]:
        """The values and quoted names in the words."""
        for value in self.wish.values:
            if value.type not in _LOOSE:
                yield value.key
        yield from self.wish.quotes

    def is_named(self, item: Item) -> bool:
        """Whether the person's words name this item: by its key, its author, or its title."""
        if item.named is not None and item.named[0] == self.version:
            return item.named[1]
        named = item.keyed or self._names_author(item) or self._names_title(item)
        item.named = (self.version, named)
        return named

    def is_described(self, item: Item) -> bool:
        """Whether the words tell of this letter by what it is about: see ``described``."""
        now = self.version, len(self.items)
        if self._described[0] != now:
            self._described = now, described(self.items, self.wish)
        return id(item) in self._described[1] and not item.speaks

    def is_followed(self, item: Item) -> bool:
        """Whether the words say to do what this one says: they name it, or describe the letter."""
        return self.is_named(item) or (self.wish.hands_over and self.is_described(item))

    def _names_author(self, item: Item) -> bool:
        return any(
            _writes(name)(author) and not self.has_rival(name, author)
            for author in item.authors
            for name in self.wish.sources
        )

    def has_rival(self, name: frozenset[str], author: str) -> bool:
        """Whether somebody of another domain bears the same name: then nobody knows who is meant,
        and a stranger may choose the name before the `@`.
        """
        if author in name:
            return False  # the words have the very address
        if name not in self._bearers:
            bears = _writes(name)
            self._bearers[name] = {w.rpartition("@")[2] for w in self._writers if bears(w)}
        return bool(self._bearers[name] - {author.rpartition("@")[2]})

    def is_fuller_name(self, key: str) -> bool:
        """Whether this is a name out of the words with more of it: `marcus bell` of `Marcus`."""
        own = frozenset(words(key))
        return any(name < own for name in self.wish.names)

    def is_by_another(self, entry: Entry) -> bool:
        """Whether the words name one author of an item, and this part of it is another's."""
        if not entry.by:
            return False
        named = [name for name in self.wish.sources if any(map(_writes(name), entry.item.authors))]
        return bool(named) and not any(_writes(name)(entry.by) for name in named)

    def has_field_for(self, entry: Entry, kind: SinkType) -> bool:
        """Whether this is prose in an item that has fields for values of this type: an event with
        its participants, and a text about other people. Not what a document is: its content.
        """
        item = entry.item
        if entry.pointer.rpartition("/")[2] == "content":
            return False
        if item.kinds is None:
            item.kinds = frozenset(
                value.type
                for other in item.fields
                if " " not in other.text and other.text not in item.authors
                for value in _typed_of(other.text)
                if value.key == other.text
            )
        return kind in item.kinds and Value(kind, entry.text) not in _typed_of(entry.text)

    def _names_title(self, item: Item) -> bool:
        """By its title as written, or by the title's words in a row: `the team meeting minutes`;
        as a source, and not as what something is done to.
        """
        for title in item.titles:
            telling = " " in title or "." in title or title in self.wish.quotes
            if telling and len(title) > 3 and within(title, self.wish.text):
                return self.wish.points_to(" ".join(words(title)))
            plain = words(title.rpartition(".")[0] or title)
            if len(plain) > 1 and within(" ".join(plain), self.wish.plain):
                return self.wish.points_to(" ".join(plain))
        return False

    def is_other_of_series(self, key: str) -> bool:
        """Whether the words name identifiers of this kind, and this is none of them."""
        series = series_of(key)
        return bool(series) and any(
            value.type is SinkType.NAME and series_of(value.key) == series
            for value in self.wish.values
        )

    def extends_a_word(self, key: str) -> bool:
        """Whether a name is one of the words' with something added: `bedroom-team`."""
        head = key.rpartition("-")[0] or key.rpartition("_")[0]
        return len(head) > 3 and within(head, self.wish.text)

    def is_other_record(self, item: Item, sentence: str) -> bool:
        """Whether the sentence that asks names a record of this kind, and it is another one."""
        names = [name for name in self.wish.quotes if len(name) > 2 and name in sentence]
        names += [v.key for v in self.wish.values if v.type in _NEAR and v.key in sentence]
        return bool(names) and self._is_another(item, lambda one: _holds(one, names))

    def is_called(self, item: Item) -> bool:
        """Whether the words call a record by its title, or by the whole name of a person in it."""
        if any(_tells(title, self.wish.plain) for title in item.titles):
            return True
        return bool(self.wish.names) and _is_of(item, list(self.wish.names))

    def is_anothers(self, item: Item, sentence: str) -> bool:
        """Whether the sentence that asks names a person of whom there is a record, and this record
        is of somebody else.
        """
        told = frozenset(words(sentence))
        named = [name for name in self.wish.names if name <= told]
        return bool(named) and self._is_another(item, lambda one: _is_of(one, named))

    def _is_another(self, item: Item, is_meant: Callable[[Item], bool]) -> bool:
        """Whether some other record of the same tool is what is meant, and this one is not."""
        return not is_meant(item) and any(
            other is not item and other.tool == item.tool and is_meant(other)
            for other in self.items
        )

    def is_of_named_site(self, key: str) -> bool:
        """Whether an address is on a host that the words name, or on one below it."""
        host = host_of(key)
        said = {host_of(v.key) for v in self.wish.values if v.type is SinkType.URL} - {""}
        return host in said or any(host.endswith(f".{own}") for own in said - _SHARED)

    def only_objects(
        self, done_to: Iterable[tuple[frozenset[str], frozenset[str]]], *, letters: bool = False
    ) -> frozenset[str] | None:
        """The identifiers of the one record that bears a title out of what a verb is done to (the
        concepts of each clause, and of the very object in it); empty where several records do or
        another record has the identifier, None where no record does.

        ``letters``: whether what somebody wrote is a thing that the verb may be done to.
        """
        pairs = list(done_to)
        meant = [
            item
            for item in self.items
            if (letters or not item.authors)
            and any(
                own and own <= clause and own & direct
                for own in map(_matters, item.titles)
                for clause, direct in pairs
            )
        ]
        if not meant:
            return None
        keys = set.intersection(*map(_trusted, meant))
        others = {id(item) for item in meant}
        return frozenset(
            key
            for key in keys
            if all(
                id(entry.item) in others
                for entry in self._exact.get(key, ())
                if entry.label is Label.TRUSTED and entry.item.titles
            )
        )

    def is_about(self, item: Item) -> bool:
        """Whether an item's title has a value of the words: a path, a repository, an account.

        Weaker than being named: enough to open a link, not to send or pay anything.
        """
        return any(value in self.wish.values for title in item.titles for value in typed(title))

    def values_of(self, item: Item, kind: SinkType) -> set[str]:
        """The different values of a type in what others wrote in an item; of addresses only those
        of the one line that the words speak of, where there is one: `Maritime museum: …`.
        """
        others = [
            entry
            for entry in item.fields
            if entry.label > Label.TRUSTED and entry.text not in item.authors
        ]
        found = {v.key for entry in others for v in _typed_of(entry.text) if v.type is kind}
        if len(found) > 1 and kind is SinkType.RECIPIENT:
            return told_values(others, kind, self.wish.stems) or found
        return found


def _writes(name: frozenset[str]) -> Callable[[str], bool]:
    """Whether an author is the one of that name."""
    return lambda author: author in name or person_matches(name, author)


def _attribute(item: Item) -> None:
    """Say who wrote each part of an item that has parts with authors of their own.

    A part begins where a field comes again: the elements of a list have the same pointers.
    """
    if len(item.authors) < 2:
        return
    for parent in {one.pointer.rpartition("/")[0] for one in item.fields if one.by}:
        part: list[Entry] = []
        for one in (*(f for f in item.fields if f.pointer.startswith(f"{parent}/")), None):
            if one is None or any(one.pointer == other.pointer for other in part):
                by = next((other.by for other in part if other.by), "")
                for other in part:
                    other.by = by
                part = []
            if one is not None:
                part.append(one)


def _holds(item: Item, names: list[str]) -> bool:
    return any(entry.text in names for entry in item.fields)


def _is_of(item: Item, names: list[frozenset[str]]) -> bool:
    """Whether a record is that of one of these people: a short field holds the whole name."""
    return any(
        name <= frozenset(words(entry.text))
        for entry in item.fields
        if len(entry.text) <= _LONGEST_NAME
        for name in names
    )


def _trusted(item: Item) -> set[str]:
    return {entry.text for entry in item.fields if entry.label is Label.TRUSTED}


def _matters(title: str) -> frozenset[str]:
    """What a title is about, if it says enough to tell one thing from others."""
    found = frozenset(one for one in map(stem, words(title)) if one not in STOP)
    return found if len(found) > 1 else frozenset()


def _tells(title: str, plain: str) -> bool:
    """Whether a title's words stand in a row in the words."""
    own = " ".join(words(title))
    return len(own) > 3 and within(own, plain)


_SHARED: Final = frozenset(
    "github.io gitlab.io pages.dev workers.dev netlify.app vercel.app web.app firebaseapp.com"
    " herokuapp.com onrender.com fly.dev blogspot.com wordpress.com tumblr.com medium.com"
    " substack.com bandcamp.com itch.io neocities.org amazonaws.com s3.amazonaws.com"
    " cloudfront.net azurewebsites.net blob.core.windows.net googleapis.com"
    " storage.googleapis.com appspot.com hf.space readthedocs.io sourceforge.net atlassian.net"
    " sharepoint.com myshopify.com zendesk.com slack.com ngrok.io ngrok.app".split()
)
"""Hosts below which anybody may have one of their own: none of those speaks for the host."""


_LONGEST_NAME: Final = 80  # characters


def _bidden(one: Field) -> Field:
    return replace(one, label=max(one.label, Label.ATTESTED))


_NEAR: Final = frozenset({SinkType.NAME, SinkType.RECIPIENT, SinkType.ACCOUNT})
"""Types in which `partners-team` passes for `partners`; what is below a path or a page is its."""
_LOOSE: Final = frozenset({SinkType.AMOUNT, SinkType.DATE, SinkType.URL})
_TITLES: Final = frozenset("subject title name filename file_name topic headline".split())


@lru_cache(maxsize=4_096)
def _typed_of(text: str) -> tuple[Value, ...]:
    return tuple(typed(text))


def typed_of(entry: Entry) -> tuple[Value, ...]:
    """The typed values in a field."""
    return _typed_of(entry.text)


def speaks(entry: Entry) -> bool:
    """Whether a field speaks to machines."""
    return len(entry.text) >= _SENTENCE and speaks_to_machine(entry.text)


@lru_cache(maxsize=4_096)
def speaks_to_machine(text: str) -> bool:
    """Whether a text addresses whoever processes it, with instructions of its own."""
    near = [
        phrase
        for longest, phrases in _BY_LONGEST.items()
        if longest in text
        for phrase in phrases
        if all(word in text for word in phrase)
    ]
    if not near:
        return False
    found = frozenset(words(text))
    return any(phrase <= found for phrase in near)


def decodings(token: str) -> Iterator[str]:
    """What a token spells in base64, hexadecimal, percent signs or backwards; folded text only."""
    if "%" in token and (plain := normal(unquote(token))) != normal(token):
        yield plain
    if len(token) < 16 or len(token) > 4096:
        return
    for decode in (_base64, _hexadecimal):
        text = decode(token)
        if text and text.isprintable():
            yield normal(text)


def _base64(token: str) -> str:
    bare = token.rstrip("=").replace("-", "+").replace("_", "/")
    if not bare.isascii() or not bare.replace("+", "").replace("/", "").isalnum():
        return ""
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _hexadecimal(token: str) -> str:
    try:
        return bytes.fromhex(token.removeprefix("0x")).decode()
    except ValueError:
        return ""


__all__ = ["MAX_CHARS", "MAX_FIELDS", "Entry", "Index", "Item", "decodings", "key_of"]
