"""A human's answer to one exact call, usable once.

The states and their only transitions:

    pending -> approved -> consumed
    pending -> denied
    pending | approved -> expired | cancelled
    pending -> cancelled                         by who asked, if that was an enforcement point
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from actfor.approval.model.call import ExactCall, SlotOrigin
from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue, canonical

LIFETIME = timedelta(minutes=10)
"""How long a call may wait for its answer, and an answer for its call."""


class State(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CONSUMED = "consumed"


LIVE = frozenset({State.PENDING, State.APPROVED})


class Answer(StrEnum):
    """What a person may say."""

    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Approval:
    """``digest`` names the exact call the human saw: change a byte, ask again.

    ``assertion`` is the passkey's own answer (WebAuthn JSON), kept so that anyone with the
    public key can verify it again; ``agent_text`` is the agent speaking, never to be believed.
    ``origins`` is where the values of its arguments come from; ``endorsed`` are the pointers of
    those that the approver said are right for their argument from now on. Of one that was
    withdrawn, ``approver`` and ``reason`` are those of who took it back.
    """

    id: str
    digest: str
    expires_at: datetime
    call: ExactCall
    created_at: datetime
    trace: str
    reasons: tuple[str, ...] = ()
    agent_text: str | None = None
    four_eyes: bool = False
    state: State = State.PENDING
    approver: str | None = None
    answered_at: datetime | None = None
    reason: str | None = None
    assertion: JsonObject | None = None
    origins: tuple[SlotOrigin, ...] = ()
    endorsed: tuple[str, ...] = ()

    def at(self, now: datetime) -> Self:
        """The same approval as seen at ``now``: expired if its time has passed."""
        late = self.state in LIVE and now >= self.expires_at
        return replace(self, state=State.EXPIRED) if late else self

    def approve(
        self,
        approver: str,
        assertion: JsonObject,
        now: datetime,
        *,
        endorse: tuple[str, ...] = (),
    ) -> Self:
        """Record a yes. Verifying ``assertion`` is the caller's work (see `challenge`)."""
        seen = self._pending(now)
        self.require_endorsable(endorse)
        return replace(
            seen,
            state=State.APPROVED,
            approver=approver,
            answered_at=now,
            assertion=assertion,
            endorsed=endorse,
        )

    def require_endorsable(self, pointers: Iterable[str]) -> None:
        """Refuse unless each names a value that was shown and may be endorsed.

        Raises:
            Refused: MALFORMED.
        """
        offered = {origin.pointer for origin in self.origins if origin.endorsable}
        for pointer in pointers:
            if pointer not in offered:
                raise Refused(Kind.MALFORMED, "`endorse` names a value that was not offered")

    def deny(self, approver: str, reason: str | None, now: datetime) -> Self:
        """Record a no."""
        seen = self._pending(now)
        return replace(seen, state=State.DENIED, approver=approver, answered_at=now, reason=reason)

    @property
    def withdrawn(self) -> bool:
        """Whether who asked took the question back, before it was answered."""
        return self.state is State.CANCELLED and self.approver is not None

    def withdraw(self, by: str, reason: str | None, now: datetime) -> Self:
        """Take the question back: from now on nobody can say yes.

        Raises:
            Refused: EXPIRED; CONFLICT if it was answered.
        """
        seen = self._pending(now)
        return replace(seen, state=State.CANCELLED, approver=by, answered_at=now, reason=reason)

    def consume(self, digest: str, now: datetime) -> Self:
        """Spend the approval on the call it was given for."""
        seen = self.at(now)
        if seen.state is State.EXPIRED:
            raise Refused(Kind.EXPIRED, "approval has expired")
        if seen.state is State.CONSUMED:
            raise Refused(Kind.REPLAYED, "approval was already used")
        if seen.state is State.CANCELLED:
            why = "who asked took it back" if self.withdrawn else "the agent is no longer trusted"
            raise Refused(Kind.DENIED, f"approval was cancelled: {why}")
        if seen.state is State.DENIED:
            raise Refused(Kind.DENIED, "a person denied this call")
        if seen.state is not State.APPROVED:
            raise Refused(Kind.STEP_UP_REQUIRED, f"approval is {seen.state}")
        if seen.digest != digest:
            raise Refused(Kind.DENIED, "approval was given for a different request")
        return replace(seen, state=State.CONSUMED)

    def _pending(self, now: datetime) -> Self:
        seen = self.at(now)
        if seen.state is State.EXPIRED:
            raise Refused(Kind.EXPIRED, "approval has expired")
        if seen.state is not State.PENDING:
            raise Refused(Kind.CONFLICT, f"approval is already {seen.state}")
        return seen

    def challenge(self, answer: Answer, endorse: tuple[str, ...] = ()) -> bytes:
        """What the passkey signs: SHA-256 over the RFC 8785 bytes of the answer and the call.

        A signature for one approval, one answer and one digest is thus useless for any other; and
        one for this call alone does not endorse a value for later ones.
        """
        said: dict[str, JsonValue] = {
            "approval": self.id,
            "decision": answer.value,
            "digest": self.digest,
        }
        if endorse:
            said["endorse"] = list(endorse)
        return hashlib.sha256(canonical(said)).digest()
