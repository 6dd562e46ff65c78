"""Where the value of one argument comes from.

Tried in this order, the first that fits decides:

    the person endorsed it for this argument          USER
    it looks like a value they know, and is not it     UNTRUSTED
    a word of it mixes scripts that are drawn alike    UNTRUSTED
    it stands in the person's words                    USER
    a record has it                                    TRUSTED, unless a stranger's text asks for it
    one value of its type in a source the words name   FROM
    the address of the one person the words name       FROM
    it is made of parts (a path, an address's host)    the tightest label of its parts
    others wrote it                                    ATTESTED or UNTRUSTED
    nowhere                                            UNKNOWN, or UNTRUSTED once the index is full
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from actfor.authorization.intent import (
    HARD,
    TARGET,
    SinkType,
    ToolReading,
    Value,
    key_of,
    normal,
    parameter_type,
    permissions,
    typed,
)
from actfor.authorization.intent.lexicon import STOP, VERBS
from actfor.authorization.intent.telling import goes_elsewhere
from actfor.authorization.intent.text import MAX_TEXT, mixes_scripts, stem, within, words
from actfor.authorization.intent.values import (
    host_of,
    is_moment,
    is_passcode,
    is_url,
    person_matches,
)
from actfor.gateway.provenance.described import is_by_another
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.items import Entry, speaks, typed_of
from actfor.gateway.provenance.labels import Label, Origin, SlotTrace
from actfor.gateway.provenance.machine import decodings
from actfor.gateway.sql import spelled
from actfor.wire.canonical import JsonValue
from actfor.wire.rar import member_pointer

MAX_SLOTS: Final = 256
_LONGEST_PATH: Final = 120  # characters
_PARTS: Final = 32
_SEGMENT: Final = 24  # characters; shorter pieces of prose say nothing about where it is from


_STATES: Final = frozenset({SinkType.NAME, SinkType.OTHER})
_FILLED: Final = frozenset({SinkType.RECIPIENT, SinkType.ACCOUNT, SinkType.URL})
_TOLD: Final = frozenset({SinkType.NAME, SinkType.PATH, SinkType.RECIPIENT, SinkType.URL})
"""What a letter that is only described may say, where the words hand over to it."""


@dataclass(frozen=True, slots=True)
class Hand:
    """What else is known when a call is traced: what was endorsed, and whether many are meant."""

    endorsed: frozenset[tuple[str, str]] = frozenset()
    many: bool = False
    sentence: str = ""
    """The sentence of the words that asks for the call."""
    stated: frozenset[str] = frozenset()
    """Values that say what a verb of the words asks for: `closed`."""
    tool: ToolReading | None = None
    """The reading of the tool that is called."""
    tells: bool = False
    """The words ask to tell somebody something."""
    orders: bool = False
    """The call orders something, or puts it into a basket."""
    reading: bool = False
    """The call only reads, so an address is followed and nothing is sent."""


def slots(
    arguments: JsonValue, sinks: Mapping[str, SinkType]
) -> Iterator[tuple[str, SinkType, str]]:
    """Every scalar of the arguments: its pointer, its type, its text. Of booleans only a switch
    that opens something says anything: it is a permission by its name.
    """
    yield from _slots(arguments, "", "", sinks, SinkType.OTHER)


def _slots(
    value: JsonValue, pointer: str, rule: str, sinks: Mapping[str, SinkType], kind: SinkType
) -> Iterator[tuple[str, SinkType, str]]:
    kind = sinks.get(rule, kind)
    if isinstance(value, dict):
        for name, part in value.items():
            here, below = member_pointer(pointer, name), member_pointer(rule, name)
            if below in sinks:
                yield from _slots(part, here, below, sinks, kind)
                continue
            # No definition has this member: its name may be data, and says what its value is for.
            if (named := _name_as_data(name, kind)) is not None:
                yield here, named, name
            yield from _slots(part, here, below, sinks, _undefined(name, part, kind))
    elif isinstance(value, list | tuple):
        for position, part in enumerate(value):
            below = f"{rule}/*" if f"{rule}/*" in sinks or isinstance(part, dict) else rule
            yield from _slots(part, f"{pointer}/{position}", below, sinks, kind)
    elif isinstance(value, str):
        if value.strip():
            yield pointer, kind, value
    elif value is True:
        name = pointer.rpartition("/")[2]
        if parameter_type(name, "", {}) is SinkType.PERMISSION or _OPENS & {*words(name)}:
            yield pointer, SinkType.PERMISSION, name
    elif value is not None and not isinstance(value, bool):
        yield pointer, kind, str(value)


_OPENS: Final = frozenset("public anyone everyone anonymous admin owner root sudo".split())
"""What a switch is called that lets in more people than before."""


def _name_as_data(name: str, kind: SinkType) -> SinkType | None:
    """The type of a member's name where that is an address: `{"ann@corp.example": "admin"}`."""
    found = next((one.type for one in typed(name) if one.type in _FILLED), None)
    return kind if found is None and kind in _FILLED else found


