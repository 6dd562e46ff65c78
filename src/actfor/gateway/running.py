"""Calls on their way to an upstream, and how a revocation ends them.

The decision stands in the log before a call runs; this is about the time after it. A call whose
agent, person, mandate, grant or tool was taken back while it ran is not waited for any longer: the
connection is let go, and the outcome is recorded as unknown, because the upstream may have acted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from actfor.audit import Revocable
from actfor.gateway.case import Case

_Authority = tuple[str, str]
T = TypeVar("T")


class Ended(Exception):  # noqa: N818 - an order, not a malfunction
    """The call was ended; its text is safe to show to the caller."""


class Running:
    """Owned by the event loop."""

    def __init__(self) -> None:
        self._calls: dict[_Authority, set[asyncio.Timeout]] = {}

    async def while_permitted(self, case: Case, call: Awaitable[T]) -> T:
        """The answer of ``call``, unless what permits it is taken back meanwhile.

        Raises:
            Ended: it was.
        """
        authorities = _authorities(case)
        scope = asyncio.timeout(None)
        for one in authorities:
            self._calls.setdefault(one, set()).add(scope)
        try:
            async with scope:
                return await call
        except TimeoutError:
            if not scope.expired():  # somebody else's timeout
                raise
            raise Ended("what permitted this call was revoked while it ran") from None
        finally:
            for one in authorities:
                others = self._calls[one]
                others.discard(scope)
                if not others:
                    del self._calls[one]

    def end(self, kind: str, key: str) -> None:
        """End every call under this authority; all of them where ``key`` is empty or everything."""
        for (of, name), scopes in list(self._calls.items()):
            if kind == Revocable.EVERYTHING or (of == kind and key in {"", name}):
                for scope in scopes:
                    if not scope.expired():
                        scope.reschedule(asyncio.get_running_loop().time())


def _authorities(case: Case) -> tuple[_Authority, ...]:
    """All that the permit depends on, as its leaf names it."""
    by = [
        (kind, id_)
        for kind, ids in case.caller.delegation.epochs.items()
        for id_ in (ids if isinstance(ids, dict) else ())
    ]
    return (*by, (Revocable.TOOL.value, f"{case.attempt.server}/{case.tool.name}"))
