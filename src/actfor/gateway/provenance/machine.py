"""Text that is for machines and not for people: what speaks to one, and what only one reads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from actfor.authorization.intent import normal
from actfor.authorization.intent.text import words

# How texts speak to a machine instead of a person. Seen in what others wrote, only ever a reason to
# be stricter: an attacker who avoids these words is met by the labels, not by this list.
_ADDRESSES: Final = tuple(
    frozenset(phrase.split())
    for phrase in (
        "ignore instructions",
        "ignore previous",
        "disregard instructions",
        "disregard previous",
        "forget instructions",
        "override instructions",
        "important message to you",
        "before you solve task",
        "system prompt",
        "ai assistant you",
        "ai agent you",
        "language model you",
        "user task following first",
        "new instructions you",
    )
)


def _by_longest(phrases: Iterable[frozenset[str]]) -> Mapping[str, tuple[frozenset[str], ...]]:
    """The phrases by their longest words: few searches tell that a long text holds none of them."""
    found: dict[str, list[frozenset[str]]] = {}
    for phrase in phrases:
        found.setdefault(max(sorted(phrase), key=len), []).append(phrase)
    return {word: tuple(held) for word, held in found.items()}


_BY_LONGEST: Final = _by_longest(_ADDRESSES)


@lru_cache(maxsize=4_096)
def speaks_to_machine(text: str) -> bool:
    """Whether a text addresses whoever processes it, with instructions of its own."""
    near = [
        phrase
        for longest, phrases in _BY_LONGEST.items()
        if longest in text
        for phrase in phrases
        if all(word in text for word in phrase)
    ]
    if not near:
        return False
    found = frozenset(words(text))
    return any(phrase <= found for phrase in near)


def decodings(token: str) -> Iterator[str]:
    """What a token spells in base64, hexadecimal or percent signs; folded text only."""
    if "%" in token and (plain := normal(unquote(token))) != normal(token):
        yield plain
    if len(token) < 16 or len(token) > 4096:
        return
    for decode in (_base64, _hexadecimal):
        text = decode(token)
        if text and text.isprintable():
            yield normal(text)


def _base64(token: str) -> str:
    bare = token.rstrip("=").replace("-", "+").replace("_", "/")
    if not bare.isascii() or not bare.replace("+", "").replace("/", "").isalnum():
        return ""
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _hexadecimal(token: str) -> str:
    try:
        return bytes.fromhex(token.removeprefix("0x")).decode()
    except ValueError:
        return ""
