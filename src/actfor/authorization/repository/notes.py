"""What people write about a policy: sealed with the key of its author, and gone with them."""

from __future__ import annotations

from actfor.keys import Texts
from actfor.store import Tx


def noted(tx: Tx, texts: Texts, author: str, column: str, row: str | int, note: str) -> str:
    """A note as it stands in its column; without one there is nothing to seal."""
    return texts.seal(tx, author, column, str(row), note) if note else ""
