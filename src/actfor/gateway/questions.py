"""Where a person could turn a no into a yes: has one, for exactly this call?

The answer is always looked up by the digest of the whole call. What a client brings along (a
request state, an accepted elicitation) can only make the check harder, never easier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from actfor.approval import Approval, ApprovalService, ExactCall, State
from actfor.authorization.model import Decision
from actfor.errors import Kind, Refused
from actfor.gateway.calls import Pending, Settings, Stage
from actfor.gateway.case import Case
from actfor.gateway.recording import Recorder
from actfor.gateway.refusals import Asked, at
from actfor.wire.mcp import Question, RequestState


class Questions:
    """Asks, waits a little, and tells what was answered."""

    def __init__(
        self,
        approvals: ApprovalService,
        settings: Settings,
        clock: Callable[[], datetime],
        recorder: Recorder,
    ) -> None:
        self._approvals = approvals
        self._settings = settings
        self._now = clock
        self._recorder = recorder

    async def approved(self, case: Case, decision: Decision) -> Approval:
        """The approval of exactly this call. It is not spent here.

        Raises:
            Asked: nobody has answered yet.
            Refusal: a person said no, the yes was used or is too old, or asking is not allowed.
        """
        exact = exact_call(case, decision)
        call = exact.digest
        state = self._state(case, call)
        known = await self._approvals.find(call)
        if known is None or self._may_ask_again(known, state):
            known = await self._ask(case, decision, exact)
            # Who can show the page is told at once: waiting helps only those who know of it.
            hold = not (case.attempt.client.modern and case.attempt.client.can_open_url)
        else:
            hold = True
        case = replace(case, trace=known.trace)  # whatever comes of it belongs to the question
        if known.state is State.PENDING:
            await self._recorder.question(case, decision, known)
            if hold:
                known = await self._approvals.wait(known.id, self._settings.hold_seconds)
        if known.state is State.PENDING:
            raise Asked(self._pending(case, known))
        with at(Stage.APPROVAL, case, decision):
            known.consume(call, self._now())  # says no where the transaction would, and why
        return known

    def check_state(self, case: Case, decision: Decision) -> None:
        """A state that came back must be good also where nobody has to be asked (any more)."""
        if case.attempt.request_state is not None:
            self._state(case, exact_call(case, decision).digest)

    def _state(self, case: Case, call: str) -> RequestState | None:
        """The state that came back, if it is ours, this principal's, for this call, not too old."""
        token = case.attempt.request_state
        if token is None:
            return None
        with at(Stage.APPROVAL, case):
            state = RequestState.open(token, *self._settings.keys, now=self._now())
            if state.principal != case.caller.principal:
                raise Refused(Kind.DENIED, "the request state was given to someone else")
            if state.call != call:
                raise Refused(Kind.DENIED, "the request state belongs to another call")
        return state

    def _may_ask_again(self, known: Approval, state: RequestState | None) -> bool:
        """Whether an answer that is over may be followed by a new question.

        Not to someone who just came back for it, and not while an answer stands: what was executed
        once is not executed again, and a no is not bargained with.
        """
        if known.state in {State.PENDING, State.APPROVED} or state is not None:
            return False
        return known.state is State.EXPIRED or self._now() >= known.expires_at

    async def _ask(self, case: Case, decision: Decision, exact: ExactCall) -> Approval:
        with at(Stage.APPROVAL, case, decision):
            return await self._approvals.request(
                exact,
                decision_trace=case.trace,
                reasons=decision.reasons,
                agent_text=case.attempt.agent_text,
                four_eyes=case.caller.delegation.mandate.four_eyes,
                origins=case.origins,
            )

    def _pending(self, case: Case, approval: Approval) -> Pending:
        question = Question(
            approval.id, self._approvals.url(approval.id), case.tool.name, approval.expires_at
        )
        state = RequestState(
            approval.id,
            case.caller.principal,
            approval.digest,
            int(approval.expires_at.timestamp()),
        )
        return Pending(approval.trace, question, state.seal(self._settings.keys[0]))


def exact_call(case: Case, decision: Decision) -> ExactCall:
    """All that a person approves. Change a byte of it and there is no approval."""
    delegation = case.caller.delegation
    return ExactCall(
        agent=str(delegation.agent),
        chain=tuple(str(link) for link in delegation.chain),
        person_id=delegation.person_id,
        mandate_id=delegation.mandate.id,
        server=case.attempt.server,
        tool=case.tool.name,
        tool_digest=case.tool.pinned_digest or "",
        arguments=case.attempt.arguments,
        arguments_digest=case.arguments_digest,
        policy_version=decision.version,
        effect=case.judged.effect.value,
        manifest=delegation.manifest,
    )
