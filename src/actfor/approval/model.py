"""A human's answer to one exact call, usable once.

The states and their only transitions:

    pending -> approved -> consumed
    pending -> denied
    pending | approved -> expired | cancelled
    pending -> cancelled                         by who asked, if that was an enforcement point

INVARIANT: an approval is found, shown, answered and spent by one digest, SHA-256 over the
RFC 8785 bytes of the whole call. Change a byte of the call and there is no approval.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue, canonical, digest

LIFETIME = timedelta(minutes=10)
"""How long a call may wait for its answer, and an answer for its call."""

MAX_PENDING = 5
"""Questions one agent may have open with one person at a time (against approval fatigue)."""

COOLDOWN = timedelta(minutes=10)
"""How long a denied call cannot be asked about again, and what `MAX_DENIALS` counts over."""

MAX_DENIALS = 3
"""Denials within `COOLDOWN` after which the agent may not ask this person anything."""

APPROVER_ROLES = frozenset({"approver", "admin"})


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
class ExactCall:
    """All that a person approves, to the byte. ``agent`` and ``chain`` are SPIFFE IDs as text; the
    chain begins with who acts now and ends with whom the person sent.

    ``arguments`` are the JSON the upstream would receive. ``tool_digest`` names the tool's
    definition, ``policy_version`` the rules that asked, ``manifest`` the agent's measured build.
    ``enforced_by`` is the account of the foreign enforcement point that would let the call through,
    and it alone; empty where our own gateway does.
    """

    agent: str
    chain: tuple[str, ...]
    person_id: str
    mandate_id: str
    server: str
    tool: str
    tool_digest: str
    arguments: JsonObject
    arguments_digest: str
    policy_version: str
    effect: str
    manifest: str = ""
    enforced_by: str = ""

    def to_json(self) -> JsonObject:
        """Every member, so that nothing about the call is outside the digest."""
        return {
            **({"enforced_by": self.enforced_by} if self.enforced_by else {}),
            "agent": self.agent,
            "chain": list(self.chain),
            "person": self.person_id,
            "mandate": self.mandate_id,
            "server": self.server,
            "tool": self.tool,
            "tool_digest": self.tool_digest,
            "arguments": self.arguments,
            "arguments_digest": self.arguments_digest,
            "policy_version": self.policy_version,
            "effect": self.effect,
            "manifest": self.manifest,
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote. ``value`` is our own record, not a stranger's."""
        arguments, chain = value["arguments"], value["chain"]
        if not isinstance(arguments, Mapping) or not isinstance(chain, list | tuple):
            raise ValueError("a stored call has lost its shape")  # noqa: TRY004 - our own record
        return cls(
            agent=_text(value, "agent"),
            chain=tuple(str(link) for link in chain),
            person_id=_text(value, "person"),
            mandate_id=_text(value, "mandate"),
            server=_text(value, "server"),
            tool=_text(value, "tool"),
            tool_digest=_text(value, "tool_digest"),
            arguments=arguments,
            arguments_digest=_text(value, "arguments_digest"),
            policy_version=_text(value, "policy_version"),
            effect=_text(value, "effect"),
            manifest=_text(value, "manifest"),
            enforced_by=_text(value, "enforced_by") if "enforced_by" in value else "",
        )

    @property
    def digest(self) -> str:
        """``sha-256:`` and base64url of the hash over the RFC 8785 bytes of the whole call."""
        return digest(self.to_json())


def acts_in(call: ExactCall, agent: str) -> bool:
    """Whether the agent, or an instance of it (a path below its SPIFFE ID), acts in the call."""
    below = f"{agent}/"
    return any(actor == agent or actor.startswith(below) for actor in (call.agent, *call.chain))


def _text(value: JsonObject, name: str) -> str:
    member: JsonValue = value[name]
    if not isinstance(member, str):
        raise ValueError(f"a stored call has no text in {name}")  # noqa: TRY004 - our own record
    return member


@dataclass(frozen=True, slots=True)
class SlotOrigin:
    """Where the value of one argument comes from, as the server found it when it asked.

    ``pointer`` names the value among the arguments, ``slot`` the argument whatever the place in a
    list. ``label`` is whose words it is, ``how`` how that was found; ``source`` is the tool that
    returned it, ``field`` where in its answer, ``author`` who wrote it. ``endorsable`` is whether a
    person may say that this value is right for this argument from now on.
    """

    pointer: str
    slot: str
    value: str
    label: str
    how: str
    source: str = ""
    field: str = ""
    author: str = ""
    endorsable: bool = False

    def to_json(self) -> JsonObject:
        """As it is stored and shown."""
        return {name: getattr(self, name) for name in _ORIGIN}

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote. ``value`` is our own record, not a stranger's."""
        texts = {name: _text(value, name) for name in _ORIGIN if name != "endorsable"}
        return cls(**texts, endorsable=value["endorsable"] is True)


_ORIGIN = (
    "pointer", "slot", "value", "label", "how", "source", "field", "author", "endorsable",
)  # fmt: skip


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


def check_may_answer(
    approval: Approval, answer: Answer, *, person_id: str, roles: frozenset[str], active: bool
) -> None:
    """Who may say it. Only people come here: an agent has no path to an answer at all.

    - Nobody who is suspended, and nobody who is an actor of the call.
    - The mandate's person may always say no; with `four_eyes` they may not say yes.
    - Anyone else needs the role approver or admin.
    """
    call = approval.call
    if not active:
        raise Refused(Kind.DENIED, "this person is suspended")
    if acts_in(call, person_id):
        raise Refused(Kind.DENIED, "whoever acts in a call cannot approve it")
    if person_id == call.person_id:
        if approval.four_eyes and answer is Answer.APPROVE:
            raise Refused(Kind.DENIED, "this mandate needs a second person to approve")
        return
    if not roles & APPROVER_ROLES:
        raise Refused(Kind.DENIED, "approving needs the role `approver`")


@dataclass(frozen=True, slots=True)
class Recent:
    """What one agent has asked one person lately: the facts `check_not_flooding` judges."""

    pending: int
    denials: tuple[datetime, ...] = ()
    same_call_denied_at: datetime | None = None


def check_not_flooding(recent: Recent, now: datetime) -> None:
    """Refuse to ask again when asking has become pressure (MFA fatigue)."""
    again = recent.same_call_denied_at
    if again is not None and now < again + COOLDOWN:
        raise Refused(Kind.DENIED, f"a person denied this exact call {_ago(again, now)}")
    if len(_within(recent.denials, now)) >= MAX_DENIALS:
        raise Refused(Kind.DENIED, f"{MAX_DENIALS} denials in a row: the agent must pause")
    if recent.pending >= MAX_PENDING:
        raise Refused(Kind.DENIED, "too many approvals pending")


def _within(denials: Iterable[datetime], now: datetime) -> list[datetime]:
    return [at for at in denials if now < at + COOLDOWN]


def _ago(then: datetime, now: datetime) -> str:
    seconds = max(0, int((now - then).total_seconds()))
    return f"{seconds} s ago" if seconds < 60 else f"{seconds // 60} min ago"
