"""What the person's words say of a value or of what was read: what arguments are traced in.

The words may hold a value themselves, name an item (by its key, its author or its title), name
another one than this, or say nothing. What was read, and its bounds, are ``Kept``'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from actfor.authorization.intent import SinkType, Value, Wish, skeleton, typed
from actfor.authorization.intent.lexicon import STOP
from actfor.authorization.intent.names import names_in
from actfor.authorization.intent.text import stem, within, words
from actfor.authorization.intent.values import host_of, person_matches, series_of
from actfor.gateway.provenance.described import described, is_by_another
from actfor.gateway.provenance.items import Entry, Item, writes
from actfor.gateway.provenance.kept import Kept
from actfor.gateway.provenance.labels import Label
from actfor.gateway.provenance.lines import told_values

_NEAR: Final = frozenset({SinkType.NAME, SinkType.RECIPIENT, SinkType.ACCOUNT})
"""Types in which `partners-team` passes for `partners`; what is below a path or a page is its."""
_LOOSE: Final = frozenset({SinkType.AMOUNT, SinkType.DATE, SinkType.URL})
_BEGINS: Final = 80  # characters
_OWNED: Final = re.compile("['\u2019]s\\b")
_OPEN: Final = frozenset(
    "what whatever everything anything all list needed missing usual ingredients".split()
)
"""Words that leave it to others what is ordered."""
SHARED_HOSTS: Final = frozenset(
    "github.io gitlab.io pages.dev workers.dev netlify.app vercel.app web.app firebaseapp.com"
    " herokuapp.com onrender.com fly.dev blogspot.com wordpress.com tumblr.com medium.com"
    " substack.com bandcamp.com itch.io neocities.org amazonaws.com s3.amazonaws.com"
    " cloudfront.net azurewebsites.net blob.core.windows.net googleapis.com"
    " storage.googleapis.com appspot.com hf.space readthedocs.io sourceforge.net atlassian.net"
    " sharepoint.com myshopify.com zendesk.com slack.com ngrok.io ngrok.app".split()
)
"""Hosts below which anybody may have one of their own: none of those speaks for the host."""


_SURELY: Final = 2
"""Words that a line shares with the person's where it is surely what they speak of."""


_MOST_TOLD: Final = 256


