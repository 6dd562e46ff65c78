"""Text as it is compared: one form for what a person would call the same words.

Every function is linear in the length of its input; there is no backtracking expression here (D7).
Two texts with equal ``normal`` forms are the same value; two with equal ``skeleton`` and different
``normal`` forms are look-alikes, which nobody may use to pass for one another.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from snowballstemmer.english_stemmer import EnglishStemmer

MAX_TEXT: Final = 65_536
"""Characters of one text that are looked at; who cuts must treat the rest as untrusted."""

_TRIES: Final = 64
_TOKEN: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9][a-z0-9])(?=[A-Z])")
_CONTROLS: Final = {
    code: None for code in range(128) if not chr(code).isprintable() and not chr(code).isspace()
}
# Characters drawn alike. Unicode UTS 39 lists them all; these are the ones that pass for letters
# and digits of names, accounts and domains: Cyrillic, Greek, then digits and strokes.
_ALIKE: Final = str.maketrans(
    {
        **dict(
            zip(
                "\u0430\u0435\u043e\u0440\u0441\u0445\u0443\u0456\u0458\u0455",
                "aeopcxyijs",
                strict=True,
            )
        ),
        **dict(
            zip("\u0501\u051b\u051d\u04bb\u0432\u043c\u0442\u043d\u043a", "dqwhbmtnk", strict=True)
        ),
        **dict(zip("\u03bf\u03b1\u03c1\u03bd\u03b9\u03ba\u03c5\u03c4", "oapvikut", strict=True)),
        **dict(zip("\u0261\u0131\u217c\u01c001|", "gilloll", strict=True)),
    }
)
_PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"))


def normal(text: str) -> str:
    """Compatibility form, case folded, invisible characters gone, white space single."""
    if text.isascii():
        text = text.translate(_CONTROLS)
    else:
        text = unicodedata.normalize("NFKC", text)
        # Few characters are different ones, so each of those is looked up once.
        if hidden := {ord(c): None for c in set(text) if _is_invisible(c)}:
            text = text.translate(hidden)
    return " ".join(text.casefold().split())


def _is_invisible(c: str) -> bool:
    return not c.isspace() and unicodedata.category(c) in {"Cf", "Mn", "Cc"}


def skeleton(text: str) -> str:
    """What the text looks like; equal for texts that are drawn alike."""
    folded = unicodedata.normalize("NFKD", normal(text)).translate(_ALIKE)
    drawn = "".join(c for c in folded if not unicodedata.combining(c))
    for pair, single in _PAIRS:
        drawn = drawn.replace(pair, single)
    return drawn


def mixes_scripts(text: str) -> bool:
    """Whether one word has Latin letters beside Cyrillic or Greek ones: UTS 39, 5.1, as far as it
    concerns the scripts that are drawn alike. Nobody writes so but to pass for somebody else.
    """
    if text.isascii():
        return False
    for token in text.split():
        scripts = {unicodedata.name(c, "").partition(" ")[0] for c in token if c.isalpha()}
        if "LATIN" in scripts and scripts & {"CYRILLIC", "GREEK"}:
            return True
    return False


def words(text: str) -> list[str]:
    """The words of a text, folded, in order; `camelCase` and `snake_case` are several words."""
    return [word.casefold() for word in _TOKEN.findall(_CAMEL.sub(" ", text))]


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The stem of one English word."""
    stemmed: str = EnglishStemmer().stemWord(word)  # its object holds state: not shared by threads
    return stemmed


def stems(text: str) -> list[str]:
    """The stems of a text's words, in order."""
    return [stem(word) for word in words(text)]


def within(needle: str, text: str, *, doubt: bool = False) -> bool:
    """Whether ``needle`` stands in ``text`` between word boundaries. Both are ``normal``.

    After ``_TRIES`` places inside of words the answer is ``doubt``: the search stays linear.
    """
    if not needle:
        return False
    at = text.find(needle)
    for _ in range(_TRIES):
        if at < 0:
            return False
        end = at + len(needle)
        begins = at == 0 or not (text[at - 1].isalnum() and needle[0].isalnum())
        ends = end == len(text) or not (text[end].isalnum() and needle[-1].isalnum())
        if begins and ends:
            return True
        at = text.find(needle, at + 1)
    return doubt if at >= 0 else False
