"""The log's face: append, checkpoint, prove, serve, look up, verify."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta

from actfor.audit import repository
from actfor.audit.model import (
    UNREFERENCED,
    Event,
    EventType,
    Head,
    LoggedEvent,
    Receipt,
    VerifyReport,
    references,
    told,
)
from actfor.audit.repository import StoredCheckpoint
from actfor.audit.service import continuity, payloads, pruning, reading, verifying
from actfor.audit.service.pruning import RETENTION, Pruned
from actfor.audit.service.tree import Growth, Nodes
from actfor.errors import Kind, Refused
from actfor.keys import Texts, Vault
from actfor.store import Database, Tx, new_id
from actfor.wire import merkle
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.checkpoint import Checkpoint, LogProof
from actfor.wire.log_entry import LogEntry
from actfor.wire.note import Cosigner, Note, NoteSigner, NoteVerifier
from actfor.wire.tiles import Tile
from actfor.wire.timestamps import to_ms
from actfor.wire.tlog_policy import Policy

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 1.0
CHECKPOINT_LEAVES = 256
_RETENTION_SECONDS = 3600.0
_PAUSE_SECONDS = 0.05  # at most twenty checkpoints a second, however many leaves


class AuditLog:
    """One log in one database. ``origin`` names it, and is the name of its key.

    ``cosigner`` is the log's own ML-DSA-44 key, of the same name: then every checkpoint bears its
    line, too. ``policy`` names the witnesses: then what they cosigned is what is published.
    ``retain`` is told every note that was signed, to keep it outside the database; it may block.
    """

    def __init__(
        self,
        database: Database,
        signer: NoteSigner,
        origin: str,
        clock: Callable[[], datetime],
        vault: Vault | None = None,
        *,
        cosigner: Cosigner | None = None,
        policy: Policy | None = None,
        retain: Callable[[str], None] | None = None,
        retention: timedelta = RETENTION,
    ) -> None:
        for key in (signer, cosigner):
            if key is not None and key.verifier.name != origin:
                raise Refused(Kind.MALFORMED, f"the log's key must be named `{origin}`")
        self._database = database
        self._signer = signer
        self._cosigner = cosigner
        self._origin = origin
        self._clock = clock
        self._vault = vault or Vault()
        self._witnessed = policy is not None
        self.policy = (policy or Policy(())).with_logs(self.verifiers)
        self._retain = retain
        self.retention = retention
        # How far the newest checkpoint reaches, for whoever appends; the loop is told when due.
        self._signed_size = 0
        self._due: Callable[[], None] | None = None

    @property
    def texts(self) -> Texts:
        """What seals the personal columns of tables, with the keys that seal the log's payloads."""
        return self._vault.texts

    @property
    def verifiers(self) -> list[NoteVerifier]:
        """The public keys: Ed25519, and ML-DSA-44 where the log has one."""
        keys = [self._signer.verifier]
        return keys if self._cosigner is None else [*keys, self._cosigner.verifier]

    @property
    def verifier_key(self) -> str:
        """The public key in its text form, for those who will verify; a second line for ML-DSA."""
        return "\n".join(map(str, self.verifiers))

    def append(self, tx: Tx, event: Event) -> int:
        """Add an event to the log in the caller's transaction; return its index.

        The event is durable, and true, exactly when the caller's own change is.

        Raises:
            Refused: MALFORMED if the facts do not fit a leaf.
        """
        growth, kind = Growth.of(tx), event.type.value
        index = growth.frontier.size
        commitments = payloads.keep(tx, self._vault, index, event)
        leaf = LogEntry(
            index,
            new_id("evt"),
            kind,
            to_ms(tx.now),
            event.trace,
            event.facts,
            commitments,
        ).encode()
        leaf_hash = merkle.leaf_hash(leaf)
        repository.add_leaf(tx, index, leaf, leaf_hash, kind, event.trace, event.agent)
        if kind not in UNREFERENCED:
            for ref in references(event.facts):
                repository.add_reference(tx, ref, index)
        growth.frontier = growth.frontier.append(leaf_hash)
        if index - self._signed_size >= CHECKPOINT_LEAVES and (due := self._due) is not None:
            self._due = None
            tx.on_commit(due)
        for topic, key in told(event):
            self._database.feed.tell(tx, topic, key)
        return index

    async def start(self, retained: str | None = None) -> None:
        """Refuse to go on with a log that is not the one we signed before.

        ``retained`` is a checkpoint note kept outside the database, where there is one: it shows
        when the database was replaced by an older copy of itself.

        Not checked: older entries than the newest 65,536 one by one, and what stands in them
        (``verify`` does both); the tiles that lead to what was signed are.

        Raises:
            Refused: CONFLICT, naming what does not match.
        """
        await self.check(retained)
        await self._seal_old()
        note = await self.checkpoint()
        if self._retain is not None:
            await asyncio.to_thread(self._retain, note)

    async def check(self, retained: str | None = None) -> None:
        """What ``start`` checks, and nothing is signed; raises as ``start`` does."""
        await self._database.read(lambda tx: continuity.check(tx, self._signer.verifier, retained))

    def renounce(self, tx: Tx, signer: NoteSigner, cause: str, kept: str | None) -> None:
        """Sign nothing more under this name: the log goes on under that of ``signer``, opened anew.

        Its first checkpoint is stored in this unit, so that no other node, which does not know yet,
        finds none and signs one under the old name.

        For a database that is an older copy of itself (``server.recovery``). ``kept`` is the last
        note that the log of this name signed, as far as anybody remembers.
        """
        name = signer.verifier.name
        facts: dict[str, JsonValue] = {
            "action": "recovered",
            "cause": cause,
            "log": name,
            "from_size": Growth.of(tx).frontier.size,
        }
        if kept is not None:
            signed = Checkpoint.parse(Note.parse(kept).text)
            facts |= {
                "previous_log": signed.origin,
                "previous_size": signed.size,
                "previous_root": signed.root.hex(),
            }
        self.append(tx, Event(EventType.RECOVER, name, facts))
        repository.forget_checkpoints(tx)
        head = Growth.of(tx).frontier
        note = signer.sign(Checkpoint(name, head.size, head.root()).text())
        repository.replace_checkpoint(
            tx, None, StoredCheckpoint(head.size, head.root(), note), tx.now
        )

    async def checkpoint(self) -> str:
        """Sign the current tree head, unless it is signed already; return the note.

        INVARIANT: no note leaves here that is inconsistent with one that left before
        (tlog-checkpoint, Signatures): the head's consistency with the stored checkpoint is
        proved from the stored tree first, and a compare-and-swap admits one successor.

        Raises:
            Refused: CONFLICT if the tree does not continue the stored checkpoint.
        """
        while True:
            old, head = await self._database.read(lambda tx: continuity.next_head(tx, self._origin))
            if old is not None and old.size == head.size:
                self._signed_size = old.size
                return old.note
            new = StoredCheckpoint(head.size, head.root, self._sign(head))
            if await self._database.write(_swap(old, new)):
                self._signed_size = new.size
                if self._retain is not None:
                    await asyncio.to_thread(self._retain, new.note)
                return new.note

    async def run(self) -> None:
        """Checkpoint every second or 256 leaves, for as long as the server runs.

        Ends only by cancellation (after a last checkpoint) or when the log does not continue
        its own checkpoint; a database that is busy or full is tried again.
        """
        loop, wake = asyncio.get_running_loop(), asyncio.Event()

        def due() -> None:
            loop.call_soon_threadsafe(wake.set)

        try:
            while True:
                wake.clear()
                self._due = due
                await asyncio.sleep(_PAUSE_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), CHECKPOINT_SECONDS - _PAUSE_SECONDS)
                try:
                    await self.checkpoint()
                except Refused as refused:
                    if refused.kind is not Kind.BUSY:
                        logger.critical("checkpoints have stopped: %s", refused.detail)
                        raise
        except asyncio.CancelledError:
            self._due = None
            try:
                await self.checkpoint()
            except Refused as refused:
                logger.warning("no last checkpoint: %s", refused.detail)
            raise

    async def expire_payloads(self, older_than: timedelta) -> int:
        """Delete what opens the commitments of old entries, for good; of how many entries.

        Leaves, proofs and checkpoints stay. A leaf of type `erase` says up to which entry.
        """

        def unit(tx: Tx) -> int:
            below, gone = payloads.expire(tx, tx.now - older_than)
            if gone:
                facts: JsonObject = {"action": "retention", "below": below, "entries": gone}
                self.append(tx, Event(EventType.ERASE, "retention", facts))
            return gone

        return await self._database.write(unit)

    async def retain(self, payloads_for: timedelta | None) -> None:
        """Background loop: once an hour, delete payloads that are older (None: none are)."""
        while True:
            await asyncio.sleep(_RETENTION_SECONDS)
            if payloads_for is None:
                continue
            try:
                await self.expire_payloads(payloads_for)
            except Refused as refused:
                logger.warning("old payloads were not deleted: %s", refused.detail)

    async def head(self) -> Head:
        """Size and root of all that is committed, checkpointed or not."""

        def unit(tx: Tx) -> Head:
            frontier = repository.head(tx)
            return Head(frontier.size, frontier.root())

        return await self._database.read(unit)

    async def latest_checkpoint(self) -> str | None:
        """The note to be served: the last that the quorum cosigned, else the last signed; None
        before the first.
        """
        stored = await self._database.read(self._published)
        return stored.note if stored else None

    async def prove(self, index: int, reveal: Collection[str] | None = None) -> Receipt:
        """The receipt of one event: leaf, proof, signed checkpoint, and openings.

        ``reveal`` names the private members to open; None opens all that is not erased.

        Raises:
            Refused: NOT_FOUND if there is no such event.
        """
        if not 0 <= index < (await self.head()).size:
            raise Refused(Kind.NOT_FOUND, f"no event with index {index}")
        await self._cover(index)

        def unit(tx: Tx) -> Receipt:
            signed = self._published(tx)
            if signed is None or signed.size <= index:
                signed = repository.checkpoint(tx)  # not cosigned yet
            found = repository.stored(tx, index, index + 1)
            if index < repository.minimum(tx)[0]:
                raise Refused(Kind.NOT_FOUND, f"event {index} was pruned")
            if signed is None or not found:
                raise Refused(Kind.CONFLICT, f"the log has lost event {index}")
            path = merkle.prove_inclusion(index, signed.size, Nodes(tx))
            openings = {
                name: opening
                for name, opening in self._reader(tx).open(found[0]).openings.items()
                if reveal is None or name in reveal
            }
            return Receipt(found[0].leaf, openings, LogProof(index, tuple(path), signed.note))

        return await self._database.read(unit)

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of ``new`` leaves continues the one of ``old`` leaves.

        Raises:
            Refused: NOT_FOUND unless ``0 <= old <= new <=`` the checkpoint's size.
        """

        def unit(tx: Tx) -> list[bytes]:
            signed = repository.checkpoint(tx)
            if signed is None or not 0 <= old <= new <= signed.size:
                raise Refused(Kind.NOT_FOUND, "no checkpoint of that size")
            return merkle.prove_consistency(old, new, Nodes(tx))

        return await self._database.read(unit)

    async def tile(self, tile: Tile) -> bytes:
        """A tile or a bundle of entries of the checkpointed tree; NOT_FOUND beyond it."""
        return await self._database.read(lambda tx: reading.tile(tx, tile))

    async def prune(self, before: datetime, *, by: str, delete: bool = False) -> Pruned:
        """Refuse to serve entries older than ``before``; with ``delete``, delete what was refused
        long enough ago. ``by`` is the person who asks.

        Raises:
            Refused: CONFLICT for what the retention covers, or what was refused only just now.
        """
        pruning.require_old_enough(before, self._clock(), self.retention)

        def refuse(tx: Tx) -> None:
            to = pruning.refuse_older(tx, before)
            if to is not None:
                self._tell_pruned(tx, "refused", to, by)

        def remove(tx: Tx) -> int:
            gone = pruning.delete_some(tx)
            if gone:
                self._tell_pruned(tx, "deleted", repository.minimum(tx)[1], by)
            return gone

        if delete:
            while await self._database.write(remove):
                pass
        else:
            await self._database.write(refuse)
        return Pruned(*await self._database.read(repository.minimum))

    def _tell_pruned(self, tx: Tx, how: str, to: int, by: str) -> None:
        facts: dict[str, JsonValue] = {"action": f"entries-{how}", "minimum_index": to}
        self.append(tx, Event(EventType.PRUNE, "log", facts, {"person": by}))

    async def event(self, index: int) -> LoggedEvent:
        """One event with its private members; raises NOT_FOUND."""

        def unit(tx: Tx) -> LoggedEvent:
            found = repository.stored(tx, index, index + 1)
            if not found:
                raise Refused(Kind.NOT_FOUND, f"no event with index {index}")
            return reading.event(self._reader(tx), found[0])

        return await self._database.read(unit)

    async def events(self, start: int, most: int) -> list[LoggedEvent]:
        """Committed events from an index on, oldest first, at most so many."""
        return await self._database.read(lambda tx: reading.span(tx, self._reader(tx), start, most))

    async def trace(self, trace_or_id: str) -> list[LoggedEvent]:
        """All events of one action, from the mandate that allowed it to its outcome.

        Accepts the trace itself or the id of a thing (approval, mandate, grant); empty if neither
        is known.
        """
        return await self._database.read(
            lambda tx: reading.trace(tx, self._reader(tx), trace_or_id)
        )

    async def search(
        self,
        *,
        limit: int = 50,
        before: int | None = None,
        type: str | None = None,  # noqa: A002 - the event's own word
        agent: str | None = None,
    ) -> list[LoggedEvent]:
        """Events newest first, of one type or agent if given; ``before`` an index, to page on."""
        return await self._database.read(
            lambda tx: reading.search(tx, self._reader(tx), limit, before, type, agent)
        )

    async def verify(self) -> VerifyReport:
        """Recompute the whole log from its stored leaves, in a thread of its own."""
        return await asyncio.to_thread(
            self._database.read_sync,
            lambda tx: verifying.verify(tx, self.policy, self._reader(tx)),
        )

    @staticmethod
    def verify_database(database: Database, key: NoteVerifier, vault: Vault | None) -> VerifyReport:
        """Recompute the log of a database that is not served; trust ``key`` alone.

        Without a ``vault`` nothing private is opened, so nothing of it is compared.
        """
        return database.read_sync(
            lambda tx: verifying.verify(
                tx, Policy((key,)), payloads.Reader(tx, vault, of_copy=True)
            )
        )

    @staticmethod
    def state_of(tx: Tx) -> tuple[int, str | None]:
        """Size and last signed checkpoint of the log in this transaction."""
        signed = repository.checkpoint(tx)
        return repository.head(tx).size, signed.note if signed else None

    def _published(self, tx: Tx) -> StoredCheckpoint | None:
        cosigned = repository.published(tx) if self._witnessed else None
        return cosigned or repository.checkpoint(tx)

    def _sign(self, head: Head) -> str:
        text = Checkpoint(self._origin, head.size, head.root).text()
        note = self._signer.sign(text)
        if self._cosigner is None:
            return note
        return note + self._cosigner.cosign(text, int(self._clock().timestamp()))

    async def _seal_old(self) -> None:
        """What a release before encryption left in clear, in batches that keep nobody waiting."""
        sealed = 1
        while sealed:
            sealed = await self._database.write(lambda tx: payloads.seal_old(tx, self._vault, 500))

    def _reader(self, tx: Tx) -> payloads.Reader:
        return payloads.Reader(tx, self._vault)

    async def _cover(self, index: int) -> None:
        signed = await self._database.read(repository.checkpoint)
        if signed is None or signed.size <= index:
            await self.checkpoint()


def _swap(old: StoredCheckpoint | None, new: StoredCheckpoint) -> Callable[[Tx], bool]:
    return lambda tx: repository.replace_checkpoint(tx, old, new, tx.now)
