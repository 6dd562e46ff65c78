"""All that a foreign enforcement point may ask: one question, many, or who, what and which.

Questions about agents and tools are decided by the policies in force; questions about a domain's
types by that domain. Every evaluation is in the log before it is answered. A search is not: it
permits nothing, and who acts on a result asks about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from actfor.audit import AuditLog, Event, EventType
from actfor.authorization.model import Decision, to_request
from actfor.authorization.model.domain import Domain
from actfor.authorization.model.facts import ToolEffect
from actfor.authorization.model.foreign import obliged
from actfor.authorization.service.authorization import AuthorizationService
from actfor.authorization.service.foreign import Answer, Gather, Look, found_out
from actfor.authorization.service.pages import Pages
from actfor.errors import Kind, Refused
from actfor.store import Database, new_id
from actfor.wire.authzen import Evaluation
from actfor.wire.authzen_batch import Batch, Semantic
from actfor.wire.authzen_search import MAX_LIMIT, Found, Query, Sought
from actfor.wire.canonical import JsonValue

Population = Callable[[], Awaitable[Iterable[str]]]
"""The ids of all entities of one type."""

_LIMIT = 100
_BREATH = 50
"""Candidates between which other work gets its turn."""
_LOOKED_AT = 2_000
"""Candidates that one request looks at; the page ends there, and the next goes on."""


@dataclass(frozen=True, slots=True)
class Options:
    """``populations`` are the ids of agents and tools that a search looks through, by type.

    Without ``record`` answers are not in the log: see ``AuthorizationService.evaluate``.
    """

    gather: Gather | None = None
    look: Look | None = None
    domains: tuple[Domain, ...] = ()
    populations: Mapping[str, Population] | None = None
    record: bool = True


class Pdp:
    """AuthZEN's decisions."""

    def __init__(
        self,
        authorization: AuthorizationService,
        database: Database,
        audit: AuditLog,
        pages: Pages,
        options: Options | None = None,
    ) -> None:
        self._authorization = authorization
        self._database = database
        self._audit = audit
        self._pages = pages
        self._options = options or Options()

    async def evaluate(self, pep: str, evaluation: Evaluation) -> Answer:
        """One question, answered once it is recorded.

        Raises:
            Refused: MALFORMED for a fact or property of the wrong type; BUSY when the answer could
                not be recorded.
        """
        domain = self._domain(evaluation)
        if domain is None:
            options = self._options
            return await self._authorization.evaluate(
                pep, evaluation, options.gather, record=options.record, look=options.look
            )
        decision = domain.decide(evaluation)
        obligations = tuple(domain.obligations(decision.policies))
        decision = obliged(decision, obligations, evaluation)
        answer = Answer(new_id("dec"), decision, (), obligations)
        if not self._options.record:
            return answer
        event = _event(pep, domain, evaluation, answer)
        await self._database.write(lambda tx: self._audit.append(tx, event))
        return answer

    async def evaluate_all(self, pep: str, batch: Batch) -> list[Answer | Refused]:
        """Many questions; as many answers as the semantic asks for, in their order.

        What is wrong with one question is its answer. What is wrong here (BUSY) is everybody's.
        """
        if batch.semantic is Semantic.ALL:
            return list(await asyncio.gather(*(self._one(pep, item) for item in batch.items)))
        answers: list[Answer | Refused] = []
        for item in batch.items:
            answer = await self._one(pep, item)
            answers.append(answer)
            permitted = isinstance(answer, Answer) and answer.decision.permitted
            if batch.semantic.ends(permitted=permitted):
                break
        return answers

    async def _one(self, pep: str, item: Evaluation | Refused) -> Answer | Refused:
        if isinstance(item, Refused):
            return item
        try:
            return await self.evaluate(pep, item)
        except Refused as refused:
            if refused.kind is Kind.BUSY:
                raise
            return refused

    async def search(self, pep: str, query: Query) -> Found:
        """One page of what would be permitted, in the order of their names.

        Raises:
            Refused: MALFORMED for a page token that does not belong to this question.
        """
        after, before = "", None
        if query.token is not None:
            after, before = self._pages.open(query.token, query.fingerprint)
        limit = min(query.limit or before or _LIMIT, MAX_LIMIT)
        candidates = [name for name in await self._candidates(query) if name > after]
        names: list[str] = []
        for looked, name in enumerate(candidates):
            if len(names) == limit or looked == _LOOKED_AT:
                last = candidates[looked - 1]
                return Found(tuple(names), self._pages.seal(query.fingerprint, last, limit))
            if await self._would_permit(pep, query.about(name)):
                names.append(name)
            if looked % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
        return Found(tuple(names))

    async def _would_permit(self, pep: str, evaluation: Evaluation) -> bool:
        domain = self._domain(evaluation)
        if domain is not None:
            return domain.decide(evaluation).permitted
        options = self._options
        _, facts, refusal = await found_out(pep, evaluation, options.gather, options.look)
        if refusal is not None:
            return False
        return self._authorization.decide(to_request(facts)).permitted

    async def _candidates(self, query: Query) -> list[str]:
        """The known names of what is sought; none where a type is unknown (c-4-6-2)."""
        asked = query.evaluation
        domain = self._domain(asked)
        if query.sought is Sought.ACTION:
            if domain is not None:
                known = (asked.subject.type, asked.subject.id) in domain.known
                return sorted(domain.actions) if known else []
            return sorted(effect.value for effect in ToolEffect)
        if domain is not None:
            return domain.ids(query.type)
        population = (self._options.populations or {}).get(query.type)
        return [] if population is None else sorted(set(await population()))

    def _domain(self, evaluation: Evaluation) -> Domain | None:
        for domain in self._options.domains:
            if domain.asks_about(evaluation):
                return domain
        return None


def _event(pep: str, domain: Domain, evaluation: Evaluation, answer: Answer) -> Event:
    decision: Decision = answer.decision
    leaf: dict[str, JsonValue] = {
        "via": "authzen",
        "domain": domain.name,
        "subject_type": evaluation.subject.type,
        "resource": f"{evaluation.resource.type}:{evaluation.resource.id}",
        "effect": evaluation.action.name,
        **decision.facts(),
    }
    # Who it is about may be a person: a commitment. With the whole question, so that it can be
    # decided again.
    private: dict[str, JsonValue] = {
        "subject": evaluation.subject.id,
        "properties": {
            "subject": dict(evaluation.subject.properties),
            "action": dict(evaluation.action.properties),
            "resource": dict(evaluation.resource.properties),
        },
        "context": dict(evaluation.context),
        "reasons": list(decision.reasons),
    }
    return Event(EventType.DECIDE, answer.id, leaf, private, {pep: {"pep": pep}})


__all__ = ["Options", "Pages", "Pdp", "Population"]
