"""What our own enforcement point holds to, whatever the policies say."""

from __future__ import annotations

from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.facts import Request

GATEWAY = "gateway"
"""The fact ``via`` of calls through our own enforcement point."""


def bind(decision: Decision, request: Request) -> Decision:
    """The decision, or a denial where it would go beyond the mandate, its caps or a tool's pin.

    No policy is named by such a denial: none has determined it.
    """
    if decision.effect is Effect.DENY:
        return decision
    facts = request.context
    if facts.get("in_mandate") is not True:
        why = f"outside the mandate: {facts.get('mandate_reason', '')}"
    elif facts.get("within_caps") is not True:
        why = "the call does not fit the limits of the mandate"
    elif facts.get("tool_pinned") is not True:
        why = f"the tool's definition is not the approved one, it is {facts.get('tool_state', '')}"
    else:
        return decision
    return decision._replace(effect=Effect.DENY, policies=(), reasons=(why,))
