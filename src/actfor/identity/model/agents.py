"""An agent: a registered workload with an accountable owner, known by one SPIFFE ID for ever.

    registered -> active                          by attestation
    registered | active -> invalidated            measurement no longer matches; by the server
    any but retired     -> quarantined            by a person
    invalidated | quarantined -> registered       by an admin (reinstate, or new reference values)
    any -> retired                                for good; the name is never given out again

Every step that takes authority away raises ``epoch``. A decision is recorded only if the epoch
its token was issued under is still the current one, so nothing issued before outlives the step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from actfor.errors import Kind, Refused
from actfor.identity.model.manifest import Component, ModelRef, Reference
from actfor.wire.canonical import digest
from actfor.wire.spiffe import SpiffeId

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class Tier(StrEnum):
    """How much harm the agent could do, as its owner sees it. Policy reads it."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class AgentState(StrEnum):
    """Where an agent stands. Only ``active`` may act."""

    REGISTERED = "registered"
    ACTIVE = "active"
    INVALIDATED = "invalidated"
    QUARANTINED = "quarantined"
    RETIRED = "retired"


def parse_name(name: str) -> str:
    """One ASCII SPIFFE path segment, ``[a-z0-9][a-z0-9._-]{0,62}``; nothing that resembles it."""
    if not _NAME.fullmatch(name):
        raise Refused(
            Kind.MALFORMED,
            f"agent name {name[:80]!a} is not 1 to 63 of a-z 0-9 . _ - starting with a-z or 0-9",
        )
    return name


def skeleton(name: str) -> str:
    """What a hurried reader sees (after UTS #39 §4, its ASCII part); two names may not share it."""
    seen = name.replace("rn", "m").replace("vv", "w")
    return seen.translate(str.maketrans("01._", "ol--"))


def parse_text(label: str, value: str, limit: int) -> str:
    """A line a person wrote: present, printable, at most ``limit`` characters."""
    text = value.strip()
    if not text:
        raise Refused(Kind.MALFORMED, f"an agent needs a {label}")
    if len(text) > limit or not text.isprintable():
        raise Refused(Kind.MALFORMED, f"{label} must be at most {limit} printable characters")
    return text


@dataclass(frozen=True, slots=True)
class Wanted:
    """A component as the owner gives it: a digest is taken as given, a path alone is measured."""

    path: str | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        if self.path is None and self.digest is None:
            raise Refused(Kind.MALFORMED, "a component needs a path or a digest")

    def component(self, measured: str | None) -> Component:
        """The reference value, given what the server measured at the path (None: not measured)."""
        known = self.digest if self.digest is not None else measured
        if known is None:
            raise Refused(Kind.MALFORMED, f"nothing could be measured at `{self.path}`")
        return Component(known, self.path)


@dataclass(frozen=True, slots=True)
class ReferenceDraft:
    """Reference values before they were measured. ``code`` and ``executable`` need a path."""

    code: Wanted
    executable: Wanted
    model: ModelRef | None = None
    image: str | None = None
    prompt: Wanted | None = None
    tools: Wanted | None = None


@dataclass(frozen=True, slots=True)
class AgentDraft:
    """What an owner asks to register."""

    name: str
    purpose: str
    tier: Tier
    reference: ReferenceDraft


_NEVER_RAN: Final = {AgentState.REGISTERED: ": it was never attested; `actfor run` starts it"}
"""What to do about a state that nobody caused."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent. ``owner`` is a person's id; ``cause`` says why it may not act, if so."""

    name: str
    id: SpiffeId
    owner: str
    purpose: str
    tier: Tier
    state: AgentState
    epoch: int
    reference: Reference
    manifest_digest: str
    created_at: datetime
    cause: str | None = None

    @property
    def code_root(self) -> str:
        """The absolute path of the code tree."""
        return self.reference.code_root

    @classmethod
    def register(
        cls,
        draft: AgentDraft,
        *,
        owner: str,
        agent_id: SpiffeId,
        reference: Reference,
        now: datetime,
    ) -> Self:
        """A new agent; it may act once it has been attested."""
        return cls(
            name=parse_name(draft.name),
            id=agent_id,
            owner=owner,
            purpose=parse_text("purpose", draft.purpose, 500),
            tier=draft.tier,
            state=AgentState.REGISTERED,
            epoch=1,
            reference=reference,
            manifest_digest=digest(reference.manifest(str(agent_id))),
            created_at=now,
        )

    def require_attestable(self) -> None:
        """Refuse an agent that was taken out of service: a person must look at it first."""
        if self.state not in {AgentState.REGISTERED, AgentState.ACTIVE}:
            raise Refused(Kind.DENIED, f"agent `{self.name}` is {self.state}: {self.cause}")

    def require_live(self, epoch: int | None = None) -> None:
        """Refuse unless the agent may act now (and, with ``epoch``, could do so ever since)."""
        if self.state is not AgentState.ACTIVE:
            why = f": {self.cause}" if self.cause else _NEVER_RAN.get(self.state, "")
            raise Refused(Kind.DENIED, f"agent `{self.name}` is {self.state}{why}")
        if epoch is not None and epoch != self.epoch:
            raise Refused(
                Kind.DENIED, f"agent `{self.name}` was invalidated since the token was issued"
            )

    def activate(self) -> Self:
        """Attestation succeeded."""
        self.require_attestable()
        return replace(self, state=AgentState.ACTIVE, cause=None)

    def invalidate(self, cause: str) -> Self:
        """What runs is no longer what was registered."""
        if self.state not in {AgentState.REGISTERED, AgentState.ACTIVE}:
            raise Refused(Kind.CONFLICT, f"agent `{self.name}` is already {self.state}")
        return self._leave(AgentState.INVALIDATED, cause)

    def quarantine(self, cause: str) -> Self:
        """A person takes the agent out of service, for now."""
        if self.state in {AgentState.QUARANTINED, AgentState.RETIRED}:
            raise Refused(Kind.CONFLICT, f"agent `{self.name}` is already {self.state}")
        return self._leave(AgentState.QUARANTINED, parse_text("reason", cause, 500))

    def retire(self, cause: str) -> Self:
        """A person takes the agent out of service for good."""
        if self.state is AgentState.RETIRED:
            raise Refused(Kind.CONFLICT, f"agent `{self.name}` is already retired")
        return self._leave(AgentState.RETIRED, parse_text("reason", cause, 500))

    def reinstate(self) -> Self:
        """An admin trusts the same reference values again; the agent must attest anew."""
        if self.state not in {AgentState.INVALIDATED, AgentState.QUARANTINED}:
            raise Refused(
                Kind.CONFLICT, f"agent `{self.name}` is {self.state}; nothing to reinstate"
            )
        return self._leave(AgentState.REGISTERED, None)

    def with_reference(self, reference: Reference) -> Self:
        """An admin accepts new reference values: a new manifest, and attestation anew."""
        if self.state is AgentState.RETIRED:
            raise Refused(Kind.CONFLICT, f"agent `{self.name}` is retired")
        kept = self.state is AgentState.QUARANTINED
        left = self._leave(
            self.state if kept else AgentState.REGISTERED, self.cause if kept else None
        )
        digest_ = digest(reference.manifest(str(self.id)))
        return replace(left, reference=reference, manifest_digest=digest_)

    def _leave(self, state: AgentState, cause: str | None) -> Self:
        return replace(self, state=state, cause=cause, epoch=self.epoch + 1)
