"""AuthZEN access requests (ARAP Draft 1): ask a person to permit what was denied.

    denial with `access_request` → POST a request → task → a person answers → evaluate again
                                                         → or who asked takes it back

The task is an approval of ours: for one exact question of one enforcement point, answered with a
passkey, spent by the permit that follows. Its id opens nothing by itself. Only the enforcement
point that was denied may ask, only about the question that it was denied, and once for each denial.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from actfor.approval import Approval, ApprovalService
from actfor.audit import AuditLog, EventType, LoggedEvent
from actfor.authorization.model import Effect, to_request
from actfor.authorization.model.foreign import facts_for
from actfor.authorization.service import AuthorizationService
from actfor.errors import Kind, Refused
from actfor.gateway import repository
from actfor.gateway.foreign import ARGUMENTS, ForeignCall, ForeignCalls
from actfor.gateway.repository import AccessRequested
from actfor.store import Database, Tx
from actfor.wire import authzen_access, authzen_binding
from actfor.wire.authzen import Evaluation
from actfor.wire.authzen_access import DENIAL_LIFE, AccessRequest, ProblemType
from actfor.wire.canonical import JsonObject, JsonValue, canonical, digest
from actfor.wire.jose import VerifyKey

Refusal = tuple[ProblemType, str]
KEPT: Final = timedelta(days=2)
"""How long a denial and an Idempotency-Key stay taken; a task lives for minutes."""
_TAKEN: Final = "access-request-taken"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose binding tokens are believed: ours. ``keys`` are asked each time, since they rotate."""

    base_url: str
    keys: Callable[[], Mapping[str, VerifyKey]]


