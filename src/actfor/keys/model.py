"""A key's life, and when the next step of it is due. Pure; ``now`` is given.

    pending ── published, not used yet ──> active ── signs ──> retiring ── only verifies ──> dead
       └──────────────────────── an emergency ends any of them at once ──────────────────────┘

INVARIANT: at most one key of a purpose is active; none is active that was not published for
``publish_ahead`` before, except where there was no other (first start, emergency); none is dead
before ``overlap`` has passed since it last signed, except by an emergency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from actfor.errors import Kind, Refused


class Purpose(StrEnum):
    """What a key is for. No key has two purposes. The values stand in leaves and rows."""

    ACCESS_TOKEN = "access-token"  # noqa: S105 - a purpose's name
    SVID = "svid"
    SEAL = "seal"
    LOG = "log"
    LOG_POST_QUANTUM = "log-ml-dsa-44"


FIXED: Final = frozenset({Purpose.LOG, Purpose.LOG_POST_QUANTUM})
"""Our choice: another log key is another log, which `recover` starts, not a rotation. C2SP would
allow one (tlog-checkpoint: unknown signatures are ignored); see docs/security/keys.md."""

LEEWAY: Final = timedelta(minutes=5)
"""How far the clocks of those who verify may be from ours."""


class KeyState(StrEnum):
    """Where a key stands. Only `active` signs; `pending`, `active`, `retiring` are published."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRING = "retiring"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Key:
    """One key as its row says. ``kid`` is the RFC 7638 thumbprint of a public key.

    ``since`` is when it came into its state; ``rotate_at`` when a successor should take over.
    """

    kid: str
    purpose: Purpose
    state: KeyState
    created_at: datetime
    since: datetime
    rotate_at: datetime | None = None
    cause: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether what it signed is still accepted."""
        return self.state is not KeyState.DEAD

    def moved(self, to: KeyState, now: datetime, *, rotate_at: datetime | None = None) -> Self:
        """The key one step on.

        Raises:
            Refused: CONFLICT for a step that there is not.
        """
        if (self.state, to) not in _STEPS:
            raise Refused(Kind.CONFLICT, f"a key that is {self.state} does not become {to}")
        return replace(self, state=to, since=now, rotate_at=rotate_at)

    def killed(self, cause: str, now: datetime) -> Self:
        """The key, dead at once.

        Raises:
            Refused: CONFLICT if it is dead already.
        """
        if not self.is_live:
            raise Refused(Kind.CONFLICT, "the key is dead already")
        return replace(self, state=KeyState.DEAD, since=now, rotate_at=None, cause=cause)


_STEPS: Final = {
    (KeyState.PENDING, KeyState.ACTIVE),
    (KeyState.ACTIVE, KeyState.RETIRING),
    (KeyState.RETIRING, KeyState.DEAD),
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long each part of a key's life takes.

    ``publish_ahead`` is at least twice what verifiers may cache our JWK Set for; ``overlap`` at
    least the longest life of what the key signs, and ``LEEWAY``.
    """

    rotate_every: timedelta = timedelta(days=30)
    publish_ahead: timedelta = timedelta(days=1)
    overlap: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        if self.publish_ahead >= self.rotate_every or self.overlap < timedelta(0):
            raise Refused(
                Kind.MALFORMED, "a key must be used for longer than it is published ahead"
            )


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: make a key in state ``to`` (``key`` is None), or move a key there."""

    purpose: Purpose
    key: Key | None
    to: KeyState


def due(purpose: Purpose, keys: Sequence[Key], schedule: Schedule, now: datetime) -> list[Step]:
    """What is to be done now, in order; empty when nothing is.

    ``keys`` are all keys of the purpose. A clock that steps back makes nothing due.
    """
    active = next((key for key in keys if key.state is KeyState.ACTIVE), None)
    pending = next((key for key in keys if key.state is KeyState.PENDING), None)
    if active is None:
        # Nothing signs: better a key that few have fetched than none.
        return [Step(purpose, pending, KeyState.ACTIVE)]
    if purpose in FIXED:
        return []
    steps = [
        Step(purpose, key, KeyState.DEAD)
        for key in keys
        if key.state is KeyState.RETIRING and now - key.since >= schedule.overlap
    ]
    wanted = active.rotate_at if active.rotate_at is not None else now
    if pending is None:
        if wanted - now <= schedule.publish_ahead:
            steps.append(Step(purpose, None, KeyState.PENDING))
    elif now >= wanted and now - pending.since >= schedule.publish_ahead:
        steps.append(Step(purpose, active, KeyState.RETIRING))
        steps.append(Step(purpose, pending, KeyState.ACTIVE))
    return steps


@dataclass(frozen=True, slots=True)
class Change:
    """A step in a key's life as the log tells it. ``revoked``: what it signed counts no more."""

    key: Key
    by: str | None = None

    @property
    def revoked(self) -> bool:
        """Whether a person or an emergency ended it, rather than its age."""
        return self.key.state is KeyState.DEAD and self.key.cause is not None


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """Every data key is wrapped by a new root key, and that by the KEK of this id."""

    kek: str
    data_keys: int
    by: str
