"""The link of a service's own notice: `she has invited me to her calendar Reunion, accept it`.

The service writes of what somebody did there, and its link leads to its own domain. Anybody may
write such a letter from a domain of theirs: so it must speak of what the words accept and of whom
or what they name, no other domain may have sent one, and one link alone may fit them best.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actfor.authorization.intent import SinkType
from actfor.authorization.intent.lexicon import STOP, Deed
from actfor.authorization.intent.text import stem, words
from actfor.authorization.intent.values import host_of
from actfor.gateway.provenance.index import SHARED_HOSTS, Index
from actfor.gateway.provenance.items import Entry, Item, typed_of


def notice_with(index: Index, key: str, seen: list[Entry]) -> Entry | None:
    """The entry of the notice that the words tell of, if this is its link and no other fits."""
    entry = next((one for one in seen if _is_own_site(one.item, key)), None)
    matter = _accepted(index)
    if entry is None or not matter or entry.item.speaks:
        return None
    found = [(_names_in(index, item), item) for item in index.items if _tells_of(item, matter)]
    found = [(score, item) for score, item in found if score and any(_links(item))]
    domains = {_domain(item) for _, item in found}
    best = max((score for score, _ in found), default=0)
    links = {link for score, item in found if score == best for link in _links(item)}
    return entry if len(domains) == 1 and links == {key} else None


def _accepted(index: Index) -> frozenset[str]:
    """What the words say to accept, to join or to confirm: `the invitation`."""
    return frozenset(
        word
        for one in index.wish.asked
        if Deed.ACCEPT in one.deeds or one.verb in _CONFIRMS
        for word in one.direct - STOP
        if not word.startswith("~")
    )


_CONFIRMS: Final = frozenset("activate verify".split())


def _tells_of(item: Item, matter: frozenset[str]) -> bool:
    """Whether a letter has a word of what is accepted, or its verb: `invites you`."""
    roots = {word[:_ROOT] for word in matter if len(word) >= _ROOT}
    return bool(item.authors) and any(stem(word)[:_ROOT] in roots for word in _text_of(item))


_ROOT: Final = 5
"""Letters: `invit` of `invites` and of `invitation`."""


def _names_in(index: Index, item: Item) -> int:
    """How many words of the names that the words have stand in a letter."""
    named = frozenset().union(*index.wish.names)
    return len(named & _text_of(item))


def _text_of(item: Item) -> frozenset[str]:
    authors = set(item.authors)
    return frozenset(
        word for one in item.fields if one.text not in authors for word in words(one.text)
    )


def _links(item: Item) -> Iterator[str]:
    """The links of a letter to its writer's own domain."""
    for entry in item.fields:
        for value in typed_of(entry):
            if value.type is SinkType.URL and _is_own_site(item, value.key):
                yield value.key


def _is_own_site(item: Item, key: str) -> bool:
    host = host_of(key).removeprefix("www.")
    return bool(host) and host not in SHARED_HOSTS and host == _domain(item)


def _domain(item: Item) -> str:
    """The domain of a letter's one writer."""
    domains = {author.rpartition("@")[2] for author in item.authors if "@" in author}
    return domains.pop() if len(domains) == 1 else ""