def _undefined(name: str, part: JsonValue, kind: SinkType) -> SinkType:
    """What a member that no definition names is for; below a target it can only be one."""
    if kind in HARD:
        return kind
    guess = parameter_type(name, "", {"type": _json_type(part)})
    return SinkType.CODE if guess is SinkType.COMMAND and is_passcode(str(part)) else guess


def _json_type(part: JsonValue) -> str:
    if isinstance(part, bool):
        return "boolean"
    if isinstance(part, int | float):
        return "number"
    return "object" if isinstance(part, dict) else "string"


def trace(index: Index, pointer: str, kind: SinkType, value: str, hand: Hand) -> SlotTrace:
    """The origin of one value."""
    if kind is SinkType.TEXT:
        return _trace_text(index, pointer, value, hand)
    key = key_of(value, kind)
    if kind is SinkType.DATE and not is_moment(normal(value)):
        key = normal(value)  # a date with something added is not that date

    def found(label: Label, how: str, entry: Entry | None = None) -> SlotTrace:
        return SlotTrace(
            pointer, value, kind, label, how, Origin() if entry is None else entry.origin
        )

    if (slot_of(pointer), normal(value)) in hand.endorsed:
        return found(Label.USER, "endorsed")
    whole = key.count(" ") < _WORDS_OF_ID or not _is_id(pointer)
    if whole and _plausible(key, kind) and _fits(pointer, key) and index.said(key, kind):
        return found(Label.USER, "words")
    if normal(value) in hand.stated and kind in _STATES:
        return found(Label.USER, "words")
    if kind is SinkType.NAME and _is_field(pointer) and _is_own_field(index, value, hand):
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
    if record := next((e for e in seen if e.label is Label.TRUSTED and e.text == key), None):
        other = kind is SinkType.NAME and index.is_other_record(record.item, hand.sentence)
        if kind in _FILLED and not hand.many and index.is_anothers(record.item, hand.sentence):
            return found(Label.UNTRUSTED, "other-record", record)
        if kind is SinkType.NAME and hand.orders and index.is_not_ordered(record.item):
            return found(Label.UNTRUSTED, "other-record", record)
        called = "named-record" if index.is_called(record.item) else "record"
        return found(Label.TRUSTED, "other-record" if other else called, record)
    letter = next((one for one in seen if index.is_writers_site(one, key)), None)
    if kind is SinkType.URL and letter:
        return found(Label.FROM, "named-site", letter)
    if kind is SinkType.RECIPIENT and hand.tells and (row := _contact(index, key, seen, hand)):
        return found(Label.FROM, "contact", row)
    if source := _from_named(index, key, kind, seen, hand):
        named = "named-source" if index.is_named(source.item) else "followed"
        site = kind is SinkType.URL and index.is_of_named_site(key)
        return found(Label.FROM, "named-site" if site else named, source)
    if kind is SinkType.RECIPIENT and (person := _person_named(index, key, seen)):
        return found(Label.FROM, "person-named", person)
    if kind is SinkType.RECIPIENT and (writer := _described(index, key, seen, hand)):
        return found(Label.FROM, "described", writer)
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
    if kind is SinkType.NAME and _is_id(pointer) and index.knows_named(hand.sentence):
        return found(Label.UNTRUSTED, "other-record")  # the named one is known, this is not its id
    near = kind is SinkType.NAME and index.extends_a_word(key)
    return found(Label.UNKNOWN, "near" if near else "none")


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
    return not _FIELDS.isdisjoint(words(pointer.rpartition("/")[2]))


def _is_own_field(index: Index, value: str, hand: Hand) -> bool:
    """Whether a field is called as the tool calls it, and the words speak of it, leave it to a
    source, or speak of no other: who sets a thing to `ready` names no field.
    """
    if hand.tool is None or normal(value) not in hand.tool.vocabulary:
        return False
    spoken = {stem(word) for word in words(value)} - STOP
    told = bool(spoken & index.wish.stems) or index.wish.hands_over
    return told or index.wish.stems.isdisjoint(_fields_of(hand.tool))


