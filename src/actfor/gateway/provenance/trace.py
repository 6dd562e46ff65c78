"""Where the value of one argument comes from.

Tried in this order, the first that fits decides:

    the person endorsed it for this argument          USER
    it looks like a value they know, and is not it     UNTRUSTED
    a word of it mixes scripts that are drawn alike    UNTRUSTED
    it stands in the person's words                    USER
    a record has it                                    TRUSTED, unless a stranger's text asks for it
    the link of an invitation that is to be accepted   FROM
    a link to the own site of whose letter is meant    FROM
    a record's own address, where its people are told  FROM
    one value of its type in a source the words name   FROM
    the address of the one person the words name       FROM
    the writer of a letter that the words describe     FROM
    it is made of parts (a path, an address's host)    the tightest label of its parts
    others wrote it                                    ATTESTED or UNTRUSTED
    nowhere                                            UNKNOWN, or UNTRUSTED once the index is full
"""

from __future__ import annotations

import re
from typing import Final

from actfor.authorization.intent import (
    TARGET,
    SinkType,
    ToolReading,
    Value,
    key_of,
    normal,
    permissions,
    typed,
)
from actfor.authorization.intent.lexicon import STOP, VERBS
from actfor.authorization.intent.phrasing import MANY
from actfor.authorization.intent.text import mixes_scripts, stem, within, words
from actfor.authorization.intent.values import host_of, is_moment, is_url
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.invited import invitation
from actfor.gateway.provenance.items import Entry, typed_of
from actfor.gateway.provenance.labels import Label, Origin, SlotTrace
from actfor.gateway.provenance.machine import decodings
from actfor.gateway.provenance.named import (
    Hand,
    contact,
    described_writer,
    followed_writer,
    from_named,
    person_named,
)
from actfor.gateway.provenance.prose import trace_text
from actfor.gateway.provenance.slots import FILLED, is_id, slot_of

_NUMBERED: Final = re.compile(r"(?:[^\W\d]+ ){0,2}[0-9]{1,4}[a-z]?")
_LONGEST_PATH: Final = 120  # characters


_PARTS: Final = 32


_STATES: Final = frozenset({SinkType.NAME, SinkType.OTHER})


