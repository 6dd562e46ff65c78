"""Which letter the words tell of without its writer's name: `the county has asked us by mail to
announce a road closure`, `our system administrator wrote about the security clean-up`.

Weaker than a name. A stranger can choose what a letter is about: so it must fit the words well, no
letter of another domain about as well, and it is believed about who wrote it and, where the words
hand over, about what to do; not about whom to pay or let in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from actfor.authorization.intent.lexicon import STOP
from actfor.authorization.intent.text import stem, words

if TYPE_CHECKING:
    from actfor.authorization.intent import Wish
    from actfor.gateway.provenance.items import Item

_LETTERS: Final = frozenset({"~mail", "~message"})
_FEWEST: Final = 2
"""Words of a subject or an address that the person must have used."""


def described(items: Iterable[Item], wish: Wish) -> frozenset[int]:
    """The ``id`` of each letter that the words describe: those of one domain, or none."""
    if wish.about.isdisjoint(_LETTERS):
        return frozenset()
    matter = _matter(wish.plain)
    scores = [(_score(item, wish, matter), item) for item in items if item.authors]
    known = [(score, item) for score, item in scores if score >= _FEWEST]
    if matter:
        return _only(_about(matter, [item for _, item in known]))
    best = max((score for score, _ in known), default=0)
    return _only([item for score, item in known if score == best])


def _about(matter: frozenset[str], letters: list[Item]) -> list[Item]:
    """The letters whose subjects have at least half of what the words say that it is about, and of
    that all but a word as much as any other. What else they share with the words says nothing.
    """
    shared = [(len(_telling(" ".join(item.titles)) & matter), item) for item in letters]
    enough = max((len(matter) + 1) // 2, max((count for count, _ in shared), default=0) - 1)
    return [item for count, item in shared if count >= enough]


def _only(meant: list[Item]) -> frozenset[int]:
    """These letters, if all of them are of one domain."""
    domains = {author.rpartition("@")[2] for item in meant for author in item.authors}
    return frozenset(map(id, meant)) if len(domains) == 1 else frozenset()


def is_by_another(wish: Wish, authors: Iterable[str]) -> bool:
    """Whether the words say who wrote a letter (`the mail from Ann`), and others wrote this."""
    told = frozenset(words(" ".join(_FROM.findall(wish.plain))))
    named = frozenset(word for name in wish.sources for word in name) & told
    return bool(named) and named.isdisjoint(words(" ".join(authors)))


_FROM: Final = re.compile(r"\b(?:e?mails?|messages?|letters?) (?:from|by|of) (\w+(?: \w+){0,2})")


def _score(item: Item, wish: Wish, matter: frozenset[str]) -> int:
    """How many of its words the person used; one more where they said that it is about this."""
    spoken = _marks(item) & wish.stems
    return len(spoken) + bool(_telling(" ".join(item.titles)) & matter)


def _matter(plain: str) -> frozenset[str]:
    """What the words say that a letter is about: `an email about the heating`."""
    return frozenset().union(*(_telling(found) for found in _ABOUT.findall(plain)))


_ABOUT: Final = re.compile(
    r"\b(?:e?mails?|messages?|letters?|wrote|written|write) (?:\w+ ){0,3}?about"
    r" ((?:(?!could\b|can\b|please\b|and\b)\w+ ?){1,6})"
)


def _marks(item: Item) -> frozenset[str]:
    """The stems of a letter's subject and of its writer's address, as far as they tell anything.

    Without a word of the subject an address alone is no description.
    """
    subject = _telling(" ".join(item.titles))
    address = " ".join(author.rpartition(".")[0] for author in item.authors if "@" in author)
    return subject | _telling(address) if subject and address else frozenset()


def _telling(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in words(text) if len(word) > 2) - _SAY_LITTLE


_SAY_LITTLE: Final = STOP | frozenset(
    stem(word)
    for word in "re fwd fw request question info office mail email contact hello team support"
    " service noreply reply no update news new urgent important message you your our today date"
    " please com org net example www".split()
)
