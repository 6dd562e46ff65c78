"""What the gateway writes into the log: one leaf when a call is decided, one when it has ended.

In clear stands what an auditor needs and no person is identified by: agent, tool, effect, policies,
epochs. The person, arguments, reasons, and every digest of what somebody could guess (arguments, a
mandate's limits) are commitments in the leaf.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from actfor.approval import Approval
from actfor.audit import Event, EventType, Revocable
from actfor.authorization.model import Decision, to_request
from actfor.delegation import Delegation
from actfor.errors import Refused
from actfor.gateway.calls import Attempt, Denied
from actfor.gateway.case import MAX_SHOWN, Caller, Case
from actfor.gateway.provenance import Label
from actfor.wire.canonical import JsonObject, JsonValue, digest

_MAX_NAME = 128
_NOTHING: Mapping[str, JsonValue] = MappingProxyType({})


def decided(case: Case, decision: Decision, approval: Approval | None) -> Event:
    """The decision that permits a call, or that has it wait for a person."""
    relied: dict[str, JsonValue] = {
        Revocable.TOOL.value: {f"{case.attempt.server}/{case.tool.name}": case.tool.epoch}
    }
    if endorsed := case.endorsements:
        relied[Revocable.ENDORSEMENT.value] = dict.fromkeys(endorsed, 0)
    if approval is not None:
        relied[Revocable.APPROVAL.value] = {approval.id: 0}
    facts: dict[str, JsonValue] = {**_call(case, relied), **decision.facts()}
    private = _private(case, decision)
    if approval is not None:
        facts["approval"] = approval.id
        private["call_digest"] = approval.digest
    return Event(EventType.DECIDE, case.trace, facts, private)


def refused(
    caller: Caller, attempt: Attempt, denied: Denied, decision: Decision | None, case: Case | None
) -> Event:
    """A refusal, and the step that refused. ``case`` is None where it ended before the facts."""
    facts = _authority(caller.delegation) if case is None else _call(case)
    facts["server"] = attempt.server
    facts |= decision.facts() if decision is not None else {}
    facts |= {"decision": "deny", "stage": denied.stage.value, "reason": denied.kind.value}
    private: dict[str, JsonValue] = {
        "person": caller.delegation.person_id,
        "authority_hash": caller.delegation.mandate.authority_hash,
        "detail": denied.reason,
    }
    if case is None:
        private["tool"] = attempt.tool[:_MAX_NAME]  # the agent's own text: nobody knows such a tool
    else:
        private["arguments"] = attempt.arguments
        private["arguments_digest"] = case.arguments_digest
        private["context"] = dict(to_request(case.facts).context)
        private |= _mapped(case)
    return Event(EventType.DECIDE, denied.trace, facts, private)


def ended(
    case: Case, approval: Approval | None, status: str, result: JsonObject | None, seconds: float
) -> Event:
    """What came of a permitted call. The result itself is not kept, only what it hashes to."""
    facts: dict[str, JsonValue] = {
        "agent": str(case.caller.delegation.agent),
        "server": case.attempt.server,
        "tool": case.tool.name,
        "status": status,
        "milliseconds": round(seconds * 1000),
    }
    if approval is not None:
        facts["approval"] = approval.id
    private: dict[str, JsonValue] = {"person": case.caller.delegation.person_id}
    if result is not None and (result_digest := _digest(result)) is not None:
        private["result_digest"] = result_digest
    return Event(EventType.OUTCOME, case.trace, facts, private)


def _call(case: Case, relied: Mapping[str, JsonValue] = _NOTHING) -> dict[str, JsonValue]:
    return {
        **_authority(case.caller.delegation, relied),
        "server": case.attempt.server,
        "tool": case.tool.name,
        "tool_digest": case.tool.pinned_digest,
        "effect": case.judged.effect.value,
        "labels": _labels(case),
        **({} if case.mapped is None else {"coaz": case.mapped.facts}),
    }


def _labels(case: Case) -> dict[str, JsonValue]:
    """For each purpose that an argument has, whose the most doubtful value is.

    No value stands here, nor an argument's name: an agent chooses those.
    """
    worst: dict[str, Label] = {}
    for slot in case.traced.slots:
        worst[slot.type.value] = max(slot.label, worst.get(slot.type.value, Label.USER))
    return {purpose: label.word for purpose, label in sorted(worst.items())}


def _authority(
    delegation: Delegation, relied: Mapping[str, JsonValue] = _NOTHING
) -> dict[str, JsonValue]:
    """``relied`` is what a permit depends on beside its delegation."""
    mandate = delegation.mandate
    return {
        "agent": str(delegation.agent),
        "instance": str(delegation.instance),
        "chain": [str(link) for link in delegation.chain],
        "mandate": mandate.id,
        "grant": delegation.grant_id,
        "jti": delegation.jti,
        "manifest": delegation.manifest,
        "epochs": {**delegation.epochs, **relied},
    }


def _private(case: Case, decision: Decision) -> dict[str, JsonValue]:
    return {
        "person": case.caller.delegation.person_id,
        "authority_hash": case.caller.delegation.mandate.authority_hash,
        "arguments": case.attempt.arguments,
        "arguments_digest": case.arguments_digest,
        # The whole question as it was decided, so that it can be decided again from the record.
        "context": dict(to_request(case.facts).context),
        "reasons": list(decision.reasons),
        **_origins(case),
        **_mapped(case),
    }


def _mapped(case: Case) -> dict[str, JsonValue]:
    """What a mapping of the tool asked: arguments stand in it."""
    asked = None if case.mapped is None else case.mapped.request
    return {} if asked is None else {"coaz": asked}


def _origins(case: Case) -> dict[str, JsonValue]:
    """Where the values come from that somebody said; the values stand among the arguments."""
    told: list[JsonValue] = [
        {
            "argument": slot.pointer,
            "label": slot.label.word,
            "how": slot.how,
            "source": slot.origin.tool,
            "field": slot.origin.field,
            "author": slot.origin.author,
        }
        for slot in case.traced.slots[:MAX_SHOWN]
        if slot.how != "none"
    ]
    return {"origins": told} if told else {}


def _digest(result: JsonObject) -> str | None:
    """None for what has no canonical form; a server may answer with numbers nobody can hold."""
    try:
        return digest(result)
    except Refused:
        return None
