"""The link of an invitation that the words say to accept: in a service's own letter about it.

Whoever invites may add a note, so only what the service writes first is read: the subject, and the
sentence that the body begins with.
"""

from __future__ import annotations

import re
from typing import Final

from actfor.authorization.intent.lexicon import STOP
from actfor.authorization.intent.text import stem, words
from actfor.gateway.provenance.index import Index
from actfor.gateway.provenance.items import Entry, typed_of
from actfor.gateway.provenance.labels import Label

_INVITES: Final = stem("invite")
_ACCEPTS: Final = frozenset({"accept", "confirm", "join"})
_FIRST: Final = re.compile(r"[^.:\"\u201c\n]{0,300}")
_LEAST: Final = 2
"""Words that a letter must share with the person's: one may stand in any."""


def invitation(index: Index, key: str, seen: list[Entry]) -> Entry | None:
    """The entry of the letter whose own site this link leads to, and that tells of the invitation
    better than every other letter; of two that tell as much, writer and subject are the same.
    """
    asked = any(
        one.verb in _ACCEPTS and _INVITES in one.about | one.after for one in index.wish.asked
    )
    found = next((e for e in seen if index.is_own_link(e, key)), None) if asked else None
    if found is None or found.item.speaks or (score := _score(index, found)) < _LEAST:
        return None
    rivals = (
        entry
        for item in index.items
        if item is not found.item and item.authors
        if (item.titles, item.authors) != (found.item.titles, found.item.authors)
        for entry in item.fields
    )
    links = {one.key for one in typed_of(found) if index.is_own_link(found, one.key)}
    alone = links == {key} and all(_score(index, one) < score for one in rivals)
    return found if alone else None


def _score(index: Index, entry: Entry) -> int:
    """How many of the words a text tells of the invitation with, if it tells of one."""
    if entry.label <= Label.TRUSTED:
        return 0
    first = _FIRST.match(entry.original)
    told = " ".join((*entry.item.titles, "" if first is None else first.group()))
    stems = {stem(word) for word in words(told) if len(word) > 1} - STOP
    return len((stems & index.wish.stems) - {_INVITES}) if _INVITES in stems else 0