class Index(Kept):
    """What was said and read under one mandate. Not shared between threads."""

    def __init__(self, wish: Wish) -> None:
        super().__init__()
        self.wish = wish
        self._described: tuple[tuple[int, int], frozenset[int]] = (-1, 0), frozenset()
        """Memo: the letters that the words describe, for what was heard and read so far."""
        self._lines: dict[tuple[object, ...], frozenset[str]] = {}
        """Memo: the values of the line of a list that the words speak of."""
        self._borne: tuple[tuple[object, ...], tuple[dict[int, Item], dict[int, Item]]]
        self._borne = (), ({}, {})
        """Memo: the records of the people whom a sentence names."""

    def hear(self, wish: Wish) -> None:
        """The person's words as they are now."""
        self.wish = wish
        self.version += 1

    # -- a value, by the words alone ----------------------------------------------------------

    def said(self, key: str, kind: SinkType) -> bool:
        """Whether the person's own words hold this value."""
        return within(key, self.wish.text) or Value(kind, key) in self.wish.values

    def extends_a_word(self, key: str) -> bool:
        """Whether a name is one of the words' with something added: `bedroom-team`."""
        head = key.rpartition("-")[0] or key.rpartition("_")[0]
        return len(head) > 3 and within(head, self.wish.text)

    def is_other_of_series(self, key: str) -> bool:
        """Whether the words name identifiers of this kind, and this is none of them."""
        series = series_of(key)
        return bool(series) and any(
            value.type is SinkType.NAME and series_of(value.key) == series
            for value in self.wish.values
        )

    def is_of_named_site(self, key: str) -> bool:
        """Whether an address is on a host that the words name, or on one below it."""
        host = host_of(key)
        said = {host_of(v.key) for v in self.wish.values if v.type is SinkType.URL} - {""}
        return host in said or any(host.endswith(f".{own}") for own in said - SHARED_HOSTS)

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
        known = self.drawn(drawn)
        return known if known is not None and known != key else None

    def _said_names(self) -> Iterator[str]:
        """The values and quoted names in the words."""
        for value in self.wish.values:
            if value.type not in _LOOSE:
                yield value.key
        yield from self.wish.quotes

    # -- an item that the words name ----------------------------------------------------------

    def is_named(self, item: Item) -> bool:
        """Whether the person's words name this item: by its key, its author, or its title."""
        if item.named is not None and item.named[0] == self.version:
            return item.named[1]
        named = item.keyed or self.is_by_named(item) or self._names_title(item)
        item.named = (self.version, named)
        return named

    def is_described(self, item: Item) -> bool:
        """Whether the words tell of this letter by what it is about: see ``described``."""
        now = self.version, len(self.items)
        if self._described[0] != now:
            self._described = now, described(self.items, self.wish)
        if id(item) not in self._described[1] or item.speaks:
            return False
        return not is_by_another(self.wish, item.authors)

    def is_followed(self, item: Item) -> bool:
        """Whether the words say to do what this one says: they name it, or describe the letter."""
        return self.is_named(item) or (self.wish.hands_over and self.is_described(item))

    def is_writers_site(self, entry: Entry, key: str, *, reading: bool) -> bool:
        """Whether a link in a letter that the words name or describe leads to its writer's own
        domain, so that nobody else answers there. A link that is only awaited from a site is the
        one that it sent, and is opened: no form is filled in there.
        """
        known = self.is_named(entry.item) or self.is_described(entry.item)
        if reading and not (known or entry.item.speaks):  # `register at … , they will send a link`
            known = "link" in self.wish.stems and self.is_of_named_site(key)
        return known and self.is_own_link(entry, key)

    def is_own_link(self, entry: Entry, key: str) -> bool:
        """Whether a link in a letter leads to its writer's own domain, whoever that is."""
        host = host_of(key).removeprefix("www.")
        domains = {author.rpartition("@")[2] for author in entry.item.authors if "@" in author}
        return bool(host) and host not in SHARED_HOSTS and host in domains

    def is_by_named(self, item: Item) -> bool:
        """Whether the words name who wrote this."""
        return any(
            writes(name)(author) and not self.writers.has_rival(name, author)
            for author in item.authors
            for name in self.wish.sources
        )

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

    def is_fuller_name(self, key: str) -> bool:
        """Whether this is a name out of the words with more of it: `marcus bell` of `Marcus`."""
        own = frozenset(words(key))
        return any(name < own for name in self.wish.names)

    def choices(self, item: Item, kind: SinkType) -> set[str]:
        """The different values of a type in what others wrote in an item; of addresses only those
        of the one line that the words speak of, where there is one: `Maritime museum: …`.
        """
        parts = [item]
        if kind is SinkType.RECIPIENT:
            parts = self._list_of(item) or parts
        found = set[str]().union(*(self.values_of(part, kind) for part in parts))
        if len(found) > 1 and kind is SinkType.RECIPIENT:
            return set(self._told(parts, kind)) or found
        return found

    def _told(self, parts: list[Item], kind: SinkType, least: int = 1) -> frozenset[str]:
        """The values of the one line of these that the words speak of; worked out once for all that
        is sent in one call.
        """
        now = (self.version, len(self.items), *map(id, parts[:1]), len(parts), kind, least)
        if now not in self._lines:
            if len(self._lines) >= _MOST_TOLD:
                self._lines.clear()
            fields = [entry for part in parts for entry in part.fields]
            self._lines[now] = told_values(fields, kind, self.wish.stems, least)
        return self._lines[now]

    def _list_of(self, item: Item) -> list[Item]:
        """The entries of the document that this one is cut out of, or it alone; none of others'."""
        if not (item.keyed and item.content) or item.authors:
            return []
        return [one for one in self.items if one.call == item.call and not one.authors]

    def is_meant_line(self, item: Item, key: str, kind: SinkType) -> bool:
        """Whether this stands in the one line of a list of addresses that the words speak of."""
        parts = self._list_of(item) if kind is SinkType.RECIPIENT else []
        return self._told(parts, kind) == {key}

    def is_of_other_line(self, item: Item, key: str, kind: SinkType) -> bool:
        """Whether the words surely speak of one line of a list of addresses, and this is not in it,
        however many things are spoken of: `send her the pictures`.
        """
        led = self.wish.hands_over or kind is not SinkType.RECIPIENT
        parts = [] if led else self._list_of(item)
        meant = self._told(parts, kind, least=_SURELY)
        return bool(meant) and key not in meant

    def is_by_another(self, entry: Entry) -> bool:
        """Whether the words name one author of an item, and this part of it is another's."""
        if not entry.by:
            return False
        named = [name for name in self.wish.sources if any(map(writes(name), entry.item.authors))]
        return bool(named) and not any(writes(name)(entry.by) for name in named)

    def is_about(self, item: Item) -> bool:
        """Whether an item's title has a value of the words: a path, a repository, an account.

        Weaker than being named: enough to open a link, not to send or pay anything.
        """
        return any(value in self.wish.values for title in item.titles for value in typed(title))

    def is_called(self, item: Item) -> bool:
        """Whether the words call a record by its title, or by the whole name of a person in it."""
        for title in item.titles:
            own = " ".join(words(title))
            if len(own) > 3 and within(own, self.wish.plain):
                return True
        return item.is_of(self.wish.names)

    def begins_with_somebody(self, item: Item) -> bool:
        """Whether what an item begins with has a name out of the words: a person's own file."""
        return any(
            name <= frozenset(words(_OWNED.sub("", entry.original[:_BEGINS])))
            for entry in item.fields
            for name in self.wish.names
        )

    def only_address(self, item: Item) -> str:
        """The one address in an item, or the one of them that bears a name out of the words."""
        found = self.values_of(item, SinkType.RECIPIENT)
        called = {
            one for one in found if any(person_matches(name, one) for name in self.wish.names)
        }
        meant = called or found
        return next(iter(meant)) if len(meant) == 1 else ""

    def titled(self, key: str) -> frozenset[str]:
        """The stems of the titles of the records whose identifier this is."""
        found = (e for e in self.sightings(key, SinkType.NAME) if e.label is Label.TRUSTED)
        titles = " ".join(title for e in found if e.text == key for title in e.item.titles)
        return frozenset(map(stem, words(titles)))

    def is_told_of(self, item: Item) -> bool:
        """Whether the words call a record by its title, or hold an identifier of it."""
        own = [value.key for value in self.wish.values if value.type is SinkType.NAME]
        return self.is_called(item) or item.holds(own)

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

    # -- a record, where the words may mean another one ---------------------------------------

    def knows_named(self, sentence: str) -> bool:
        """Whether a record was read that the sentence which asks names."""
        names = self._quoted(sentence)
        return bool(names) and any(item.holds(names) for item in self.items)

    def is_other_record(self, item: Item, sentence: str) -> bool:
        """Whether the sentence that asks names a record of this kind, and it is another one."""
        names = self._quoted(sentence)
        names += [v.key for v in self.wish.values if v.type in _NEAR and v.key in sentence]
        return bool(names) and self._is_another(item, lambda one: one.holds(names))

    def is_not_ordered(self, item: Item) -> bool:
        """Whether the words say nothing of what this is called, and other records of its kind are
        called as they say: of a lamp, and this is a warranty. Not where they leave open what.
        """
        if not item.titles or self.wish.hands_over or not _OPEN.isdisjoint(words(self.wish.plain)):
            return False
        return not self._title_words(item) and any(
            other.tool == item.tool and self._is_spoken_of(other) for other in self.items
        )

    def is_ordered(self, item: Item) -> bool:
        """Whether the words name this thing: by its title, or by an identifier of it."""
        return self._is_spoken_of(item) or self.is_told_of(item)

    def _title_words(self, item: Item) -> set[str]:
        """The stems of a record's titles that the words have."""
        own = {stem(word) for title in item.titles for word in words(title)} - STOP
        return own & self.wish.stems

    def _is_spoken_of(self, item: Item) -> bool:
        """Whether the words have two words of a title, or all of one."""
        shared = self._title_words(item)
        return len(shared) > 1 or any(
            shared.issuperset(map(stem, words(title))) for title in item.titles
        )

    def is_anothers(self, item: Item, sentence: str, *, one: bool = True) -> bool:
        """Whether the sentence that asks names a person of whom there is a record, and this record
        is of somebody else.
        """
        named = self._named_in(sentence)
        if not named or not (one or item.is_of(named)):
            return False
        return self._is_not_of(item, named)

    def is_not_theirs(self, item: Item, sentence: str) -> bool:
        """Whether the sentence that asks says whose thing is meant (`Nadia's leave`, `the leave of
        Nadia Roth`), and this record is of nobody whom it names, as others are. `Grandma's recipes`
        may be what a thing is called.
        """
        if self.is_called(item):
            return False
        named = self._named_in(sentence)
        owners = frozenset(_OWNER.findall(sentence))
        owned = {bearer for two in owners for bearer in two if bearer}
        return any(not name.isdisjoint(owned) for name in named) and self._is_not_of(item, named)

    def _named_in(self, sentence: str) -> list[frozenset[str]]:
        """The names of the words that stand in a sentence, `Nadia's` as Nadia."""
        told = frozenset(map(_bearer, words(sentence)))
        return [name for name in self.wish.names if name <= told]

    def _is_not_of(self, item: Item, people: list[frozenset[str]]) -> bool:
        """Whether another record is of one of these, and this is not, or has more in its name than
        that one has: anybody may call themselves `Eve (for Nadia Roth)`.
        """
        bear, exactly = self._bearers(item.tool, people)
        return any(found and id(item) not in found for found in (bear, exactly))

    def is_one_of_namesakes(self, entry: Entry, sentence: str) -> bool:
        """Whether the sentence that asks names a person, and two records of theirs say another
        value in this field: then nobody knows which of the two is meant. Members of a list are
        many by themselves.
        """
        if entry.pointer.endswith("*"):
            return False
        named, item = self._named_in(sentence), entry.item
        bear, exactly = self._bearers(item.tool, named)
        if id(item) not in bear:
            return False
        return any(
            field.pointer == entry.pointer
            and field.text != entry.text
            and field.label is entry.label
            and any(item.is_of([name]) and other.is_of([name]) for name in named)
            for other in (exactly if id(item) in exactly else bear).values()
            for field in other.fields
        )

    def _bearers(
        self, tool: str, people: list[frozenset[str]]
    ) -> tuple[dict[int, Item], dict[int, Item]]:
        """A tool's records of one of these, and those called so and no more; worked out once for
        all that is sent in one call.
        """
        now = (self.version, len(self.items), tool, *people)
        if self._borne[0] != now:
            bear = {id(one): one for one in self.items if one.tool == tool and one.is_of(people)}
            exactly = {at: one for at, one in bear.items() if one.is_exactly(people)}
            self._borne = now, (bear, exactly)
        return self._borne[1]

    def _quoted(self, sentence: str) -> list[str]:
        return [name for name in self.wish.quotes if len(name) > 2 and name in sentence]

    def _is_another(self, item: Item, is_meant: Callable[[Item], bool]) -> bool:
        """Whether some other record of the same tool is what is meant, and this one is not."""
        return not is_meant(item) and any(
            other is not item and other.tool == item.tool and is_meant(other)
            for other in self.items
        )


_OWNER: Final = re.compile(r"(\w+)['\u2019]s\b|\bof (?:dr |mrs? |ms )?(\w+)")
"""Whose something is: `Nadia's`, `of Nadia`."""


def _bearer(word: str) -> str:
    return word.removesuffix("'s").removesuffix("\u2019s")