def _fields_of(tool: ToolReading) -> frozenset[str]:
    """The stems of what a tool's description may call a field: not what the tool is about."""
    own = {stem(word) for word in words(tool.name)} | tool.about | STOP
    return frozenset({stem(word) for word in tool.vocabulary if word not in VERBS} - own)


_FIELDS: Final = frozenset(
    "field column attribute property setting option parameter action operation mode".split()
)


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


def slot_of(pointer: str) -> str:
    """The argument a pointer is in, whatever its place in a list."""
    return "/".join("*" if step.isdigit() else step for step in pointer.split("/"))


def _is_id(pointer: str) -> bool:
    named = [step for step in slot_of(pointer).split("/") if step != "*"]
    return bool(named) and words(named[-1])[-1:] in (["id"], ["ids"])


def _from_named(
    index: Index, key: str, kind: SinkType, seen: list[Entry], hand: Hand
) -> Entry | None:
    """One value of one type, out of an item that the words name: `from(source, type, cardinality)`.

    If the source holds several that could be meant, none is: the person chooses.
    """
    filled = kind in _FILLED and index.wish.has(kind)
    if kind is SinkType.URL and index.is_of_named_site(key):
        filled = False  # a link of the very site that the words name
    if (
        filled
        and not index.wish.hands_over
        and (
            kind is SinkType.URL
            or not hand.many
            or any(v.type is kind for v in typed(hand.sentence))
        )
    ):
        return None  # the words say who: nobody else's word counts
    for entry in seen:
        follows = kind is SinkType.URL and hand.reading and index.is_about(entry.item)
        followed = kind in _TOLD and index.is_followed(entry.item)
        followed |= kind not in TARGET - {SinkType.NAME} and index.is_described(entry.item)
        if not (index.is_named(entry.item) or follows or followed):
            continue
        if (kind in HARD and not entry.item.content) or index.is_by_another(entry):
            continue
        if kind in HARD:
            several = index.choices(entry.item, kind)
            apart = kind is SinkType.RECIPIENT and "@" not in key and index.is_fuller_name(key)
            if several - {key} and not apart and not (hand.many and not entry.item.speaks):
                continue
        if entry.item.speaks:
            continue
        if kind is SinkType.RECIPIENT and _is_not_whom(index, entry, key, hand):
            continue
        told = kind is SinkType.RECIPIENT and entry.item.authors and key not in entry.item.authors
        if told and not index.wish.seeks_addresses:
            continue  # who is to be answered is whoever wrote, not whom they write of
        if kind in HARD and not index.wish.hands_over and index.has_field_for(entry, kind):
            continue  # what the source has a field for is not what its prose says
        return entry
    return None


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
            best = min(seen, key=lambda entry: entry.label)
            return best.label, best
    return None


def _contact(index: Index, key: str, seen: list[Entry], hand: Hand) -> Entry | None:
    """The address in a record's own field for it, where the words tell everybody of such records
    something, or name that one.
    """
    return next(
        (
            one
            for one in seen
            if one.text == key and not one.item.content and not one.item.authors
            if not _CONTACTS.isdisjoint(words(one.name))
            if hand.many or index.is_told_of(one.item)
        ),
        None,
    )


_CONTACTS: Final = frozenset("email mail contact phone".split())


def _is_not_whom(index: Index, entry: Entry, key: str, hand: Hand) -> bool:
    """Whether this is the writer of a letter that the words know by its matter alone, which anybody
    may choose, and the words say that something goes to somebody else, or who wrote it.
    """
    if key not in entry.item.authors or entry.item.keyed or index.is_by_named(entry.item):
        return False
    told = " ".join(entry.item.titles) if index.wish.seeks_addresses else ""
    other = is_by_another(index.wish, entry.item.authors)
    return other or goes_elsewhere(hand.sentence, f"{key} {told}")


def _described(index: Index, key: str, seen: list[Entry], hand: Hand) -> Entry | None:
    """The address from which a letter came that the words describe, if no other bears its name."""
    if any(
        person_matches(name, key) and index.writers.has_rival(name, key)
        for name in index.wish.names
    ):
        return None
    return next(
        (
            one
            for one in seen
            if key in one.item.authors and index.is_described(one.item)
            if not _is_not_whom(index, one, key, hand)
        ),
        None,
    )


