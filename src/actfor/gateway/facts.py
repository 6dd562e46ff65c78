"""What the policies are told about a call: all of it from our own records and verified tokens.

The agent's part is the tool's name and the arguments; what they mean is judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypedDict

from actfor.authorization.intent import SinkType
from actfor.authorization.model import CallFacts
from actfor.delegation import Delegation, Standing, Use
from actfor.gateway.calls import Attempt
from actfor.gateway.case import Caller
from actfor.gateway.effects import Judged
from actfor.gateway.model import Tool
from actfor.gateway.provenance import Label, SlotTrace, Traced
from actfor.wire.rar import Authority, Coverage, Flow, FlowDecision, Grant, flow_decision

_UNCOUNTED: Final = Standing()


def call_facts(
    caller: Caller,
    attempt: Attempt,
    tool: Tool,
    judged: Judged,
    coverage: Coverage,
    standing: Standing | None,
    traced: Traced,
    *,
    use: Use,
    tier: str,
) -> CallFacts:
    """The facts of one call, not yet approved by anyone.

    What is left of budgets is the least of the mandate's and of a narrower token's, in all and over
    time; the recording transaction counts again.
    """
    delegation, amount = caller.delegation, judged.amount
    mandate, left = delegation.mandate, standing or _UNCOUNTED
    grant = delegation.authority.grants[coverage.grant_index] if coverage.covered else None
    budget = mandate.authority.budget
    flow = flow_of(delegation.authority, judged, traced)
    facts = traced.facts
    if flow in {"deny", "step-up"}:
        facts = {**facts, **_flow_origin(delegation.authority, judged, traced, flow)}
    return CallFacts(
        agent=str(delegation.agent),
        server=attempt.server,
        tool=tool.name,
        effect=judged.effect,
        in_mandate=coverage.covered,
        mandate_reason="" if coverage.covered else coverage.reason,
        requires_approval=_asks(grant, coverage, left, use),
        beyond_limit=coverage.beyond or None,
        **between(delegation),
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
        budget_calls_left=_least(
            None if budget.calls is None else budget.calls - mandate.calls_used, left.calls_left
        ),
        budget_amount_left_minor=_least(
            None if budget.amount is None else budget.amount.minor - mandate.amount_used,
            left.amount_left_minor,
        ),
        recipients_fit=None if standing is None else standing.recipients_fit,
        recipient_new=None if standing is None else standing.new_recipients,
        unasked_minor=left.unasked_minor,
        calls_this_hour=mandate.calls_this_hour,
        flow=flow,
        **facts,  # type: ignore[arg-type] # by the schema's names and types; a test compares
    )


class Between(TypedDict, total=False):
    """Facts of a chain; without one there are none."""

    asked_by: str
    first_agent: str
    depth: int


def between(delegation: Delegation) -> Between:
    """The agents between the person and the one that acts, by their own records."""
    through = delegation.through
    if not through:
        return {}
    nearest, first = str(through[0].agent), str(through[-1].agent)
    return {"asked_by": nearest, "first_agent": first, "depth": len(through)}


def flow_of(authority: Authority, judged: Judged, traced: Traced) -> FlowDecision | None:
    """What the mandate's own flow rules say of the data in this call; the most severe of all."""
    if not authority.flows:
        return None
    found = [decision for _, decision in _flowing(authority, judged, traced)]
    if traced.facts.get("carries_secret") is True:
        reached = {t for slot in traced.slots for t in _targets(slot, judged)}
        found.append(flow_decision(authority.flows, "secret", reached))
    return _worst(authority.flows, found)


def _flowing(
    authority: Authority, judged: Judged, traced: Traced
) -> list[tuple[SlotTrace, FlowDecision | None]]:
    """What the flow rules say of each value."""
    return [
        (slot, flow_decision(authority.flows, _flow_label(slot), _targets(slot, judged)))
        for slot in traced.slots
        if not _is_composed_prose(slot)
    ]


def _flow_origin(
    authority: Authority, judged: Judged, traced: Traced, flow: FlowDecision | None
) -> dict[str, str]:
    """The value that a flow rule holds, where nothing else is told of with the call's origin."""
    if traced.facts.get("sinks_untrusted") is True:
        return {}
    held = [s for s, decision in _flowing(authority, judged, traced) if decision == flow]
    return {"sink_origin": held[0].shown} if held else {}


def _worst(flows: Sequence[Flow], found: Sequence[FlowDecision | None]) -> FlowDecision | None:
    """The most severe; a permission counts only if every value has one."""
    for decision in ("deny", "step-up"):
        if decision in found:
            return decision
    return "permit" if found and all(one == "permit" for one in found) else None


def _flow_label(slot: SlotTrace) -> str:
    if slot.label <= Label.FROM:
        return "user"
    return "trusted" if slot.label is Label.TRUSTED else "untrusted"


def _targets(slot: SlotTrace, judged: Judged) -> tuple[str, ...]:
    if slot.type is SinkType.OTHER:
        return (judged.effect.value,)
    return (slot.type.value, judged.effect.value)


def _is_composed_prose(slot: SlotTrace) -> bool:
    """Text that was read nowhere: the agent wrote it, as it was asked to."""
    prose = slot.type in {SinkType.TEXT, SinkType.OTHER}
    return prose and slot.label is Label.UNKNOWN and slot.how == "none"


def _asks(grant: Grant | None, coverage: Coverage, left: Standing, use: Use) -> bool:
    """Whether the mandate itself wants a person asked; what is not covered asks, and is denied."""
    if grant is None or coverage.asks:
        return True
    # What nobody was asked about in the last day counts along: a sum cannot be split below a limit.
    limit, amount = grant.ask_above, use.amount
    if limit and amount and amount.minor + (left.unasked_minor or 0) > limit.minor:
        return True
    return coverage.asks_if_new and (use.recipients is None or left.new_recipients)


def _limit(grant: Grant | None) -> int | None:
    # In the amount's own currency: a covered call has none other (`Grant.mismatch`).
    return None if grant is None or grant.amount is None else grant.amount.minor


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _assurance(assurance: str) -> str:
    """The policies' word for how the agent's code is known (schema.cedarschema)."""
    return "measured" if assurance.startswith("attested-") else "none"
