"""From a yes that endorses values to endorsements of the mandate it was asked under."""

from __future__ import annotations

from collections.abc import Callable

from actfor.approval.model import Approval
from actfor.delegation import DelegationService
from actfor.store import Tx


def endorsing(delegation: DelegationService) -> Callable[[Tx, Approval], None]:
    """A hook for ``ApprovalService.on_endorsed``; it takes only what the page showed."""

    def keep(tx: Tx, given: Approval) -> None:
        delegation.endorse(
            tx,
            mandate_id=given.call.mandate_id,
            tool=f"{given.call.server}/{given.call.tool}",
            slots=sorted({(o.slot, o.value) for o in given.origins if o.pointer in given.endorsed}),
            by=given.approver or "",
            approval_id=given.id,
        )

    return keep