def trace(index: Index, pointer: str, kind: SinkType, value: str, hand: Hand) -> SlotTrace:
    """The origin of one value."""
    if kind is SinkType.TEXT:
        return trace_text(index, pointer, value, hand)
    key = key_of(value, kind)
    if kind is SinkType.DATE and not is_moment(normal(value)):
        key = normal(value)  # a date with something added is not that date

    def found(label: Label, how: str, entry: Entry | None = None) -> SlotTrace:
        return SlotTrace(
            pointer, value, kind, label, how, Origin() if entry is None else entry.origin
        )

    if (slot_of(pointer), normal(value)) in hand.endorsed:
        return found(Label.USER, "endorsed")
    whole = key.count(" ") < _WORDS_OF_ID or not is_id(pointer)
    if whole and _plausible(key, kind) and _fits(pointer, key) and index.said(key, kind):
        return found(Label.USER, "words")
    if normal(value) in hand.stated and kind in _STATES:
        return found(Label.USER, "words")
    if kind is SinkType.NAME and _is_field(pointer) and _is_own_field(index, pointer, value, hand):
        return found(Label.TRUSTED, "record")  # a field of a record, as its tool calls it
    if kind is SinkType.NAME and _is_said_apart(value, index.wish.plain):
        return found(Label.USER, "words")
    if kind is SinkType.PERMISSION and permissions.is_said(value, index.wish.stems):
        return found(Label.USER, "words")
    seen = index.sightings(key, kind)
    if kind in TARGET and mixes_scripts(value):
        return found(Label.UNTRUSTED, "look-alike", seen[0] if seen else None)
    if kind is SinkType.NAME and index.is_other_of_series(key):
        return found(Label.UNTRUSTED, "other-record", seen[0] if seen else None)
    if kind in TARGET and not any(e.label <= Label.TRUSTED for e in seen):
        alike = index.looks_like(key, kind)
        if alike is not None:
            return found(Label.UNTRUSTED, "look-alike", seen[0] if seen else None)
    if kind is SinkType.PATH and _below(index, key):
        listed = next((entry for entry in seen if entry.text == key), None)
        return found(Label.USER, "composed", listed)  # whoever lists it, too
    if record := next((e for e in seen if e.label is Label.TRUSTED and e.text == key), None):
        other = kind is SinkType.NAME and index.is_other_record(record.item, hand.sentence)
        if kind in FILLED and _is_alone(index, hand):
            one = kind is SinkType.ACCOUNT or not hand.many
            if index.is_anothers(record.item, hand.sentence, one=one):
                return found(Label.UNTRUSTED, "other-record", record)
            if not hand.reading and index.is_one_of_namesakes(record, hand.sentence):
                return found(Label.UNTRUSTED, "ambiguous", record)
        if kind is SinkType.NAME and index.is_not_theirs(record.item, hand.sentence):
            return found(Label.UNTRUSTED, "other-record", record)
        if kind is SinkType.NAME and hand.orders and index.is_not_ordered(record.item):
            return found(Label.UNTRUSTED, "other-record", record)
        called = "named-record" if index.is_called(record.item) else "record"
        return found(Label.TRUSTED, "other-record" if other else called, record)
    if seen and _is_lengthened(index, pointer, key, kind):
        return found(Label.UNTRUSTED, "look-alike", seen[0])
    if kind is SinkType.PATH and not seen and _is_other_file(index, key):
        return found(Label.UNTRUSTED, "look-alike")
    links = seen if kind is SinkType.URL else []
    if links and (invited := invitation(index, key, links)):
        return found(Label.FROM, "invitation", invited)
    own_site = (e for e in links if index.is_writers_site(e, key, reading=hand.reading))
    if letter := next(own_site, None):
        return found(Label.FROM, "named-site", letter)
    if kind is SinkType.RECIPIENT and hand.tells and (row := contact(index, key, seen, hand)):
        return found(Label.FROM, "contact", row)
    if source := from_named(index, key, kind, seen, hand):
        named = "named-source" if index.is_named(source.item) else "followed"
        site = kind is SinkType.URL and index.is_of_named_site(key)
        return found(Label.FROM, "named-site" if site else named, source)
    if kind is SinkType.RECIPIENT and (person := person_named(index, key, seen)):
        return found(Label.FROM, "person-named", person)
    if kind is SinkType.RECIPIENT and (writer := described_writer(index, key, seen, hand)):
        return found(Label.FROM, "described", writer)
    whose = kind is SinkType.NAME and not is_id(pointer)
    if whose and (writer := followed_writer(index, key)):
        return found(Label.FROM, "followed", writer)
    if kind is SinkType.NAME and not seen and (plain := _spelled_otherwise(index, value)):
        return found(plain[0], "part", plain[1])
    composed = _composed(index, key, kind)
    if composed is not None and composed < Label.UNKNOWN:
        return found(composed, "composed", seen[0] if seen else None)
    if kind is SinkType.PATH:
        seen = [entry for entry in seen if entry.text == key or Value(kind, key) in typed_of(entry)]
    if composed is Label.UNTRUSTED and kind is SinkType.URL and not seen:
        return found(Label.UNTRUSTED, "added")
    if seen:
        best = min(seen, key=lambda e: e.label)
        return found(best.label, "exact" if best.text == key else "part", best)
    if index.encoded(key) or any(index.sightings(plain, kind) for plain in decodings(value)):
        return found(Label.UNTRUSTED, "encoded")
    if composed is Label.UNTRUSTED and kind is not SinkType.PATH:
        return found(Label.UNTRUSTED, "added")
    if index.full:
        return found(Label.UNTRUSTED, "forgotten")
    if kind is SinkType.NAME and is_id(pointer) and index.knows_named(hand.sentence):
        return found(Label.UNTRUSTED, "other-record")  # the named one is known, this is not its id
    near = kind is SinkType.NAME and index.extends_a_word(key)
    return found(Label.UNKNOWN, "near" if near else "none")


