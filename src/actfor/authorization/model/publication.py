"""A policy set put in force, and one that is proposed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from actfor.errors import Kind, Refused

PROPOSAL_LIFETIME = timedelta(days=7)
"""After that a proposal cannot be approved: who read it then has forgotten it."""


@dataclass(frozen=True, slots=True)
class Publication:
    """The ``seq``-th publication. ``author`` is a person's id, or ``system``.

    ``cause`` is ``published``, ``approved``, ``rolled back to N``, ``default pack``, ``pack NAME``,
    or ``schema changed`` (a new release reads the same text by a new schema). ``approver`` is the
    second person where two were needed. ``note`` is the author's why.
    """

    seq: int
    version: str
    author: str
    cause: str
    published_at: datetime
    approver: str | None = None
    note: str = ""


class ProposalState(StrEnum):
    """``OPEN`` turns into one of the next three, once. The last two are never stored: they are
    what an open one is seen as that cannot be approved any more.
    """

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    OVERTAKEN = "overtaken"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy text that waits for a second administrator.

    ``replaces`` is the version that was in force when it was made: what its difference is to.
    """

    id: str
    version: str
    replaces: str
    author: str
    cause: str
    note: str
    created_at: datetime
    state: ProposalState = ProposalState.OPEN
    settled_by: str | None = None
    settled_at: datetime | None = None

    @property
    def expires_at(self) -> datetime:
        """The end of its time to be approved."""
        return self.created_at + PROPOSAL_LIFETIME

    def seen(self, in_force: str, now: datetime) -> Self:
        """As a reader sees it: whether it still waits for anybody."""
        if self.state is not ProposalState.OPEN:
            return self
        if now >= self.expires_at:
            return replace(self, state=ProposalState.EXPIRED)
        return self if in_force == self.replaces else replace(self, state=ProposalState.OVERTAKEN)

    def approve(self, person: str, in_force: str, now: datetime) -> Self:
        """The proposal as ``person`` approved it.

        Raises:
            Refused: DENIED for its own author; CONFLICT when it is settled, or made against
                another version than the one in force; EXPIRED.
        """
        self._require_open()
        if person == self.author:
            raise Refused(Kind.DENIED, "who proposed a policy change cannot approve it as well")
        if now >= self.expires_at:
            raise Refused(Kind.EXPIRED, "the proposal is older than 7 days, propose it again")
        if in_force != self.replaces:
            raise Refused(
                Kind.CONFLICT, "other policies came into force meanwhile, propose the change again"
            )
        return replace(self, state=ProposalState.APPROVED, settled_by=person, settled_at=now)

    def close(self, person: str, now: datetime) -> Self:
        """The proposal as somebody said no to it: its author withdraws it, others reject it.

        Raises:
            Refused: CONFLICT when it is settled already.
        """
        self._require_open()
        mine = person == self.author
        state = ProposalState.WITHDRAWN if mine else ProposalState.REJECTED
        return replace(self, state=state, settled_by=person, settled_at=now)

    def _require_open(self) -> None:
        if self.state is not ProposalState.OPEN:
            raise Refused(Kind.CONFLICT, f"the proposal is {self.state} already")
