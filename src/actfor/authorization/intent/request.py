"""What a person asked for, read from their words: deeds and what they are about, names, sources.

Deterministic and shallow on purpose. It finds verbs that ask (not those that tell of the past, nor
those that are denied), what their sentence is about, whether one thing or many are meant, whom and
which documents the words name, and whether they hand the wheel to a named source ("follow the
instructions in …"). It never decides; what it is unsure of, a person is asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from actfor.authorization.intent.deeds import LOOKING, MOST_ASKED, Asked, read_sentence
from actfor.authorization.intent.each import Share, most_of, share_of
from actfor.authorization.intent.lexicon import PARTICIPLES, VERBS, Deed, concepts, primary
from actfor.authorization.intent.names import filled, names_in, quoted, spelled
from actfor.authorization.intent.phrasing import (
    BREAKS,
    DENIED,
    DETERMINER,
    LEADS,
    MANY,
    WORDS,
    is_plural,
    matters_of,
)
from actfor.authorization.intent.sources import hands_over, sources
from actfor.authorization.intent.text import MAX_TEXT, normal, skeleton, stem, words
from actfor.authorization.intent.values import SinkType, Value, typed

_NEAR_SOURCE: Final = 4
_NEAR: Final = 200
"""Characters on each side of a title that are looked at."""
_POINTS: Final = frozenset(
    "in from per see following follow according using use on read check review open look at by as"
    " consult summarize summarise through with called titled named subject".split()
)
_TELLING: Final = frozenset(
    "says say lists list explains describes contains gives names mentions tells prescribes shows"
    " asks requires suggests has".split()
)
"""What stands before and after the name of a source."""
_ANSWERS: Final = frozenset({None, Deed.LOOK, Deed.ANY})


@dataclass(frozen=True, slots=True)
class Wish:
    """The reading of a person's words. ``text`` is ``normal``; its values are the person's own."""

    text: str
    asked: tuple[Asked, ...]
    about: frozenset[str]
    denied: frozenset[str]
    """Bases of the verbs that the words forbid."""
    values: frozenset[Value]
    names: tuple[frozenset[str], ...]
    """Names of people and things, as sets of folded words: capitalised or quoted in the words."""
    sentences: tuple[tuple[str, frozenset[str], frozenset[str], bool], ...]
    """Each in normal form, the stems that could ask, its matters, and if many are meant."""
    groups: bool
    """Whether the words speak of several people without naming them: `the participants`."""
    sources: tuple[frozenset[str], ...]
    """The names among them whose words are meant: `from X`, `X sent`, `X's list`."""
    hands_over: bool
    """Whether the words say to do what some named source says."""
    quotes: frozenset[str] = frozenset()
    """What stands in quotation marks, in normal form."""
    drawn: str = ""
    """The skeleton of the words: what they look like."""
    plain: str = ""
    """The words alone, folded, with one space between: for titles spelled another way."""
    filled: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Stems of nouns with the names that stand beside them: `workspace Apollo`."""
    spelled: Mapping[Value, str] = field(default_factory=dict)
    """Addresses, accounts, links and paths as the person wrote them."""
    truncated: bool = False
    """Whether there is more than was read."""
    stems: frozenset[str] = field(default_factory=frozenset)
    share: Share | None = None
    """How much each of several who are paid gets."""
    most: Decimal | None = None
    """The largest sum that they can mean."""

    @property
    def seeks_addresses(self) -> bool:
        """Whether they say that somebody's addresses are to be found in something."""
        return self.groups or self.hands_over or not _ADDRESSING.isdisjoint(self.stems)

    @property
    def changes(self) -> bool:
        """Whether the words ask for more than an answer."""
        return any(primary(one.verb) not in _ANSWERS and one.deeds != LOOKING for one in self.asked)

    def asks_state(
        self,
        value: str,
        about: frozenset[str],
        titles: frozenset[str] = frozenset(),
        called: Iterable[frozenset[str]] = (),
    ) -> bool:
        """Whether a verb asks for what a word says of a thing: who says to close it, `closed`.

        ``titles``: the stems of what the thing itself is called; two of them name it.
        ``called``: those of each name in the call; all of one name what it is done to.
        """
        verb, _ = PARTICIPLES.get(value, ("", None))
        return any(
            one.verb == verb
            and (
                one.direct & about
                or len(one.direct & titles) > 1
                or any(name and name <= one.direct for name in called)
            )
            for one in self.asked
        )

    def asks_operation(self, value: str) -> bool:
        """Whether they ask for what an operation is called: who says to remove an option,
        `remove_option`.
        """
        own = words(value)
        return len(own) > 1 and any(
            VERBS.get(word, ("",))[0] == one.verb
            and concepts(frozenset(stem(other) for other in own if other != word)) <= one.direct
            for word in own
            for one in self.asked
        )

    def points_to(self, title: str) -> bool:
        """Whether they name this as what something is taken from: `listed in X`, `X says`.

        ``title``: words with one space between, folded. Not where it is what something is done to.
        """
        at = self.plain.find(title) if title else -1
        while at >= 0:
            end = at + len(title)
            before = self.plain[max(0, at - _NEAR) : at].split()[-_NEAR_SOURCE:]
            after = self.plain[end : end + _NEAR].split()[:2]
            members = "of" in before and not _GROUPS.isdisjoint(before)
            if members or not (_POINTS.isdisjoint(before) and _TELLING.isdisjoint(after)):
                return True
            at = self.plain.find(title, at + 1)
        return False

    def has(self, kind: SinkType) -> bool:
        """Whether the words hold a value of this type."""
        return any(value.type is kind for value in self.values)


