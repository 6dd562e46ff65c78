"""The seam: a checkpoint and a way to prove consistency go in, cosignature lines come out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

Prove = Callable[[int, int], Awaitable[list[bytes]]]
"""The consistency proof between two sizes of our signed tree."""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The note that was cosigned, and the verified lines to add to it."""

    note: str
    lines: tuple[str, ...]


class NotCosigned(Exception):  # noqa: N818 - a state of the world, not a malfunction
    """Not now: unreachable, or not configured to know us. ``str`` of it may be shown."""


class Misfit(Exception):  # noqa: N818 - a state of the world, not a malfunction
    """The witness saw a log of ours that this one does not continue.

    ``ahead`` is the size it saw where it saw more entries than we asked about: another node of ours
    may have asked for them.
    """

    def __init__(self, detail: str, ahead: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.ahead = ahead


class Witness(Protocol):
    """One witness. Asked by one loop at a time, never in a request's path."""

    @property
    def name(self) -> str:
        """Its name in the policy."""
        ...

    @property
    def pending(self) -> int | None:
        """The size it was asked about and has not answered yet, if it takes its time."""
        ...

    async def cosign(self, note: str, prove: Prove) -> Cosigned | None:
        """Ask for this note, or fetch the answer for an earlier one; None if there is none yet.

        Raises:
            NotCosigned: it did not; ask again later.
            Misfit: it cannot, for what it saw before is not a beginning of our log.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
