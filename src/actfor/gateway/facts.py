"""What the policies are told about a call: all of it from our own records and verified tokens.

The agent's part is the tool's name and the arguments; what they mean is judged here.
"""

from __future__ import annotations

from actfor.authorization.model import CallFacts
from actfor.gateway.calls import Attempt
from actfor.gateway.case import Caller
from actfor.gateway.effects import Judged
from actfor.gateway.model import Tool
from actfor.wire.rar import Coverage, Grant, Money


def call_facts(
    caller: Caller,
    attempt: Attempt,
    tool: Tool,
    judged: Judged,
    coverage: Coverage,
    *,
    tier: str,
) -> CallFacts:
    """The facts of one call, not yet approved by anyone.

    What is left of budgets is the mandate's; a narrower token's own is counted when it is taken.
    """
    delegation, amount = caller.delegation, judged.amount
    mandate = delegation.mandate
    grant = delegation.authority.grants[coverage.grant_index] if coverage.covered else None
    budget = mandate.authority.budget
    return CallFacts(
        agent=str(delegation.agent),
        server=attempt.server,
        tool=tool.name,
        effect=judged.effect,
        in_mandate=coverage.covered,
        mandate_reason="" if coverage.covered else coverage.reason,
        requires_approval=grant is None or grant.approval == "always",
        person=delegation.person_id,
        purpose=mandate.goal,
        tier=tier,
        assurance=_assurance(delegation.assurance),
        sender_constrained=True,  # there are no other tokens (delegation.access)
        tool_pinned=tool.is_pinned,
        tool_state=tool.state.value,
        amount_minor=None if amount is None else amount.minor,
        amount_currency=None if amount is None else amount.currency,
        amount_limit_minor=_limit(grant),
        budget_calls_left=None if budget.calls is None else budget.calls - mandate.calls_used,
        budget_amount_left_minor=_left(budget.amount, mandate.amount_used),
    )


def _limit(grant: Grant | None) -> int | None:
    # In the amount's own currency: a covered call has none other (`Grant.mismatch`).
    return None if grant is None or grant.amount is None else grant.amount.minor


def _left(budget: Money | None, used: int) -> int | None:
    return None if budget is None else budget.minor - used


def _assurance(assurance: str) -> str:
    """The policies' word for how the agent's code is known (schema.cedarschema)."""
    return "measured" if assurance.startswith("attested-") else "none"