def read_words(said: Iterable[str]) -> Wish:
    """The reading of everything a person has said, in order; what is too long is not read."""
    parts = list(said)
    whole = "\n".join(parts)
    text = whole[:MAX_TEXT]
    sentences = [s for s in BREAKS.split(text) if s.strip()]
    asked: list[Asked] = []
    denied: set[str] = set()
    matters = [matters_of(sentence) for sentence in sentences]
    for number, sentence in enumerate(sentences):
        before = matters[number - 1] if number else frozenset[str]()
        read_sentence(sentence, number, asked, denied, matters[number], before)
    all_stems = frozenset(stem(word) for word in words(text))
    values, plain = frozenset(typed(text)), " ".join(words(text))
    share = share_of([normal(sentence) for sentence in sentences])
    return Wish(
        normal(text),
        tuple(asked),
        matters_of(text),
        frozenset(denied - {one.verb for one in asked}),
        values,
        names_in(text),
        tuple(map(_sentence, sentences, matters)),
        bool(_GROUPS & frozenset(words(text))),
        sources(text),
        hands_over(sentences),
        frozenset(normal(quoted) for quoted in quoted(text)),
        skeleton(text),
        plain,
        filled(text),
        spelled(text),
        len(whole) > MAX_TEXT or len(asked) >= MOST_ASKED,
        all_stems,
        share,
        most_of(values, plain, share),
    )


def _sentence(
    sentence: str, about: frozenset[str]
) -> tuple[str, frozenset[str], frozenset[str], bool]:
    tokens = [token.casefold() for token in WORDS.findall(sentence)]
    unknown = [
        position
        for position, token in enumerate(tokens)
        if token not in VERBS
        and not DENIED.intersection(tokens[max(0, position - 3) : position])
        and (position == 0 or tokens[position - 1] in LEADS - DETERMINER)  # `her hotel`
    ]
    asking = frozenset(
        form for position in unknown for form in _spellings(tokens[position : position + 2])
    )
    return normal(sentence), asking, about, bool(MANY.intersection(tokens)) or is_plural(tokens)


def _spellings(two: list[str]) -> Iterator[str]:
    """The stem of a word, and of the word that it makes with the next: `roll back`, `rollback`."""
    yield stem(two[0])
    if len(two) > 1:
        yield stem("".join(two))


_ADDRESSING: Final = frozenset(
    stem(word) for word in "address adress contact list listed phone recipient forward cc".split()
)
_GROUPS: Final = frozenset(
    "participants attendees members collaborators everyone everybody users people invitees guests"
    " recipients colleagues contacts employees".split()
)
