"""A decision as the log holds it, and the same question asked again.

INVARIANT: ``redecide`` of what ``read`` gives, by the policy version the record names, is the
decision that was recorded (a test plays the law over generated calls and over real ones).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from actfor.authorization.model.binding import GATEWAY, bind
from actfor.authorization.model.decision import Decision, Effect
from actfor.authorization.model.facts import CallFacts, Fact, Request, ToolEffect, to_request
from actfor.authorization.model.policyset import PolicySet
from actfor.authorization.model.schema import RequestSchema
from actfor.wire.canonical import JsonObject

_POLICY, _APPROVAL = "policy", "approval"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision that policies made. ``effect`` is theirs, whatever came of the call after it."""

    id: str
    at: datetime
    request: Request
    effect: Effect
    policies: tuple[str, ...]
    reasons: tuple[str, ...]
    version: str
    mandate: str | None
    arguments: JsonObject | None


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back in the log a rehearsal looked.

    ``seen`` records were looked at, all there are from ``since`` on. Without ``complete`` there are
    older ones in the time that was asked for, and nothing is known of them.
    """

    seen: int
    since: datetime
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a record cannot be decided again."""

    why: str


def read(trace: str, at: datetime, facts: JsonObject, private: JsonObject) -> Recorded | Unusable:
    """The question and the answer in a decision's record.

    ``facts`` stand in the leaf, ``private`` beside it. Only what policies decided can be asked
    again: a bad token or an unknown tool is refused before they are.
    """
    effect = _effect(facts)
    version = facts.get("policy_version")
    if effect is None or not isinstance(version, str) or not version:
        return Unusable("refused before the policies were asked")
    context = private.get("context")
    if not isinstance(context, Mapping):
        return Unusable("its facts were erased, or recorded by a release that kept fewer")
    request = _request({**private, **facts}, context)
    if request is None:
        return Unusable("it does not name agent, effect and tool")
    mandate, arguments = facts.get("mandate"), private.get("arguments")
    return Recorded(
        trace,
        at,
        request,
        effect,
        _texts(facts.get("policies")),
        _texts(private.get("reasons")),
        version,
        mandate if isinstance(mandate, str) else None,
        arguments if isinstance(arguments, Mapping) else None,
    )


def redecide(request: Request, policies: PolicySet) -> Decision:
    """What a set decides about a recorded question, bound as the enforcement point binds it."""
    decision = policies.decide(request)
    return bind(decision, request) if request.context.get("via") == GATEWAY else decision


def adapted(request: Request, schema: RequestSchema) -> Request:
    """The question as this schema spells it.

    A fact that the schema lost is dropped; one that the record does not have yet gets its
    default, which denies.
    """
    context = {name: value for name, value in request.context.items() if name in schema.facts}
    if len(context) == len(request.context) and context.keys() >= schema.required.keys():
        return request
    defaults = to_request(_stranger(request)).context
    for name, kind in schema.required.items():
        if name not in context:
            context[name] = defaults.get(name, kind())
    return Request(request.subject, request.action, request.resource, context)


def _stranger(request: Request) -> CallFacts:
    server, _, tool = request.resource.partition("/")
    effect = ToolEffect(request.action)
    return CallFacts(agent=request.subject, server=server, tool=tool, effect=effect)


def _effect(facts: JsonObject) -> Effect | None:
    stage, said = facts.get("stage", _POLICY), facts.get("decision")
    if stage == _APPROVAL:
        return Effect.STEP_UP  # the policies would have let a person decide; the person said no
    if stage != _POLICY:
        return None
    shadow = facts.get("shadow")
    if isinstance(shadow, Mapping) and shadow.get("enforced") is False:
        said = shadow.get("decision")  # what the policies said, and a trial let pass
    return next((effect for effect in Effect if effect.value == said), None)


def _request(facts: JsonObject, context: JsonObject) -> Request | None:
    agent, action = facts.get("agent"), facts.get("effect")
    resource = facts.get("resource") or f"{facts.get('server')}/{facts.get('tool')}"
    if not (isinstance(agent, str) and isinstance(action, str) and isinstance(resource, str)):
        return None
    known: dict[str, Fact] = {
        name: value for name, value in context.items() if isinstance(value, bool | int | str)
    }
    return Request(agent, action, resource, known)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list | tuple) else ()
