"""What was read, cut as it is kept: items (a mail, a page, a row) of fields, and who wrote them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final

from actfor.authorization.intent import SinkType, Value, typed
from actfor.authorization.intent.text import words
from actfor.authorization.intent.values import bears_name, person_matches
from actfor.gateway.provenance.labels import Label, Origin
from actfor.gateway.provenance.machine import speaks_to_machine

_SENTENCE: Final = 20  # characters
_LONGEST_NAME: Final = 80  # characters


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

    @property
    def is_record(self) -> bool:
        """Whether its system itself knows it, and nobody is said to have written it."""
        return not self.authors and any(one.label is Label.TRUSTED for one in self.fields)

    def holds(self, names: list[str]) -> bool:
        """Whether a field is one of these names."""
        return any(entry.text in names for entry in self.fields)

    def is_of(self, people: Iterable[frozenset[str]]) -> bool:
        """Whether this is the record of one of these: a short field holds the whole name."""
        return any(
            name <= frozenset(words(entry.text))
            for entry in self.fields
            if len(entry.text) <= _LONGEST_NAME
            for name in people
        )

    def is_exactly(self, people: Iterable[frozenset[str]]) -> bool:
        """Whether a field is the name of one of these, and no more."""
        known = frozenset(people)
        return any(
            frozenset(words(entry.text)) in known
            for entry in self.fields
            if len(entry.text) <= _LONGEST_NAME
        )

    def attribute(self) -> None:
        """Say who wrote each part of an item that has parts with authors of their own.

        A part begins where a field comes again: the elements of a list have the same pointers. What
        is in an inner part (a comment of an event) is not the outer one's author's.
        """
        if len(self.authors) < 2:
            return
        parents = {one.pointer.rpartition("/")[0] for one in self.fields if one.by}
        rest = list(self.fields)
        for parent in sorted(parents, key=lambda one: (-len(one), one)):
            inner = [one for one in rest if one.pointer.startswith(f"{parent}/")]
            rest = [one for one in rest if not one.pointer.startswith(f"{parent}/")]
            part: list[Entry] = []
            for one in (*inner, None):
                if one is None or any(one.pointer == other.pointer for other in part):
                    by = next((other.by for other in part if other.by), "")
                    for other in part:
                        other.by = by
                    part = []
                if one is not None:
                    part.append(one)


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

    @property
    def name(self) -> str:
        """What the field is called."""
        return self.pointer.rpartition("/")[2]


class Writers:
    """The addresses of all who wrote something that was read."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._bearers: dict[tuple[frozenset[str], bool], set[str]] = {}
        """Memo: the domains of the writers who bear a name."""

    def meet(self, author: str) -> bool:
        """Whether this is one whom nobody has seen yet: who is meant by a name may then change."""
        if "@" not in author or author in self._known:
            return False
        self._known.add(author)
        self._bearers.clear()
        return True

    def has_rival(self, name: frozenset[str], author: str) -> bool:
        """Whether somebody of another domain bears the same name: then nobody knows who is meant,
        and a stranger may choose the name before the `@`.
        """
        if author in name:
            return False  # the words have the very address
        # Beside `j.eklund`, who is Jonas Eklund, `jonas.ekholm` is somebody else.
        whole = len(name) > 1 and bears_name(name, author)
        if (name, whole) not in self._bearers:
            bears = partial(bears_name, name) if whole else writes(name)
            domains = {w.rpartition("@")[2] for w in self._known if bears(w)}
            self._bearers[name, whole] = domains
        return bool(self._bearers[name, whole] - {author.rpartition("@")[2]})


def writes(name: frozenset[str]) -> Callable[[str], bool]:
    """Whether an author is the one of that name."""
    return lambda author: author in name or person_matches(name, author)


def speaks(entry: Entry) -> bool:
    """Whether a field speaks to machines."""
    return len(entry.text) >= _SENTENCE and speaks_to_machine(entry.text)


def typed_of(entry: Entry) -> tuple[Value, ...]:
    """The typed values in a field."""
    return _typed(entry.text)


@lru_cache(maxsize=4_096)
def _typed(text: str) -> tuple[Value, ...]:
    return tuple(typed(text))
