"""What is written of a call: (5) the permit it needs, or its question, refusal, and outcome.

Each is one transaction that takes the proof, if nothing took it yet, and appends the leaf.

INVARIANT: the transaction that writes a permit found person, agent and mandate unrevoked, the tool
still pinned and the policies still in force, and took the proof, the approval and the budget
exactly once.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace

from actfor.approval import Approval, ApprovalService
from actfor.audit import AuditLog
from actfor.authorization.model import Decision
from actfor.authorization.service import AuthorizationService
from actfor.delegation import DelegationService
from actfor.errors import Kind, Refused
from actfor.gateway import records
from actfor.gateway.calls import Attempt, Denied, Stage
from actfor.gateway.case import Caller, Case
from actfor.gateway.catalog import Catalog
from actfor.gateway.refusals import Again, Refusal, at
from actfor.store import Ask, Database, Tx
from actfor.wire.canonical import JsonObject

logger = logging.getLogger(__name__)

# Other policies; or more was spent, or an endorsement taken back, than the decision knew of.
_DECIDE_AGAIN = frozenset({Stage.POLICY, Stage.MANDATE})


class Recorder:
    """Every dependency is a service built elsewhere."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditLog,
        authorization: AuthorizationService,
        delegation: DelegationService,
        approvals: ApprovalService,
        catalog: Catalog,
    ) -> None:
        self._database = database
        self._audit = audit
        self._authorization = authorization
        self._delegation = delegation
        self._approvals = approvals
        self._catalog = catalog

    async def permit(self, case: Case, decision: Decision, approval: Approval | None) -> None:
        """The permit, on disk. All that may be taken once is taken here or not at all.

        Raises:
            Refusal: by the step that found something taken back or taken before.
            Again: what the decision knew of has changed.
        """
        caller, delegation = case.caller, case.caller.delegation
        event = records.decided(case, decision, approval)
        use = case.use if approval is None else replace(case.use, asked=True)
        endorsed = case.endorsements

        def unit(tx: Tx) -> None:
            with at(Stage.CREDENTIAL, case):
                take_proof(tx, self._delegation, caller)
            with at(Stage.MANDATE, case):
                self._delegation.consume(tx, delegation, use)
                self._delegation.check_endorsed(tx, endorsed)
            with at(Stage.TOOL, case):
                self._catalog.check_pinned(tx, case.tool)
            with at(Stage.POLICY, case):
                self._authorization.check_current(tx, decision.version)
            if approval is not None:
                with at(Stage.APPROVAL, case):
                    self._approvals.consume(tx, approval.digest, str(delegation.agent))
            self._audit.append(tx, event)

        try:
            with at(Stage.RECORD, case), case.past.permitting():
                await self._database.write(unit, self._ahead(caller))
        except Refusal as refusal:
            if refusal.stage in _DECIDE_AGAIN and refusal.refused.kind is Kind.CONFLICT:
                raise Again from None
            raise
        caller.spent = True

    async def question(self, case: Case, decision: Decision, approval: Approval) -> None:
        """The call waits for a person; its proof is spent, so it cannot be sent a second time."""
        event = records.decided(case, decision, approval)

        def unit(tx: Tx) -> None:
            with at(Stage.CREDENTIAL, case):
                take_proof(tx, self._delegation, case.caller)
            with at(Stage.MANDATE, case):
                self._delegation.check_live(tx, case.caller.delegation)
            self._audit.append(tx, event)

        with at(Stage.RECORD, case):
            await self._database.write(unit)
        case.caller.spent = True

    async def refusal(
        self, trace: str, caller: Caller, attempt: Attempt, refusal: Refusal
    ) -> Denied:
        """Write that the call was refused, and by which step; what to tell the caller."""
        refused, case, decision = refusal.refused, refusal.case, refusal.decision
        denied = Denied(
            trace if case is None else case.trace,
            refusal.stage,
            refused.kind,
            refused.detail,
            () if decision is None else decision.policies,
            refused.code,
            scope=None if case is None or caller.may_reach(case.tool) else case.scope,
        )
        if refused.kind is Kind.BUSY:
            return denied  # what cannot be written down did not happen, not even this
        event = records.refused(caller, attempt, denied, decision, case)

        def unit(tx: Tx) -> None:
            with suppress(Refused):  # used before: that is what is being written down
                take_proof(tx, self._delegation, caller)
            self._audit.append(tx, event)

        try:
            await self._database.write(unit)
        except Refused as failure:
            return replace(denied, stage=Stage.RECORD, kind=failure.kind, reason=failure.detail)
        caller.spent = True
        return denied

    def outcome(
        self,
        case: Case,
        approval: Approval | None,
        status: str,
        result: JsonObject | None,
        seconds: float,
    ) -> None:
        """Not waited for: a permit without an outcome is what a crash leaves as well."""
        event = records.ended(case, approval, status, result, seconds)
        try:
            self._database.post(lambda tx: self._audit.append(tx, event))
        except Refused as refused:
            logger.error("outcome of %s was not recorded: %s", case.trace, refused.detail)  # noqa: TRY400 - a state, not a bug

    def _ahead(self, caller: Caller) -> list[Ask]:
        return self._delegation.ahead(caller.delegation, None if caller.spent else caller.proof)


def take_proof(tx: Tx, delegation: DelegationService, caller: Caller) -> None:
    """The proof is used here or was used before; nothing to do where it is used already."""
    if not caller.spent:
        delegation.spend(tx, caller.proof)
