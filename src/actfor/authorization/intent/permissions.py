"""What a permission lets somebody do, by the word for it: who may `edit` is an `editor`.

Two words of one group are the same permission; a word of no group is only itself. What lets in
more than reading, writing and commenting has no group, so it must be said by its own name.
"""

from __future__ import annotations

from typing import Final

from actfor.authorization.intent.text import normal, stem, words

_GROUPS: Final = (
    "view viewer read reader readonly select see look",
    "edit editor contributor writer",
    "comment commenter commentator",
)
_LEAST: Final = frozenset(stem(word) for word in _GROUPS[0].split())
_FILLERS: Final = frozenset("only can may access permission role rights right".split())


def _group(word: str) -> frozenset[str]:
    found = (frozenset(map(stem, group.split())) for group in _GROUPS)
    return next((group for group in found if word in group), frozenset())


def is_said(permission: str, said: frozenset[str]) -> bool:
    """Whether words (``said``: their stems) hold another word for every part of ``permission``."""
    parts = _parts(permission)
    return bool(parts) and all(_group(part) & said for part in parts)


def is_least(permission: str) -> bool:
    """Whether it lets somebody look and no more: who shares a thing surely means that."""
    parts = _parts(permission)
    return bool(parts) and all(part in _LEAST for part in parts)


def _parts(permission: str) -> list[str]:
    return [stem(word) for word in words(normal(permission)) if word not in _FILLERS]
