"""AuthZEN access requests (ARAP Draft 1): ask a person to permit what was denied.

    denial with `access_request` → POST a request → task → a person answers → evaluate again

The task is an approval of ours: for one exact question, answered with a passkey, spent by the
permit that follows. Its id opens nothing by itself. Only the enforcement point that was denied may
ask, and only about the question that it was denied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from actfor.approval import Approval, ApprovalService
from actfor.audit import AuditLog, EventType, LoggedEvent
from actfor.authorization.model import Effect, to_request
from actfor.authorization.model.foreign import facts_for
from actfor.authorization.service import AuthorizationService
from actfor.errors import Kind, Refused
from actfor.gateway.foreign import APPROVAL, ARGUMENTS, MANDATE, ForeignCalls
from actfor.wire import authzen
from actfor.wire.authzen import Evaluation
from actfor.wire.authzen_access import DENIAL_LIFE, ProblemType
from actfor.wire.canonical import JsonObject, JsonValue, digest

Refusal = tuple[ProblemType, str]


class AccessRequests:
    """The service behind the endpoint."""

    def __init__(
        self,
        calls: ForeignCalls,
        authorization: AuthorizationService,
        approvals: ApprovalService,
        audit: AuditLog,
        clock: Callable[[], datetime],
    ) -> None:
        self._calls = calls
        self._authorization = authorization
        self._approvals = approvals
        self._audit = audit
        self._clock = clock

    async def submit(self, pep: str, document: JsonValue) -> Approval | Refusal:
        """Ask about a question that was denied. The one already open for it is given back.

        Raises:
            Refused: MALFORMED; DENIED when a person just said no to it, or too much is asked.
        """
        evaluation, denial = _parse(document)
        if (refusal := await self._unbound(pep, evaluation, denial)) is not None:
            return refusal
        looked = await self._calls(pep, evaluation)
        if looked is None:
            return ProblemType.NOT_REQUESTABLE, "the question names no mandate"
        request = to_request(facts_for(pep, evaluation, looked.facts))
        decision = self._authorization.decide(request)
        if decision.effect is not Effect.STEP_UP:
            return ProblemType.NOT_REQUESTABLE, "no person's yes would change the answer now"
        return await self._approvals.request(
            looked.exact(decision.version),
            decision_trace=denial,
            reasons=decision.reasons,
            four_eyes=looked.mandate.four_eyes,
        )

    async def status(self, pep: str, task_id: str) -> Approval | Refusal:
        """A task, for the enforcement point that asked; to others it does not exist."""
        try:
            known = await self._approvals.get(task_id)
        except Refused:
            return ProblemType.UNKNOWN_TASK, "there is no such task"
        if await self._denied(pep, known.trace) is None:
            return ProblemType.UNKNOWN_TASK, "there is no such task"
        return known

    async def _unbound(self, pep: str, evaluation: Evaluation, denial: str) -> Refusal | None:
        """Why this is not the question that was denied; None if it is."""
        found = await self._denied(pep, denial)
        if found is None:
            return ProblemType.INVALID_BINDING, "no denial of yours has this `evaluation_id`"
        if not _is_about(evaluation, found.facts, found.private):
            return ProblemType.INVALID_BINDING, "the denial was about another question"
        if self._clock() >= found.at + DENIAL_LIFE:
            return ProblemType.EXPIRED_DENIAL, "the denial is too old, evaluate again"
        return None

    async def _denied(self, pep: str, trace: str) -> LoggedEvent | None:
        for event in await self._audit.trace(trace):
            facts = event.facts
            ours = event.trace == trace and event.type == EventType.DECIDE
            if ours and facts.get("via") == "authzen":
                mine = event.private.get("pep") == pep
                mine = mine and facts.get("decision") == Effect.STEP_UP.value
                return event if mine else None
        return None


def _is_about(evaluation: Evaluation, facts: JsonObject, private: JsonObject) -> bool:
    """Whether it is the very question of a record: to the argument, as a person would answer it."""
    told: JsonValue = [facts.get(name) for name in ("agent", "resource", "effect", "mandate")]
    asked: JsonValue = [
        evaluation.subject.id,
        evaluation.resource.id,
        evaluation.action.name,
        evaluation.context.get(MANDATE),
    ]
    if told != asked or "arguments" not in private:  # erased: nobody can tell any more
        return False
    arguments = evaluation.context.get(ARGUMENTS, {})
    return digest(private["arguments"]) == digest(arguments)  # in Python, 1 is also 1.0 and True


def _parse(document: JsonValue) -> tuple[Evaluation, str]:
    evaluation = authzen.parse_evaluation(document)
    denial = document.get("denial") if isinstance(document, Mapping) else None
    id_ = denial.get("evaluation_id") if isinstance(denial, Mapping) else None
    if not isinstance(id_, str) or not 1 <= len(id_) <= 128:
        raise Refused(Kind.MALFORMED, "`denial.evaluation_id` must name the denial")
    # What is asked for is the question without an approval of an earlier one.
    context = {name: value for name, value in evaluation.context.items() if name != APPROVAL}
    return (
        Evaluation(evaluation.subject, evaluation.action, evaluation.resource, context),
        id_,
    )