def _is_alone(index: Index, hand: Hand) -> bool:
    """Whether no group is meant; whoever is paid for the tickets is one, though they are many."""
    group = index.wish.groups or not MANY.isdisjoint(words(hand.sentence))
    return not (hand.many and group)


def _is_lengthened(index: Index, pointer: str, key: str, kind: SinkType) -> bool:
    """Whether a value is an identifier with something more, and was said or read alone, too, or is
    called an `id`: then nobody can say that the longer one is meant.
    """
    tokens = key.split(" ")
    if len(tokens) == 1 or kind not in _LENGTHENED:
        return False
    written = _KEY if kind is SinkType.KEY else _IDENTIFIER
    return any(
        is_id(pointer)
        or any(e.text.count(token) > e.text.count(key) for e in index.sightings(token, kind))
        for token in tokens
        if written.fullmatch(token)
    )


_LENGTHENED: Final = frozenset({SinkType.NAME, SinkType.PATH, SinkType.KEY})

_KEY: Final = re.compile(r"(?=[^\d]*\d)[\w./+=-]{8,}")
"""A key, as devices and services print it."""


def _is_other_file(index: Index, key: str) -> bool:
    """Whether a file is called as one that a followed text speaks of, with an ending more:
    `plan.pdf.bak`, where they say `plan.pdf`.
    """
    own = key.rpartition("/")[2].rpartition(".")[0]
    return "." in own and any(_is_handed(index, one) for one in index.sightings(own, SinkType.PATH))


_IDENTIFIER: Final = re.compile(
    r"[^@\s]+@[^@\s]+\.[a-z]+|https?://\S+|[\w.-]*/[\w.-]*[a-z][\w./-]*|[a-z]{1,5}-?\d{2,}"
)
"""An address, a link, `owner/name`, `/a/path`, `p-4177`: what is written as one word."""


def _fits(pointer: str, key: str) -> bool:
    """Whether a value may be what its argument is called: an `email` has an `@`."""
    return "@" in key or not {"email", "mail"} & {*words(pointer.rstrip("/0123456789*"))[-1:]}


def _plausible(key: str, kind: SinkType) -> bool:
    """Whether words of this shape could be such a value: a sentence is nobody's name."""
    if kind is SinkType.URL:
        return is_url(key)
    if kind is SinkType.CODE and not any(map(str.isdigit, key)):
        return False
    if kind is SinkType.ACCOUNT and key.count(" ") > 2 and not any(map(str.isdigit, key)):
        return False
    most = _WORDS_OF.get(kind)
    return most is None or key.count(" ") < most


def _is_field(pointer: str) -> bool:
    """Whether an argument says which field of a record is meant."""
    return not (_FIELDS | _OPERATIONS).isdisjoint(words(pointer.rpartition("/")[2]))


def _is_own_field(index: Index, pointer: str, value: str, hand: Hand) -> bool:
    """Whether a field is called as the tool calls it, and the words speak of it, leave it to a
    source, or speak of no other: who sets a thing to `ready` names no field.
    """
    if hand.tool is None or normal(value) not in hand.tool.vocabulary:
        return False
    if not _OPERATIONS.isdisjoint(words(pointer.rpartition("/")[2])):
        return index.wish.hands_over or index.wish.asks_operation(value)
    spoken = {stem(word) for word in words(value)} - STOP
    told = bool(spoken & index.wish.stems) or index.wish.hands_over
    return told or index.wish.stems.isdisjoint(_fields_of(hand.tool))


def _fields_of(tool: ToolReading) -> frozenset[str]:
    """The stems of what a tool's description may call a field: not what the tool is about."""
    own = {stem(word) for word in words(tool.name)} | tool.about | STOP
    return frozenset({stem(word) for word in tool.vocabulary if word not in VERBS} - own)


_FIELDS: Final = frozenset("field column attribute property".split())


