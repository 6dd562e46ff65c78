"""Whether the log is still the one that was signed before: for each start, and each checkpoint.

Quick, as opposed to ``verifying``: the tree and the newest rows, not what stands in the entries.
"""

from __future__ import annotations

from typing import NoReturn

from actfor.audit import repository
from actfor.audit.model import Head
from actfor.audit.repository import StoredCheckpoint
from actfor.audit.service.tree import Nodes
from actfor.errors import Kind, Refused
from actfor.store import Tx
from actfor.wire import merkle
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.note import NoteVerifier

_COUNTED = 65_536
"""The newest entries that are counted at each start: what a crash or a careless copy loses is
there, and a start does not take longer as the log grows. All entries are read by ``verify``."""


def next_head(tx: Tx, origin: str) -> tuple[StoredCheckpoint | None, Head]:
    """The stored checkpoint and the head, which continues it: what may be signed next.

    Raises:
        Refused: CONFLICT.
    """
    old, frontier = repository.checkpoint(tx), repository.head(tx)
    head = Head(frontier.size, frontier.root())
    if old is not None:
        # Another process may have recovered the log, under another name (see ``recovery``).
        if not old.note.startswith(origin + "\n"):
            _inconsistent("another log was signed in this database")
        _continues(tx, old, head)
    return old, head


def check(tx: Tx, key: NoteVerifier, retained: str | None) -> None:
    """Refuse a log whose rows, tree, head and checkpoints (the stored, the ``retained`` note, both
    by ``key``) do not fit one another.

    Raises:
        Refused: CONFLICT, naming what does not match.
    """
    old = repository.checkpoint(tx)
    try:
        frontier = repository.head(tx)
    except ValueError as cause:
        _inconsistent(f"its head cannot be read: {cause}")
    _require_rows(tx, frontier.size)
    head = Head(frontier.size, frontier.root())
    if Nodes(tx).root(head.size) != head.root:
        _inconsistent("its head is not the root of its entries")
    if old is None and retained is not None:
        _inconsistent("a checkpoint was kept, and none is stored")
    if old is not None:
        signed = _ours(old.note, key, "the stored checkpoint")
        if (signed.size, signed.root) != (old.size, old.root):
            _inconsistent("the stored checkpoint is not the one that was signed")
        _continues(tx, old, head)
    if retained is not None:
        kept = _ours(retained, key, "the retained checkpoint")
        _continues(tx, StoredCheckpoint(kept.size, kept.root, retained), head)


def _continues(tx: Tx, old: StoredCheckpoint, head: Head) -> None:
    if head.size < old.size:
        _inconsistent(f"it has {head.size} entries, its checkpoint {old.size}")
    try:
        proof = merkle.prove_consistency(old.size, head.size, Nodes(tx))
        merkle.verify_consistency(old.size, head.size, proof, old.root, head.root)
    except Refused as refused:
        _inconsistent(refused.detail)


def _require_rows(tx: Tx, size: int) -> None:
    """The rows end where the head does, and none of the newest is missing."""
    _, deleted = repository.minimum(tx)
    lowest, highest = repository.extent(tx) or (deleted, deleted - 1)
    since = max(deleted, size - _COUNTED)
    if lowest != deleted or highest + 1 != size:
        _inconsistent(f"its head counts {size} entries, {lowest} to {highest} are stored")
    if (count := repository.count_since(tx, since)) != size - since:
        _inconsistent(f"of its newest {size - since} entries {count} are stored")


def _ours(note: str, key: NoteVerifier, what: str) -> Checkpoint:
    try:
        return Checkpoint.verified(note, key)
    except Refused as refused:
        _inconsistent(f"{what}: {refused.detail}")


def _inconsistent(detail: str) -> NoReturn:
    raise Refused(Kind.CONFLICT, f"the log does not match what was signed: {detail}")
