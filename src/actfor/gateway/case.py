"""One call with everything that was found out about it on its way down the line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from actfor.approval import Approval
from actfor.authorization.model import CallFacts
from actfor.delegation import Delegation
from actfor.gateway.calls import Attempt
from actfor.gateway.effects import Judged
from actfor.gateway.model import Tool
from actfor.gateway.shelf import Governed
from actfor.wire.canonical import digest


@dataclass(slots=True)
class Caller:
    """Who calls one server, as `Enforcer.authenticate` found proved. There is no other way to one.

    ``proof`` names its DPoP proof, which is taken once, by whatever request it came with; ``spent``
    is whether that has happened.
    """

    server: str
    delegation: Delegation
    proof: str
    spent: bool = False

    @property
    def principal(self) -> str:
        """The digest of person and agent: to whom sessions and request states belong."""
        return digest({"person": self.delegation.person_id, "agent": str(self.delegation.agent)})


@dataclass(frozen=True, slots=True)
class Case:
    """A call to a known tool, its effect judged, its facts gathered."""

    trace: str
    caller: Caller
    attempt: Attempt
    governed: Governed
    tool: Tool
    judged: Judged
    arguments_digest: str
    grant_index: int | None
    facts: CallFacts

    @property
    def scope(self) -> str:
        """The coarse name of what the call would need, as tokens carry it (``Authority.scope``)."""
        return f"{self.attempt.server}:{self.judged.effect}"

    def approved(self, approval: Approval) -> Self:
        """The case as it is decided again; its records join those of the question."""
        return replace(self, trace=approval.trace, facts=replace(self.facts, approved=True))
