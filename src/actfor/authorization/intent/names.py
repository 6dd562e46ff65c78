"""Names and values as the words have them: capitals, quotation marks, what stands beside a noun."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from actfor.authorization.intent.lexicon import VERBS
from actfor.authorization.intent.phrasing import BREAKS, HONORIFICS, NOT_NAMES, SPOKEN, WORDS
from actfor.authorization.intent.text import normal, stem, words
from actfor.authorization.intent.values import SinkType, Value, typed


def filled(text: str) -> Mapping[str, frozenset[str]]:
    """What the words put into a slot: the noun's stem and the name beside it.

    `workspace Apollo`, `the #dev channel`, `version 1.4.2`, `repository acme/site`. A name here has
    a capital inside of a sentence, a digit, or a sign that words do not have.
    """
    found: dict[str, set[str]] = {}
    for sentence in BREAKS.split(text):
        tokens = [token.strip("'\"`.") for token in SPOKEN.findall(sentence)]
        for position, token in enumerate(tokens):
            if not _is_name(token, first=position == 0):
                continue
            before = [one for one in tokens[max(0, position - 2) : position] if one not in _CALLED]
            after = tokens[position + 1 : position + 2]
            if token[:1] == "#":
                found.setdefault(stem("channel"), set()).add(normal(token).removeprefix("#"))
            for noun in (*before[-1:], *after):
                if noun.isalpha() and noun.islower() and noun not in _NO_SLOT:
                    found.setdefault(stem(noun), set()).add(normal(token))
    return {noun: frozenset(names) for noun, names in found.items()}


def spelled(text: str) -> Mapping[Value, str]:
    """Addresses, accounts, links and paths, each as it was written first."""
    found: dict[Value, str] = {}
    for token in SPOKEN.findall(text):
        bare = token.lstrip("'\"`<>[]{}").rstrip("'\"`<>[]{}.")
        for value in typed(bare):
            if value.type in _WRITTEN_OUT:
                found.setdefault(value, bare)
    return found


_WRITTEN_OUT: Final = frozenset({SinkType.RECIPIENT, SinkType.ACCOUNT, SinkType.URL, SinkType.PATH})


def _is_name(token: str, *, first: bool) -> bool:
    if not token or token.casefold() in NOT_NAMES:
        return False
    if any(char.isdigit() or char in "#_/" for char in token):
        return True
    return token[:1].isupper() and not first


_CALLED: Final = frozenset("named called titled number no the id to".split())
_NO_SLOT: Final = frozenset(
    "a an the and or to of in on at by for from with is are was be as if it that this than via"
    " into per my your his her their our".split()
)


@lru_cache(maxsize=1_024)
def names_in(text: str) -> tuple[frozenset[str], ...]:
    """Runs of capitalised words that are not just a sentence's first, and what stands in quotes."""
    found: list[frozenset[str]] = []
    run: list[str] = []
    last = 0
    starts = True
    for token in WORDS.finditer(text):
        word = token.group()
        gap = text[last : token.start()]
        starts = last == 0 or any(mark in gap for mark in ".!?\n:")
        if run and (starts or gap.strip(" \t-'") or not word[:1].isupper()):
            found.append(frozenset(run))
            run = []
        folded = word.casefold().removesuffix("'s").removesuffix("\u2019s")
        is_verb = starts and folded in VERBS
        if word[:1].isupper() and folded not in NOT_NAMES | HONORIFICS and not is_verb:
            run.append(folded)
        last = token.end()
    if run:
        found.append(frozenset(run))
    found += [frozenset(words(quoted)) for quoted in quoted(text)]
    return tuple(dict.fromkeys(name for name in found if name))


def quoted(text: str) -> list[str]:
    """What stands between quotation marks; an apostrophe inside a word is none."""
    found: list[str] = []
    for mark in ("'", '"', "`"):
        pieces = re.split(rf"(?<![^\W_]){mark}|{mark}(?![^\W_])", text)
        found += [piece for piece in pieces[1::2] if 0 < len(piece) <= 200]
    return found[:64]
