"""What the readers of sentences share: words, where sentences end, what a sentence is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final

from actfor.authorization.intent.lexicon import STOP, concepts
from actfor.authorization.intent.text import stem, words
from actfor.authorization.intent.values import SinkType, sums_in, typed

BREAKS: Final = re.compile(
    r"(?:(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bSt)(?<!\bMrs)(?<!\bProf)\.|[!?;:])(?=\s|$)|\n+"
)


SPOKEN: Final = re.compile(r"[^\s,;:!?()]+")
WORDS: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
DETERMINER: Final = frozenset(
    "the an a all this that these those my his her their our your its any each some another new"
    " latest recent upcoming same no unread entire whole total via by per recurring rental"
    " from".split()
)
DENIED: Final = frozenset("not don't dont never without avoid no doesn't won't cannot stop".split())
MANY: Final = frozenset(
    "all every each everyone everybody any both them these those multiple several many various"
    " remaining rest others other respective".split()
)


def matters_of(sentence: str) -> frozenset[str]:
    """What a sentence is about: the concepts of its words, money, channels and files."""
    spoken = " ".join(token for token in sentence.split() if not _is_place(token))
    single = words(spoken)
    found = set(concepts(frozenset(map(stem, (*single, *_joined(single))))))
    if sums_in(sentence):
        found.add("~money")
    for token in SPOKEN.findall(sentence):
        if token.isalpha():
            continue  # neither a channel nor a file; most of a text is such words
        if token[:1] == "#" and token[1:2].isalpha():
            found.add("~channel")
        if any(one.type is SinkType.PATH and "/" not in one.key for one in typed(token)):
            found.add("~file")
    return frozenset(found)


def matters_of_words(tokens: Sequence[str]) -> frozenset[str]:
    """``matters_of`` of words as ``WORDS`` finds them, among which are no places and no signs.

    Asked for every verb of a text, which may have ten thousand, so each word is looked up once.
    """
    found: set[str] = set().union(*map(_matters_of_word, (*tokens, *_joined(tokens))))
    if not all(map(str.isalpha, tokens)) and sums_in(" ".join(tokens)):
        found.add("~money")
    return frozenset(found)


@lru_cache(maxsize=16_384)
def _matters_of_word(word: str) -> frozenset[str]:
    return concepts(frozenset(stem(part) for part in words(word)))


def _joined(single: Sequence[str]) -> Iterator[str]:
    """Words that are also written as one: `wish list`, `check out`."""
    return filter(None, map(_compound, single, islice(single, 1, None)))


@lru_cache(maxsize=16_384)
def _compound(one: str, two: str) -> str:
    plain = one.isalpha() and two.isalpha() and len(one) + len(two) <= _COMPOUND
    return one + two if plain and STOP.isdisjoint((stem(one), stem(two))) else ""


_COMPOUND: Final = 14


def _is_place(token: str) -> bool:
    """Whether a token is a path or an address: where a thing is does not say what it is."""
    return "@" in token or "://" in token or token.lstrip("('\"`").startswith(("/", "~/"))


LEADS: Final = frozenset(
    "to and then please or also otherwise instead else just can could will would should must"
    " now you him her them it if not first second third next last finally afterwards kindly don't"
    " me it's let's again so".split()
)


def is_plural(tokens: Iterable[str]) -> bool:
    """Whether some word says that many things are meant."""
    return any(
        len(token) > 3 and token.endswith("s") and not token.endswith(("ss", "us", "is"))
        for token in tokens
        if token not in _NO_PLURAL
    )


_NO_PLURAL: Final = frozenset(
    "please this repositories' euros dollars pounds francs cents bucks percent hours days weeks"
    " months years seconds always thanks sales news settings details".split()
)
"""Words in -s that do not say that many things are meant: sums, stretches of time."""
HONORIFICS: Final = frozenset(
    "dr mr mrs ms miss prof professor sir madam signor signora monsieur madame herr frau".split()
)
"""What stands before a name and is none."""
NOT_NAMES: Final = frozenset(
    "i i'm i've please the a an and or my in on at to for if it its it's this that there can could"
    " you he she they we what when where who how which do don't also then after before from of with"
    " is are am be as by her his their our there note make sure perform hey hi hello thanks will"
    " would should".split()
)
