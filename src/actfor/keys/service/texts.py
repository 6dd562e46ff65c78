"""Personal text in tables: sealed with the data key of the person it is of, value by value.

    sealed   0x02 ‖ id of the data key ‖ ":" ‖ base64 of what ``envelope`` makes of it
    blinded  0x02 ‖ "=" ‖ base64 of a keyed digest: for what is looked up and never read

Both stand in the TEXT column in which the text itself stood until schema 0078. Each is bound to its
column and row. With the person's data key gone from ``erasure.key`` no copy of the row opens any
more: no backup, no replica, no write-ahead log (docs/decisions/0018). What an older release wrote
in clear is read as it is, and sealed at the next start (``server.personal``).
"""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actfor.errors import Kind, Refused
from actfor.keys import repository
from actfor.keys.envelope import Cipher, Place
from actfor.store import Tx

MARK: Final = "\x02"
"""The first character of what is sealed or blinded. No name, goal, reason or JSON begins so."""

_BLIND: Final = MARK + "="
_MAX_REMEMBERED: Final = 20_000
_SHORT: Final = 400  # characters: longer ones are not worth the room


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key that is ready to seal."""

    id: str
    cipher: Cipher


@dataclass(frozen=True, slots=True)
class Erased:
    """A data key that is gone, and the leaf that says so; 0 in a copy that was made before."""

    id: str
    leaf: int


class Texts:
    """Seals, opens and blinds text for the repositories. One for each ``Vault``.

    A column is written `table.column`; ``row`` is the row's primary key. What was opened is
    remembered by its ciphertext: rows that were erased are gone from every snapshot that sees the
    erasure, and ``forget`` empties the memory.
    """

    def __init__(
        self,
        key_of: Callable[[Tx, str], DataKey | Erased],
        find: Callable[[Tx, str], Cipher | Erased | None],
    ) -> None:
        self._key_of, self._find = key_of, find
        self._lock = threading.Lock()  # the sequencer's thread and the readers' share what follows
        self._opened: dict[str, tuple[str, str, str]] = {}
        self._ciphers: dict[str, Cipher] = {}
        self._blinded: dict[tuple[str, str, str, str], str] = {}

    def seal(self, tx: Tx, owner: str, column: str, row: str, text: str) -> str:
        """Seal a person's text for its place. Needs a writing tx.

        Raises:
            Refused: CONFLICT if the person was erased: nothing is kept of them any more.
        """
        key = self._key(tx, owner)
        sealed = key.cipher.seal(text.encode(), _place(column, row))
        return f"{MARK}{key.id}:{b64encode(sealed).decode()}"

    def open(self, tx: Tx, column: str, row: str, text: str) -> str | None:
        """The text that was sealed for this place; None if whose it was is erased.

        Raises:
            Refused: CONFLICT if it was changed, or moved here from another place.
        """
        if not text.startswith(MARK):
            return text
        known = self._opened.get(text)
        if known is not None and known[0] == row and known[1] == column:
            return known[2]
        key_id, _, body = text[1:].partition(":")
        cipher = self._cipher(tx, key_id)
        if cipher is None:
            return None
        plain = cipher.open(_bytes(body), _place(column, row)).decode()
        if len(plain) <= _SHORT:
            self._remember(text, (row, column, plain))
        return plain

    def seal_some(self, tx: Tx, owner: str, column: str, row: str, text: str | None) -> str | None:
        """``seal``, where there may be no text."""
        return None if text is None else self.seal(tx, owner, column, row, text)

    def open_some(self, tx: Tx, column: str, row: str, text: str | None) -> str | None:
        """``open``, where there may be no text."""
        return None if text is None else self.open(tx, column, row, text)

    def blind(self, tx: Tx, owner: str, column: str, row: str, text: str) -> str:
        """The same for the same text of the person in this place, and nothing to anybody else.

        For who has a data key since an earlier transaction, as whoever committed a mandate has.

        Raises:
            Refused: CONFLICT if the person was erased.
        """
        asked = (owner, column, row, text)
        known = self._blinded.get(asked)
        if known is None:
            digest = self._key(tx, owner).cipher.blind(text.encode(), _place(column, row))
            known = _BLIND + b64encode(digest).decode()
            with self._lock:
                if len(self._blinded) >= _MAX_REMEMBERED:
                    self._blinded.clear()
                self._blinded[asked] = known
        return known

    def is_erased(self, tx: Tx, owner: str) -> bool:
        """Whether nothing of a person can be kept any more. Needs a writing tx."""
        return isinstance(self._key_of(tx, owner), Erased)

    def owner(self, tx: Tx, text: str) -> str | None:
        """With whose data key a text was sealed; None for one in clear."""
        if not text.startswith(MARK):
            return None
        return repository.subject_of(tx, text[1:].partition(":")[0])

    def forget(self) -> None:
        """Drop all that is remembered: somebody was erased."""
        with self._lock:
            self._opened.clear()
            self._ciphers.clear()
            self._blinded.clear()

    def _key(self, tx: Tx, owner: str) -> DataKey:
        key = self._key_of(tx, owner)
        if isinstance(key, Erased):
            raise Refused(Kind.CONFLICT, "the person was erased")
        return key

    def _cipher(self, tx: Tx, key_id: str) -> Cipher | None:
        known = self._ciphers.get(key_id)
        if known is not None:
            return known
        found = self._find(tx, key_id)
        if found is None:
            raise Refused(Kind.CONFLICT, f"there is no data key `{key_id[:40]}`")
        if isinstance(found, Erased):
            return None
        with self._lock:
            self._ciphers[key_id] = found
        return found

    def _remember(self, text: str, what: tuple[str, str, str]) -> None:
        with self._lock:
            if len(self._opened) >= _MAX_REMEMBERED:
                self._opened.clear()
                self._ciphers.clear()
            self._opened[text] = what


def _place(column: str, row: str) -> Place:
    table, _, name = column.partition(".")
    return Place(table, row, name)


def _bytes(body: str) -> bytes:
    try:
        return b64decode(body, validate=True)
    except ValueError as cause:
        raise Refused(Kind.CONFLICT, "a sealed text is cut short or was changed") from cause
