"""The loop that sends leaves on: claim, read, deliver, remember.

A delivery that failed is tried again until it succeeds, from the same leaf: at least once, in
order. One destination that is down delays no other, and nothing here is ever waited for by a call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from actfor.audit.export import repository
from actfor.audit.export.model import BATCH, LEASE_SECONDS, Destination, pause
from actfor.audit.export.senders import NotDelivered, Sender, sender_for
from actfor.audit.service import AuditLog
from actfor.errors import Kind, Refused
from actfor.store import Database, Tx
from actfor.wire.canonical import JsonObject
from actfor.wire.timestamps import from_ms, rfc3339

logger = logging.getLogger(__name__)

_IDLE_SECONDS = 0.5
_LEASE_MS = LEASE_SECONDS * 1000


@dataclass(frozen=True, slots=True)
class Status:
    """How a destination is doing. ``behind`` is in leaves."""

    name: str
    format: str
    to: str
    next_index: int
    behind: int
    failures: int
    error: str | None
    delivered_at: datetime | None

    def to_json(self) -> JsonObject:
        """For the management API."""
        return {
            "name": self.name,
            "format": self.format,
            "to": self.to,
            "next_index": self.next_index,
            "behind": self.behind,
            "failures": self.failures,
            "error": self.error,
            "delivered_at": None if self.delivered_at is None else rfc3339(self.delivered_at),
        }


class Exporter:
    """Sends the log to each configured destination.

    ``node`` names this process among several beside one database: a destination is served by one
    of them at a time, by a lease that others take over when it ends.

    Raises:
        Refused: MALFORMED where two destinations share a name; CONFLICT where one needs an extra.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        destinations: Sequence[Destination],
        *,
        node: str,
        opened: Callable[[Destination], Sender] = sender_for,
    ) -> None:
        names = [destination.name for destination in destinations]
        if len(set(names)) != len(names):
            raise Refused(Kind.MALFORMED, "two exports share a name; each has its own cursor")
        self._database = database
        self._audit = audit
        self._node = node
        self._senders = [(destination, opened(destination)) for destination in destinations]

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for destination, sender in self._senders:
                    group.create_task(self._serve(destination, sender))
                if not self._senders:
                    await asyncio.Event().wait()
        finally:
            for _, sender in self._senders:
                await sender.close()

    async def step(self, destination: Destination, sender: Sender) -> int:
        """One batch; how many leaves were delivered (0: none new, or another node sends).

        Raises:
            NotDelivered: it was counted as a failure.
            Refused: BUSY when the database cannot be read or written.
        """
        # 1. Is there something to send, and may this node send it?
        size = (await self._audit.head()).size
        at = await self._position(destination, size)
        if at >= size or not await self._database.write(self._claim(destination)):
            return 0
        # 2. Read: committed leaves only, in log order. Another node may have moved the cursor.
        at = await self._position(destination, size)
        events = await self._audit.events(at, min(BATCH, size - at))
        if not events:
            return 0
        # 3. Deliver.
        try:
            await sender.send(events)
        except NotDelivered as failure:
            why = str(failure)[:200]
            await self._database.write(
                lambda tx: repository.fail(tx, destination.name, self._node, why)
            )
            raise
        # 4. Remember. A crash before this sends the batch again.
        new = events[-1].index + 1
        await self._database.write(
            lambda tx: repository.advance(tx, destination.name, self._node, at, new, _LEASE_MS)
        )
        return len(events)

    async def status(self) -> list[Status]:
        """How each destination is doing."""
        size = (await self._audit.head()).size
        found = []
        for destination, _ in self._senders:
            known = await self._database.read(_cursor_of(destination.name))
            at = _next_of(known, destination, size)
            found.append(
                Status(
                    destination.name,
                    destination.format.value,
                    destination.to,
                    at,
                    size - at,
                    known.failures if known else 0,
                    known.error if known else None,
                    from_ms(known.delivered_at) if known and known.delivered_at else None,
                )
            )
        return found

    async def _serve(self, destination: Destination, sender: Sender) -> None:
        failures = 0
        while True:
            try:
                sent = await self.step(destination, sender)
            except (NotDelivered, Refused) as failure:
                failures += 1
                if failures in {1, 10} or failures % 100 == 0:  # told, not shouted
                    logger.warning("export `%s` waits: %s", destination.name, failure)
                await asyncio.sleep(pause(failures))
            else:
                failures = 0
                if sent < BATCH:
                    await asyncio.sleep(_IDLE_SECONDS)

    async def _position(self, destination: Destination, size: int) -> int:
        known = await self._database.read(_cursor_of(destination.name))
        at = _next_of(known, destination, size)
        if known is None:
            await self._database.write(lambda tx: repository.begin(tx, destination.name, at))
        return at

    def _claim(self, destination: Destination) -> Callable[[Tx], bool]:
        return lambda tx: repository.claim(tx, destination.name, self._node, _LEASE_MS)


def _next_of(known: repository.Cursor | None, destination: Destination, size: int) -> int:
    """What is sent next; without a cursor, the beginning of the log or what comes after now."""
    if known is not None:
        return known.next_index
    return 0 if destination.from_start else size


def _cursor_of(name: str) -> Callable[[Tx], repository.Cursor | None]:
    return lambda tx: repository.cursor(tx, name)