def _person_named(index: Index, key: str, seen: list[Entry]) -> Entry | None:
    """The address of a person in the words, as systems attest it, if only one such is known."""
    for name in index.people():
        if not person_matches(name, key):
            continue
        rivals = {
            other for other in index.attested() if other != key and person_matches(name, other)
        }
        if rivals:
            return None
        attested = next((entry for entry in seen if entry.label <= Label.ATTESTED), None)
        if attested is not None:
            return attested
    return None


def _composed(index: Index, key: str, kind: SinkType) -> Label | None:
    """The label of a value by its parts; None where it has none to speak of."""
    if kind is SinkType.URL:
        return _composed_url(index, key)
    if kind is SinkType.PATH and _below(index, key):
        return Label.USER
    if kind in {SinkType.PATH, SinkType.NAME} and "/" in key:
        parts = [part for part in key.split("/") if part not in {"", ".", "~"}]
        if ".." in parts or len(parts) > _PARTS:
            return Label.UNTRUSTED
        return max((_part(index, part) for part in parts), default=None)
    return None


def _below(index: Index, key: str) -> bool:
    """Whether a path is below one that the words name, spelled without tricks."""
    if ".." in key.split("/") or "//" in key or "\\" in key or "%" in key:
        return False
    return any(
        value.type is SinkType.PATH and key.startswith(f"{value.key}/") and "/" in value.key
        for value in index.wish.values
    )


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


def _trace_text(index: Index, pointer: str, value: str, hand: Hand) -> SlotTrace:
    """Prose is traced by its segments: the tightest label of those that are someone else's."""
    text = normal(value)
    if (slot_of(pointer), text) in hand.endorsed:
        return SlotTrace(pointer, value, SinkType.TEXT, Label.USER, "endorsed")
    if within(text, index.wish.text):
        return SlotTrace(pointer, value, SinkType.TEXT, Label.USER, "words")
    worst: Entry | None = None
    for segment in _segments(text):
        for entry in index.mentions(segment, SinkType.TEXT):
            if worst is None or (entry.label, speaks(entry)) > (worst.label, speaks(worst)):
                worst = entry
    if worst is not None:
        how = "machine" if worst.item.speaks and speaks(worst) else "part"
        return SlotTrace(pointer, value, SinkType.TEXT, worst.label, how, worst.origin)
    if index.encoded(text) or _hides(value):
        return SlotTrace(pointer, value, SinkType.TEXT, Label.UNTRUSTED, "encoded")
    label = Label.UNTRUSTED if index.full else Label.UNKNOWN
    return SlotTrace(pointer, value, SinkType.TEXT, label, "none")


def _hides(value: str) -> bool:
    """Whether a word of the text spells other words: nobody writes so to people."""
    return any(
        len(plain) >= _SEGMENT // 2 and " " in plain
        for token in value.split()[:512]
        for plain in decodings(token)
    )


_ENDS: Final = re.compile(r"[.:;!?,] ")  # of sentences and clauses


def _segments(text: str) -> list[str]:
    """Sentences and clauses long enough to be recognised; the whole where it is short."""
    kept = [piece.strip(" .'\"") for piece in _ENDS.split(text) if len(piece) >= _SEGMENT]
    return list(dict.fromkeys(kept))[:64] or [text]


def within_command(value: str, sql: str | None) -> Iterator[tuple[SinkType, str]]:
    """Addresses, accounts and links inside of a command or, in a dialect of ``sql``, its strings.

    A string of SQL that is put together out of pieces is given as a KEY: nobody can say what it is.
    """
    pieces = [value[:MAX_TEXT]]
    if sql is not None:
        found = spelled(value, sql)
        pieces = list(found.strings)
        if found.assembled:
            yield SinkType.KEY, value
    for piece in pieces:
        for one in typed(piece):
            if one.type in _FILLED:
                yield one.type, one.key


def inside(value: str) -> Iterator[tuple[SinkType, str]]:
    """Addresses and accounts inside of prose: they reach whoever reads it."""
    for found in typed(value[:MAX_TEXT]):
        if found.type in {SinkType.URL, SinkType.ACCOUNT}:
            yield found.type, found.key


__all__ = ["MAX_SLOTS", "Hand", "inside", "slot_of", "slots", "trace", "within_command", "words"]
