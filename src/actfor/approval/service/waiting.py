"""Who waits for which approval, and what wakes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from actfor.approval.model import Approval, State
from actfor.store import Tx

MAX_WAIT = 45.0
"""Seconds a call may be held open; longer and clients or proxies give up first."""

_POLL = 2.0  # another process may write the answer; its commit wakes nobody here


class Waiting:
    """Owned by the event loop."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}

    async def until_answered(
        self, approval_id: str, seconds: float, look: Callable[[str], Awaitable[Approval]]
    ) -> Approval:
        """What ``look`` finds once it is answered, or after ``seconds`` (at most ``MAX_WAIT``)."""
        until = asyncio.get_running_loop().time() + min(max(seconds, 0.0), MAX_WAIT)
        woken = asyncio.Event()
        self._events.setdefault(approval_id, set()).add(woken)
        try:
            while True:
                woken.clear()
                seen = await look(approval_id)
                left = until - asyncio.get_running_loop().time()
                if seen.state is not State.PENDING or left <= 0:
                    return seen
                await _either(woken, min(left, _POLL))
        finally:
            self._forget(approval_id, woken)

    def wake_on_commit(self, tx: Tx, approval_id: str) -> None:
        """Whoever waits for it looks again once this is durable."""
        tx.on_commit(lambda: self.wake(approval_id))

    def wake(self, approval_id: str) -> None:
        """Whoever waits for this approval (for any, if empty) looks again."""
        for one in [approval_id] if approval_id else list(self._events):
            for woken in self._events.get(one, ()):
                woken.set()

    def __len__(self) -> int:
        return len(self._events)

    def _forget(self, approval_id: str, woken: asyncio.Event) -> None:
        others = self._events[approval_id]
        others.discard(woken)
        if not others:
            del self._events[approval_id]


async def _either(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return
