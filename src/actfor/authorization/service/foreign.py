"""A foreign enforcement point's question: what it names, what is found out, what is recorded.

``AuthorizationService.evaluate`` answers it. What only the server may say is dropped from what the
caller said; what the server knows of a call under a mandate is looked up by others (``Looked``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from actfor.audit import Event, EventType
from actfor.authorization.model import Decision, Request
from actfor.authorization.model.facts import CallFacts
from actfor.authorization.model.foreign import facts_for, stranger, unknown
from actfor.errors import Kind, Refused
from actfor.store import Tx
from actfor.wire.authzen import Evaluation
from actfor.wire.canonical import JsonObject, JsonValue

Gather = Callable[[str, Evaluation], Awaitable[CallFacts]]
"""The server's facts about a foreign PEP's question; raises Refused to deny it with a reason."""


@dataclass(frozen=True, slots=True)
class Approved:
    """A person's yes to exactly this call, not yet spent."""

    id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Unapproved:
    """Why an approval that a PEP names does not help (ARAP: reason and next action)."""

    reason: str
    next_action: str
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """Under which mandate, whose, and with which arguments; it stands in the record.

    ``provenance`` is what the PEP said about where they come from, None for nothing; ``believed``
    whether that could loosen. ``ignored`` are members of the question that were not taken as said.
    ``chain`` are the actors that a token shows, who acts first; empty if the question has none.
    """

    mandate: str
    person: str
    arguments: JsonObject
    provenance: JsonValue = None
    believed: bool = False
    ignored: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()


class Looked(Protocol):
    """A foreign PEP's question about a call under a mandate, looked up in our own records."""

    @property
    def facts(self) -> CallFacts:
        """All that is known of it."""
        ...

    @property
    def named(self) -> Named:
        """What the question names beyond who, what and on which tool."""
        ...

    @property
    def template(self) -> str:
        """Who would be asked to permit it (ARAP ``template``)."""
        ...

    async def approval(self, version: str) -> Approved | Unapproved | None:
        """The approval that the question names, under these policies; None if it names none."""
        ...

    def check(self, tx: Tx, approved: Approved | None) -> JsonObject:
        """Refuse, in the recording transaction, what was taken back meanwhile; spend the approval.

        Gives what the record says beyond the decision: mandate, epochs, approval.
        """
        ...


Look = Callable[[str, Evaluation], Awaitable[Looked | None]]
"""Look a question up; None if it names no mandate. Raises Refused to deny it with a reason."""


class Answer(NamedTuple):
    """What a foreign PEP is told: a decision that is already in the log under ``id``."""

    id: str
    decision: Decision
    ignored: tuple[str, ...]
    obligations: tuple[JsonObject, ...] = ()
    """What its sender must also do (AuthZEN obligations profile)."""
    unapproved: Unapproved | None = None
    template: str = ""
    """Who may be asked to permit it (ARAP ``template``); empty where nobody may."""


async def found_out(
    pep: str, evaluation: Evaluation, gather: Gather | None, look: Look | None
) -> tuple[Looked | None, CallFacts, str | None]:
    """What is known of a question, its facts, and why no policy needs to be asked.

    That is a question about something unknown, or what the server refuses to know more about (a
    revoked agent, an expired mandate).
    """
    looked, known, refusal = None, None, unknown(evaluation)
    if refusal is None:
        try:
            looked = None if look is None else await look(pep, evaluation)
            if looked is not None:
                known = looked.facts
            elif gather is not None:
                known = await gather(pep, evaluation)
        except Refused as refused:
            if refused.kind in {Kind.BUSY, Kind.MALFORMED}:
                raise
            refusal = refused.detail
    return looked, facts_for(pep, evaluation, known or stranger(evaluation)), refusal


def asked(
    pep: str,
    evaluation: Evaluation,
    request: Request,
    answer: Answer,
    named: Named | None,
    *,
    refused: bool,
) -> Event:
    """The leaf of one question and its answer. ``refused``: no policy was asked."""
    leaf: dict[str, JsonValue] = {
        "via": "authzen",
        "effect": evaluation.action.name,
        **answer.decision.facts(),
    }
    if answer.ignored:
        leaf["ignored"] = list(answer.ignored)
    if refused:
        leaf["stage"] = "facts"  # no policy was asked
    # The whole question as it was decided, so that it can be decided again from the record.
    private: dict[str, JsonValue] = {
        "context": dict(request.context),
        "reasons": list(answer.decision.reasons),
    }
    if named is not None:
        leaf["mandate"] = named.mandate
        if named.chain:
            leaf["chain"] = list(named.chain)
        private |= {"person": named.person, "arguments": named.arguments}
        if named.provenance is not None:
            leaf["provenance"] = "believed" if named.believed else "told"
            private["provenance"] = named.provenance
    # Agents and tools stand in clear; what else a foreign system asks about may be a person.
    ours = evaluation.subject.id.startswith("spiffe://")
    (leaf if ours else private).update(
        {"agent": evaluation.subject.id, "resource": evaluation.resource.id}
    )
    # Who asks is an administrator's account, which may be erased without what was asked.
    return Event(EventType.DECIDE, answer.id, leaf, private, {pep: {"pep": pep}})
