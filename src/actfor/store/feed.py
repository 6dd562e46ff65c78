"""What other nodes must hear of: the change feed.

A row of ``store_change`` is written in the transaction of a rare thing that nodes keep in memory or
that ends what they are doing: a revocation, a publication, a changed catalog, a key. Never for a
decision. Rows are numbered in commit order, because all writers take one lock; a node remembers the
last number it acted on, its *watermark*, so a lost notification or connection loses nothing.

PostgreSQL notifies (`NOTIFY`, in the commit of such a transaction only); a poll each second is the
heartbeat and the fallback. SQLite has one process: handlers are called after the commit.

A node that has not caught up for longer than its lease must not answer from what it remembers:
``check_fresh`` refuses then. What is decided in a transaction needs no lease.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import bindparam, delete, func, insert, select

from actfor.errors import Kind, Refused
from actfor.store.failures import StorageFailure
from actfor.store.postgres import Location, connect
from actfor.store.postgres_writer import CHANNEL
from actfor.store.tables import change
from actfor.store.transaction import Tx
from actfor.wire.timestamps import to_ms

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
LEASE_SECONDS = 5.0
KEPT = 10_000
"""Rows kept for nodes that were away; one that was away for longer is told to read everything."""

Handler = Callable[[str], Awaitable[None] | None]
"""Given the key of what changed; an empty one means that anything may have. Safe to repeat."""

_LAST = select(func.max(change.c.seq))
_ADD = insert(change).values(
    seq=bindparam("seq"), topic=bindparam("topic"), key=bindparam("key"), at=bindparam("at")
)
_FORGET = delete(change).where(change.c.seq <= bindparam("until"))
_SINCE = "SELECT seq, topic, key FROM store_change WHERE seq > $1 ORDER BY seq LIMIT 1000"
_PULSE = (
    "SELECT (SELECT coalesce(max(seq), 0) FROM store_change),"
    " (SELECT coalesce(min(seq), 0) FROM store_change),"
    " (SELECT epoch FROM store_node WHERE id = $1)"
)
_SEEN = "UPDATE store_node SET seen_at = (extract(epoch FROM now()) * 1000)::bigint WHERE id = $1"
_SEEN_EVERY = 30.0


class Fenced(Exception):  # noqa: N818 - an order to stop, not a malfunction
    """Another node or an operator took this node's right to write; its process must end."""


class Told:
    """The changes of one transaction (a ``Participant``): numbered when it is about to commit."""

    def __init__(self) -> None:
        self._changes: tuple[tuple[str, str], ...] = ()

    def add(self, topic: str, key: str) -> None:
        """Once for each thing, however often it changes in one transaction."""
        if (topic, key) not in self._changes:
            self._changes = (*self._changes, (topic, key))

    def mark(self) -> object:
        """The changes so far."""
        return self._changes

    def rewind(self, mark: object) -> None:
        """Forget those of a unit that was rolled back."""
        assert isinstance(mark, tuple)  # noqa: S101 - our own mark
        self._changes = mark

    def flush(self, tx: Tx) -> None:
        """Write one row for each."""
        if not self._changes:
            return
        row = tx.one(_LAST)
        last = row[0] or 0 if row else 0
        for seq, (topic, key) in enumerate(self._changes, start=last + 1):
            tx.later(_ADD, seq=seq, topic=topic, key=key, at=to_ms(tx.now))
        tx.changed(_FORGET, until=last - KEPT)


@dataclass(frozen=True, slots=True)
class _Beside:
    """Where other nodes' changes come from."""

    location: Location
    node: str


