"""The enforcement point: no call reaches an upstream except down this line.

    (1) authenticate   (2) gather facts   (3) decide   (4) a person's approval, if one is needed
    (5) record, durably   (6) act   (7) label and record the outcome

INVARIANT: at (6) the decision's leaf is on disk, and the transaction that wrote it found person,
agent and mandate unrevoked and the tool still pinned, and took the proof, the approval and the
budget exactly once. A crash after (5) leaves a recorded permit without outcome, never the reverse.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from actfor.approval import Approval, ApprovalService
from actfor.audit import AuditLog
from actfor.authorization.model import Decision, Effect, bind, to_request
from actfor.authorization.service import AuthorizationService
from actfor.delegation import DelegationService
from actfor.errors import Kind, Refused
from actfor.gateway.calls import (
    Answered,
    Attempt,
    Credentials,
    Failed,
    Outcome,
    Settings,
    Stage,
)
from actfor.gateway.case import Caller, Case
from actfor.gateway.catalog import Catalog
from actfor.gateway.gathering import Gatherer
from actfor.gateway.mapped import MappedCalls, claims_of, is_mapped
from actfor.gateway.memory import Memory
from actfor.gateway.model import Server, Tool
from actfor.gateway.questions import Questions
from actfor.gateway.recording import Recorder, take_proof
from actfor.gateway.refusals import Again, Asked, Refusal
from actfor.gateway.running import Ended, Running
from actfor.gateway.upstream import UpstreamError, UpstreamLost
from actfor.identity import AgentService
from actfor.store import Database, new_id
from actfor.wire.canonical import JsonObject
from actfor.wire.mcp import INTERNAL_ERROR

_TRIES = 3  # policies may change while a call is decided; then it is decided anew


class Enforcer:
    """Every dependency is a service built elsewhere; this class only puts them in a line."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditLog,
        agents: AgentService,
        authorization: AuthorizationService,
        delegation: DelegationService,
        approvals: ApprovalService,
        catalog: Catalog,
        settings: Settings,
        clock: Callable[[], datetime],
        mapped: MappedCalls | None = None,
    ) -> None:
        self._database = database
        self._authorization = authorization
        self._delegation = delegation
        self._catalog = catalog
        self._settings = settings
        self._mapped = mapped or MappedCalls(())
        self._running = Running()
        self._recorder = Recorder(
            database=database,
            audit=audit,
            authorization=authorization,
            delegation=delegation,
            approvals=approvals,
            catalog=catalog,
        )
        self._questions = Questions(approvals, settings, clock, self._recorder)
        self._gatherer = Gatherer(agents, delegation, catalog, clock)

    @property
    def memory(self) -> Memory:
        """What this node saw and read: histories of mandates, readings of tools."""
        return self._gatherer.memory

    # -- the line -----------------------------------------------------------------------------

    async def authenticate(self, server: str, credentials: Credentials) -> Caller:
        """(1) Token, proof of possession, audience: who calls, for whom, by which mandate.

        Raises:
            Refused: UNAUTHENTICATED, EXPIRED, MALFORMED; BUSY when it cannot be found out.
        """
        proved = await self._delegation.authenticate(
            credentials.token,
            audience=self._settings.url(server),
            scheme=credentials.scheme,
            proof=credentials.proof,
            method=credentials.method,
            url=credentials.url,
        )
        return Caller(server, proved.delegation, proved.proof)

    async def call(self, caller: Caller, attempt: Attempt) -> Outcome:
        """One tool call, from (2) to (7). ``caller`` is (1)'s, for the same server."""
        if caller.server != attempt.server:
            raise ValueError("the caller was authenticated for another server")
        trace = new_id("dec")
        try:
            case, approval = await self._permitted(trace, caller, attempt)
        except Asked as asked:
            return asked.pending
        except Refusal as refusal:
            return await self._recorder.refusal(trace, caller, attempt, refusal)
        return await self._act(case, approval)

    async def _permitted(
        self, trace: str, caller: Caller, attempt: Attempt
    ) -> tuple[Case, Approval | None]:
        for _ in range(_TRIES):
            try:
                return await self._permit(trace, caller, attempt)
            except Again:  # perhaps another node published
                await self._authorization.follow()
        raise Refusal(
            Stage.POLICY, Refused(Kind.CONFLICT, "policies or mandate keep changing: try again")
        )

    async def _permit(
        self, trace: str, caller: Caller, attempt: Attempt
    ) -> tuple[Case, Approval | None]:
        """(2) to (5): returns only if the permit is on disk."""
        # (2) Gather facts: all from our own records, none from the agent but tool and arguments.
        case = await self._gatherer.case(trace, caller, attempt)
        # (3) Decide. The mandate and the pin bind, whatever the policies say.
        decision = self._decide(case)
        self._questions.check_state(case, decision)
        # What a mapping of the tool asks must be permitted as well: it can only say no.
        if decision.effect is not Effect.DENY:
            case = await self._asked_of_domains(case)
        # (4) Where a person could turn this no into a yes: has one? Then decide again.
        approval: Approval | None = None
        if decision.effect is Effect.STEP_UP:
            approval = await self._questions.approved(case, decision)
            case, version = case.approved(approval), decision.version
            decision = self._decide(case)
            if decision.version != version:
                raise Again  # the person approved under other policies
        if decision.effect is not Effect.PERMIT:
            denied = Refused(Kind.DENIED, decision.reason or "no policy permits this call")
            raise Refusal(Stage.POLICY, denied, case=case, decision=decision)
        # (5) Record: one transaction checks again, takes what is taken once, writes the leaf.
        await self._recorder.permit(case, decision, approval)
        return case, approval

    async def _act(self, case: Case, approval: Approval | None) -> Answered | Failed:
        """(6) Call the upstream, with its own credential; (7) label and record what came of it.

        What the agent is about to read is remembered before it reads it.
        """
        status, result, begun = "unknown", None, time.perf_counter()
        try:
            call = case.governed.upstream.call(
                case.tool.name, case.tool.pinned_digest or "", case.attempt.arguments
            )
            result = await self._running.while_permitted(case, call)
            status = "tool-error" if result.get("isError") is True else "ok"
            self._gatherer.memory.heard(case.past, case.known, case.attempt.arguments, result)
            return Answered(case.trace, result)
        except Ended as ended:
            return Failed(case.trace, INTERNAL_ERROR, str(ended), _executed("unknown", case))
        except UpstreamError as error:
            status = "upstream-error"
            said: JsonObject = {"content": [{"type": "text", "text": error.message}]}
            if error.data is not None:
                said = {**said, "structuredContent": error.data}
            self._gatherer.memory.heard(case.past, case.known, case.attempt.arguments, said)
            return Failed(case.trace, error.code, error.message, error.data)
        except UpstreamLost as lost:
            status = "unknown" if lost.sent else "not-executed"
            data = _executed("unknown" if lost.sent else "no", case)
            return Failed(case.trace, INTERNAL_ERROR, lost.detail, data)
        finally:
            self._recorder.outcome(case, approval, status, result, time.perf_counter() - begun)

    def end_calls(self, kind: str, key: str) -> None:
        """End what is on its way under an authority that was taken (``Revocable``, its id)."""
        self._running.end(kind, key)

    # -- (3) -----------------------------------------------------------------------------

    def _decide(self, case: Case) -> Decision:
        """What the policies say; never more than the mandate grants and the operator pinned."""
        request = to_request(case.facts)
        mandate = case.caller.delegation.mandate.id
        return bind(self._authorization.decide(request, mandate), request)

    async def _asked_of_domains(self, case: Case) -> Case:
        """The case with what was answered to its tool's mapping, if one is declared (COAZ-MCP)."""
        if not is_mapped(case.tool):
            return case
        claims = claims_of(case.caller.delegation, self._delegation.issuer)
        found = await self._mapped(case.tool, case.attempt.arguments, claims)
        case = replace(case, mapped=found)
        if found.refused is not None:
            raise Refusal(Stage.MAPPING, found.refused, case=case)
        return case

    # -- what needs no decision ----------------------------------------------------------------

    def server(self, name: str) -> Server | None:
        """The governed server of that name."""
        governed = self._catalog.governed(name)
        return None if governed is None else governed.server

    def tool(self, caller: Caller, name: str) -> Tool | None:
        """A tool of the caller's server, if the mandate may reach it."""
        server = self.server(caller.server)
        tool = None if server is None else server.tools.get(name)
        return tool if tool is not None and caller.may_reach(tool) else None

    def tools(self, caller: Caller) -> list[JsonObject]:
        """The approved definitions of the tools that the caller's mandate may reach."""
        server = self.server(caller.server)
        return [
            tool.pinned
            for tool in (server.tools.values() if server is not None else ())
            if tool.pinned is not None and tool.is_pinned and caller.may_reach(tool)
        ]

    async def spend(self, caller: Caller) -> None:
        """Take the proof of a request that was no call.

        Raises:
            Refused: REPLAYED if it was used before.
        """
        await self._database.write(lambda tx: take_proof(tx, self._delegation, caller))
        caller.spent = True


def _executed(what: str, case: Case) -> JsonObject:
    return {"executed": what, "trace": case.trace}