_OPERATIONS: Final = frozenset("setting option parameter action operation mode".split())


def _is_said_apart(value: str, plain: str) -> bool:
    """Whether the words spell a name with spaces: `extension until` for `extension_until`."""
    own = words(value)
    told = len(own) > 1 and "_" in value and all(part.isalpha() for part in own)
    return told and within(" ".join(own), plain)


_WORDS_OF_ID: Final = 3


_WORDS_OF: Final = {
    SinkType.CODE: 3,
    SinkType.RECIPIENT: 4,
    SinkType.ACCOUNT: 9,
    SinkType.PERMISSION: 4,
    SinkType.NAME: 7,
    SinkType.PATH: 9,
}
"""How many words a value of a type may have, to pass for what the person said."""


def _spelled_otherwise(index: Index, value: str) -> tuple[Label, Entry | None] | None:
    """A date or a number that was said or read in another spelling: `14 October 1961`."""
    for one in typed(value):
        if one.type not in {SinkType.DATE, SinkType.AMOUNT} or len(value) > len(one.key) + 2:
            continue
        if value.startswith("0"):
            continue  # `07` is an identifier, and not the seven of the words
        if one in index.wish.values:
            return Label.USER, None
        if seen := index.sightings(one.key, one.type):
            if told := next((e for e in seen if _is_handed(index, e)), None):
                return Label.FROM, told
            best = min(seen, key=lambda entry: entry.label)
            return best.label, best
    return None


def _is_handed(index: Index, entry: Entry) -> bool:
    """Whether this stands in what a named writer wrote, and the words hand over to it."""
    item = entry.item
    own = index.wish.hands_over and index.is_by_named(item) and not index.is_by_another(entry)
    return own and not item.speaks and bool(item.authors)


def _composed(index: Index, key: str, kind: SinkType) -> Label | None:
    """The label of a value by its parts; None where it has none to speak of."""
    if kind is SinkType.URL:
        return _composed_url(index, key)
    if kind is SinkType.PATH and _below(index, key):
        return Label.USER
    if kind is SinkType.NAME and ", " in key:
        numbered = [part for part in key.split(", ") if _NUMBERED.fullmatch(part)]
        if len(numbered) == key.count(", ") + 1 <= _PARTS:  # `coach 4, seat 64`, and no sentence
            return max(_part(index, part) for part in numbered)
    if kind in {SinkType.PATH, SinkType.NAME} and "/" in key:
        parts = [part for part in key.split("/") if part not in {"", ".", "~"}]
        if ".." in parts or len(parts) > _PARTS:
            return Label.UNTRUSTED
        return max((_part(index, part) for part in parts), default=None)
    return None


def _below(index: Index, key: str) -> bool:
    """Whether a path is below one that the words name, spelled without tricks."""
    if ".." in key.split("/") or "//" in key or _TRICKS.search(key) is not None:
        return False
    return any(
        value.type is SinkType.PATH and key.startswith(f"{value.key}/") and "/" in value.key
        for value in index.wish.values
    )


_TRICKS: Final = re.compile(r"[\\%*?$`|<>]|[\s,;&:'\"][/~]")
"""What may be read as another path, as many, or as a second one."""


def _composed_url(index: Index, key: str) -> Label | None:
    """An address is its host's: whoever owns that gets what the rest of it says."""
    host = host_of(key)
    if not host or not any(
        host_of(v.key) == host for v in index.wish.values if v.type is SinkType.URL
    ):
        return None
    rest = key[len(host) :] if key.startswith(host) else "?"
    if any(mark in rest for mark in "?#@%\\") or len(rest) > _LONGEST_PATH:
        return Label.UNTRUSTED  # what an address says beyond its pages, its host is told
    return Label.USER


def _part(index: Index, part: str) -> Label:
    if within(part, index.wish.text):
        return Label.USER
    seen = index.sightings(part, SinkType.NAME)
    if any(index.is_named(entry.item) and not entry.item.speaks for entry in seen):
        return Label.FROM
    return min((entry.label for entry in seen), default=Label.UNKNOWN)