class AccessRequests:
    """The service behind the endpoint."""

    def __init__(
        self,
        calls: ForeignCalls,
        authorization: AuthorizationService,
        approvals: ApprovalService,
        audit: AuditLog,
        database: Database,
        issuer: Issuer,
        clock: Callable[[], datetime],
    ) -> None:
        self._calls = calls
        self._authorization = authorization
        self._approvals = approvals
        self._audit = audit
        self._database = database
        self._issuer = issuer
        self._clock = clock

    async def submit(
        self, pep: str, document: JsonValue, key: str | None = None
    ) -> Approval | Refusal:
        """Ask about a question that was denied. ``key`` is the request's Idempotency-Key.

        1. The same request again is the same task. 2. It is bound to a denial of this enforcement
        point: by its token, or by its id in the log. 3. A person could still turn the answer.
        4. Ask, and take denial and key, in one transaction.

        Raises:
            Refused: MALFORMED; DENIED when a person just said no to it, or too much is asked.
        """
        asked = authzen_access.parse_request(document)
        once, body = _once(pep, key), digest(document)
        if once is not None and (made := await self._made_with(once)) is not None:
            return await self._again(pep, made, body)
        asked, refusal = self._opened(pep, asked)
        if refusal is not None:
            return refusal
        found = await self._bound(pep, asked)
        if not isinstance(found, LoggedEvent):
            return found
        looked = await self._calls(pep, asked.evaluation)
        if looked is None:
            return ProblemType.NOT_REQUESTABLE, "the question names no mandate"
        if not _under_same(looked, found.facts):
            return _another_question()
        denial = found.trace
        if (made := await self._made_of(denial)) is not None:
            return await self._replayed(pep, made, asked)
        if asked.template not in {None, looked.template}:
            return ProblemType.INVALID_BINDING, "the denial had another `template`"
        request = to_request(facts_for(pep, asked.evaluation, looked.facts))
        decision = self._authorization.decide(request)
        if decision.effect is not Effect.STEP_UP:
            return ProblemType.NOT_REQUESTABLE, "no person's yes would change the answer now"

        def take(tx: Tx, task: Approval) -> None:
            repository.forget_access_requests(tx, tx.now - KEPT)
            made = AccessRequested(pep, task.id, body)
            if not repository.add_access_request(tx, denial, made, once, tx.now):
                raise Refused(Kind.CONFLICT, "the denial was asked about just now", code=_TAKEN)

        try:
            return await self._approvals.request(
                looked.exact(decision.version),
                decision_trace=denial,
                reasons=decision.reasons,
                agent_text=asked.says,
                four_eyes=looked.mandate.four_eyes,
                within=take,
            )
        except Refused as refused:
            if refused.code != _TAKEN:
                raise
            return await self.submit(pep, document, key)  # now it is known by which request

    async def status(self, pep: str, task_id: str) -> Approval | Refusal:
        """A task, for the enforcement point that asked; to others it does not exist."""
        try:
            known = await self._approvals.get(task_id)
        except Refused as refused:
            if refused.kind is not Kind.NOT_FOUND:
                raise
            return _unknown()
        return known if known.call.enforced_by == pep else _unknown()

    async def cancel(self, pep: str, task_id: str, why: str | None) -> Approval | Refusal:
        """Take a task back. Once it is, no answer to it counts; again is as it was (ours: the
        profile would have the second time refused).
        """
        try:
            return await self._approvals.withdraw(pep, task_id, why)
        except Refused as refused:
            if refused.kind is Kind.NOT_FOUND:
                return _unknown()
            if refused.kind in {Kind.CONFLICT, Kind.EXPIRED}:
                return ProblemType.INVALID_STATE, refused.detail
            raise

    # -- once ----------------------------------------------------------------------------------

    async def _made_with(self, once: str) -> AccessRequested | None:
        return await self._database.read(lambda tx: repository.access_request_by_key(tx, once))

    async def _made_of(self, denial: str) -> AccessRequested | None:
        return await self._database.read(lambda tx: repository.access_request_of(tx, denial))

    async def _again(self, pep: str, made: AccessRequested, body: str) -> Approval | Refusal:
        if made.body != body:
            return ProblemType.DUPLICATE, "this `Idempotency-Key` was used for another request"
        return await self.status(pep, made.task)

    async def _replayed(
        self, pep: str, made: AccessRequested, asked: AccessRequest
    ) -> Approval | Refusal:
        """A denial that was asked about: its token is spent; by its id it is the same task."""
        if asked.binding_token is not None:
            return ProblemType.INVALID_BINDING, f"the `binding_token` was used, for `{made.task}`"
        return await self.status(pep, made.task)

    # -- the binding ---------------------------------------------------------------------------

    def _opened(self, pep: str, asked: AccessRequest) -> tuple[AccessRequest, Refusal | None]:
        """The request with the denial that its token names, if it has one: the token is what counts
        then, an ``evaluation_id`` beside it only has to agree.
        """
        if asked.binding_token is None:
            return asked, None
        try:
            told = authzen_binding.bound(
                asked.binding_token,
                keys=self._issuer.keys(),
                issuer=self._issuer.base_url,
                audience=self._issuer.base_url + authzen_access.PATH,
                now=self._clock(),
            )
        except Refused as refused:
            if refused.kind is Kind.EXPIRED:
                return asked, (ProblemType.EXPIRED_DENIAL, "the denial is too old, evaluate again")
            said = f"the `binding_token` cannot be verified: {refused.detail}"
            return asked, (ProblemType.INVALID_BINDING, said)
        wrong = None
        if told.pep != pep:
            wrong = "the `binding_token` was given to another enforcement point"
        elif told.hash != authzen_binding.binding_hash(asked.evaluation):
            wrong = "the `binding_token` is about another question"
        elif asked.denial not in {None, told.denial}:
            wrong = "`evaluation_id` and `binding_token` name two denials"
        elif asked.expires_at not in {None, told.expires_at}:
            wrong = "`denial.expires_at` is not the denial's"
        bound = replace(asked, denial=told.denial)
        return bound, None if wrong is None else (ProblemType.INVALID_BINDING, wrong)

    async def _bound(self, pep: str, asked: AccessRequest) -> LoggedEvent | Refusal:
        """The denial that this asks about, as the log has it; or why it asks about none."""
        found = await self._denied(pep, asked.denial or "")
        if found is None:
            return ProblemType.INVALID_BINDING, "no denial of yours has this `evaluation_id`"
        if not _is_about(asked.evaluation, found.facts, found.private):
            return _another_question()
        if self._clock() >= found.at + DENIAL_LIFE:
            return ProblemType.EXPIRED_DENIAL, "the denial is too old, evaluate again"
        return found

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
    told: JsonValue = [facts.get(name) for name in ("agent", "resource", "effect")]
    asked: JsonValue = [evaluation.subject.id, evaluation.resource.id, evaluation.action.name]
    if told != asked or "arguments" not in private:  # erased: nobody can tell any more
        return False
    arguments = evaluation.context.get(ARGUMENTS, {})
    return digest(private["arguments"]) == digest(arguments)  # in Python, 1 is also 1.0 and True


def _under_same(looked: ForeignCall, facts: JsonObject) -> bool:
    """Whether mandate and chain are those of a record; a token that shows them may be another."""
    named: JsonValue = [looked.mandate.id, list(looked.named.chain)]
    return [facts.get("mandate"), facts.get("chain", [])] == named


def _another_question() -> Refusal:
    return ProblemType.INVALID_BINDING, "the denial was about another question"


def _once(pep: str, given: str | None) -> str | None:
    """What stands for an Idempotency-Key: it is of one enforcement point, and no text of its own.

    Raises:
        Refused: MALFORMED.
    """
    if given is None:
        return None
    if not 1 <= len(given) <= authzen_access.MAX_KEY:
        most = authzen_access.MAX_KEY
        raise Refused(Kind.MALFORMED, f"`Idempotency-Key` has 1 to {most} characters")
    return hashlib.sha256(canonical([pep, given])).hexdigest()


def _unknown() -> Refusal:
    return ProblemType.UNKNOWN_TASK, "there is no such task"