class Feed:
    """Handlers by topic, and the background loop that calls them."""

    def __init__(self, location: Location | None, node: str, watermark: int) -> None:
        """``location`` is None for a database that has this one process."""
        self._beside = None if location is None else _Beside(location, node)
        self._handlers: dict[str, list[Handler]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._local: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._fresh_at = time.monotonic()  # since when we may lack something
        self._seen_at = 0.0
        self.watermark = watermark

    def on(self, topic: str, handler: Handler) -> None:
        """Call this, on the loop that runs ``run``, for each change of a topic.

        Register before ``run``. Beside other nodes, a handler that raises is called again until it
        does not, and the lease runs out meanwhile.
        """
        self._handlers.setdefault(topic, []).append(handler)

    def tell(self, tx: Tx, topic: str, key: str) -> None:
        """Tell every node, in this transaction, that this changed; such a unit is vital."""
        tx.vital = True
        tx.participant(Told, Told).add(topic, key)
        if self._beside is None:
            tx.on_commit(lambda: self._hear(topic, key))

    @property
    def age(self) -> float:
        """Seconds since this node last knew all that was committed; 0 beside no other node."""
        if self._beside is None or self._loop is None:
            return 0.0
        return time.monotonic() - self._fresh_at

    def check_fresh(self) -> None:
        """Refuse where what this node remembers may be out of date.

        Raises:
            Refused: BUSY.
        """
        if self.age > LEASE_SECONDS:
            raise Refused(Kind.BUSY, "this node is cut off from its database")

    async def run(self) -> None:
        """Follow the feed until cancelled.

        Raises:
            Fenced: this node must not go on.
        """
        self._loop = asyncio.get_running_loop()
        if self._beside is None:
            while True:
                topic, key = await self._local.get()
                with suppress(_Failed):
                    await self._call(topic, key)
        self._fresh_at = time.monotonic()
        while True:
            try:
                await self._follow(self._beside)
            except (StorageFailure, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
                logger.warning("the change feed was interrupted: %s", cause)
            except (OSError, TimeoutError) as cause:
                logger.warning("the change feed was interrupted: %s", type(cause).__name__)
            except _Failed:
                pass  # logged; the same changes come again
            await asyncio.sleep(0.2)

    async def _follow(self, beside: _Beside) -> None:
        link = await connect(beside.location)
        changed = asyncio.Event()
        try:
            await link.add_listener(CHANNEL, lambda *_: changed.set())
            link.add_termination_listener(lambda *_: changed.set())
            while True:
                changed.clear()
                await self._catch_up(link, beside.node)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await changed.wait()
        finally:
            link.terminate()

    async def _catch_up(self, link: Any, node: str) -> None:
        """Act on all that was committed before now."""
        asked = time.monotonic()
        last, first, epoch = await link.fetchrow(_PULSE, node)
        if epoch != 1:
            raise Fenced("this node was fenced")
        if first > self.watermark + 1 or last < self.watermark:
            await self._reread(last)
        while self.watermark < last:
            rows = await link.fetch(_SINCE, self.watermark)
            for seq, topic, key in rows:
                await self._call(topic, key)
                self.watermark = seq
            if not rows:  # forgotten or restored between the two questions
                await self._reread(last)
        self._fresh_at = asked
        if asked - self._seen_at > _SEEN_EVERY:
            await link.execute("SET synchronous_commit TO off")  # a heartbeat may be lost
            await link.fetch(_SEEN, node)
            self._seen_at = asked

    async def _reread(self, last: int) -> None:
        logger.warning("this node was away for too many changes; it reads everything anew")
        for topic in self._handlers:
            await self._call(topic, "")
        self.watermark = last

    async def _call(self, topic: str, key: str) -> None:
        for handler in self._handlers.get(topic, ()):
            try:
                answer = handler(key)
                if inspect.isawaitable(answer):
                    await answer
            except Exception as cause:
                logger.exception("a change of %s could not be followed", topic)
                raise _Failed from cause

    def _hear(self, topic: str, key: str) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has closed: the process is ending
                self._loop.call_soon_threadsafe(self._local.put_nowait, (topic, key))


class _Failed(Exception):  # noqa: N818 - carries nothing but that it was logged
    pass
