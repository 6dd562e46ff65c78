"""Getting checkpoints cosigned, in the background: ask, collect, publish what the quorum signed.

A note is published (served, put into receipts) once the policy's quorum has cosigned it. Until
then the last published one stays; while there is none, the log's own newest is served, and who
demands a quorum will refuse it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actfor.audit import repository
from actfor.audit.repository import StoredCheckpoint
from actfor.audit.service.tree import Nodes
from actfor.audit.witnesses import Cosigned, Misfit, NotCosigned, Prove, Witness
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.note import Note
from actfor.wire.tlog_policy import Policy

logger = logging.getLogger(__name__)
WITNESS_SECONDS: Final = 2.0
_MAX_PAUSE_ROUNDS: Final = 64


@dataclass(slots=True)
class _Standing:
    """How one witness has answered. Owned by the loop."""

    size: int = -1  # cosigned last
    failures: int = 0
    pause: int = 0  # rounds to leave it alone
    said: str = ""


class Witnessing:
    """The loop over the witnesses of one policy. One instance a process; several may share a
    database.
    """

    def __init__(
        self,
        database: Database,
        policy: Policy,
        witnesses: Sequence[Witness],
        prove: Prove,
        seconds: float = WITNESS_SECONDS,
    ) -> None:
        self.policy = policy
        self._database = database
        self._witnesses = witnesses
        self._prove = prove
        self._seconds = seconds
        self._standing = {witness.name: _Standing() for witness in witnesses}
        self.misfit: str | None = None
        """What a witness saw that this log is not, for `readyz`: the log was forked or cut."""

    async def compare(self) -> None:
        """At start: has a witness seen more of this log than the database holds, or another one?

        A witness that cannot be reached does not keep the server from starting.

        Raises:
            Refused: CONFLICT, saying which witness saw what.
        """
        await self.round()
        if self.misfit is not None:
            raise Refused(Kind.CONFLICT, f"the log does not match what was signed: {self.misfit}")

    async def run(self) -> None:
        """Ask every few seconds, until cancelled."""
        if not self._witnesses:
            await asyncio.Event().wait()
        try:
            while True:
                await asyncio.sleep(self._seconds)
                try:
                    await self.round()
                except Refused as refused:
                    logger.warning("cosignatures were not collected: %s", refused.detail)
        finally:
            await self.close()

    async def round(self) -> None:
        """Ask every witness that has not cosigned the newest checkpoint yet; store what they say.

        Raises:
            Refused: BUSY when the database cannot be read or written.
        """
        signed = await self._database.read(repository.checkpoint)
        if signed is None or signed.size == 0:
            return
        due = [one for one in self._witnesses if self._due(one, signed)]
        answers = await asyncio.gather(*(self._ask(one, signed) for one in due))
        for answer in answers:
            if answer is not None:
                await self._keep(answer)

    async def close(self) -> None:
        """Let go of connections."""
        await asyncio.gather(*(witness.close() for witness in self._witnesses))

    def states(self) -> dict[str, str]:
        """For each witness, what it last said, for operators."""
        return {name: one.said or "not asked yet" for name, one in self._standing.items()}

    def _due(self, witness: Witness, signed: StoredCheckpoint) -> bool:
        standing = self._standing[witness.name]
        if standing.pause > 0:
            standing.pause -= 1
            return False
        return standing.size < signed.size or witness.pending is not None

    async def _ask(self, witness: Witness, signed: StoredCheckpoint) -> Cosigned | None:
        standing = self._standing[witness.name]
        try:
            answer = await witness.cosign(signed.note, self._prove)
        except NotCosigned as no:
            self._failed(standing, str(no))
            return None
        except Misfit as misfit:
            await self._misfit(standing, misfit)
            return None
        standing.failures = standing.pause = 0
        if answer is None:
            standing.said = f"waits for cosignatures of {witness.pending} entries"
            return None
        standing.size = Checkpoint.parse(Note.parse(answer.note).text).size
        standing.said = f"cosigned {standing.size} entries"
        return answer

    def _failed(self, standing: _Standing, said: str) -> None:
        if said != standing.said:
            logger.warning("%s", said)
        standing.said = said
        standing.failures += 1
        standing.pause = min(2**standing.failures, _MAX_PAUSE_ROUNDS)

    async def _misfit(self, standing: _Standing, misfit: Misfit) -> None:
        """Another node may be ahead of what we read; whatever is not explained so is a fork."""
        now = await self._database.read(repository.checkpoint)
        if misfit.ahead is not None and now is not None and now.size >= misfit.ahead:
            return
        self._failed(standing, misfit.detail)
        self.misfit = misfit.detail
        logger.critical(
            "a witness saw another history of this log, or a longer one: %s", misfit.detail
        )

    async def _keep(self, answer: Cosigned) -> None:
        pending = {witness.pending for witness in self._witnesses}
        await self._database.write(lambda tx: self._merge(tx, answer, pending))

    def _merge(self, tx: Tx, answer: Cosigned, pending: set[int | None]) -> None:
        """Add the lines to what others said of the same checkpoint; publish if that is enough."""
        note = Note.parse(answer.note)
        checkpoint = Checkpoint.parse(note.text)
        # The note may have been carried by hand: it must be ours, and of this tree.
        if not any(key.signed_at(note) is not None for key in self.policy.logs):
            raise Refused(Kind.CONFLICT, "a note was cosigned that we did not sign")
        if Nodes(tx).root(checkpoint.size) != checkpoint.root:
            raise Refused(Kind.CONFLICT, "a tree was cosigned that is not this log's")
        known = repository.cosigned(tx, checkpoint.size)
        if known is not None:
            note = Note.parse(known.note)
        lines = [*note.lines, *(line for line in answer.lines if line not in note.lines)]
        merged = Note.of(note.text, "".join(line + "\n" for line in lines))
        quorum = self.policy.satisfied(self.policy.cosigned(merged))
        stored = StoredCheckpoint(checkpoint.size, checkpoint.root, str(merged))
        repository.put_cosigned(tx, stored, quorum=quorum, now=tx.now)
        published = repository.published(tx)
        floor = published.size if published else -1
        sizes = repository.cosigned_sizes(tx)
        for size in sizes[:-1]:
            # An unpublished note is kept while someone may still complete it; the newest may.
            if size < floor or (size > floor and size not in {checkpoint.size, *pending}):
                repository.drop_cosigned(tx, size)
