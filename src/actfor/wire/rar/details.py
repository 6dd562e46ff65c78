"""Authority on the wire: RFC 9396 ``authorization_details`` of type ``mission_resource_access``.

One object per grant (draft-mcguinness-oauth-mission, Common Constraints):

    {"type": "mission_resource_access", "resource": "<issuer>/mcp/<server>", "actions": [tool, …],
     "constraints": {"effects": […], "arguments": {"/to": {"enum": […]}}, "max_calls": 3,
                     "rates": [{"calls": 5, "per": "hour"}], "time_window": {…},
                     "max_amount": {"amount": "500.00", "currency": "EUR"},
                     "requires_action_approval": true or {"above": {…}, "new_recipient": true},
                     "purpose_bound": true,
                     "budget": {"calls": 40, "max_amount": {…}, "recipients": 3,
                                "windows": [{"per": "day", "calls": 10}]},
                     "flows": [{"from": "untrusted", "to": "recipient", "decision": "deny"}]},
     "delegation": {"max_depth": 1, "allowed_delegates": ["helper"]}}

``effects``, ``arguments``, ``max_calls``, ``rates``, ``purpose_bound``, ``budget``, ``flows`` and
the forms of ``time_window`` and ``requires_action_approval`` are ours, listed in docs/standards.
Budget, flows and delegation belong to the whole and are the same in each object. A type, member or
constraint that we do not know is refused: what cannot be enforced must not be relied on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue, digest
from actfor.wire.rar.authority import Authority, Grant
from actfor.wire.rar.budget import Budget
from actfor.wire.rar.flow import Flow
from actfor.wire.rar.spelling import WIRE, Asking, count, flows, only, texts

DETAIL_TYPE: Final = "mission_resource_access"
INVALID_DETAILS: Final = "invalid_authorization_details"

_MEMBERS: Final = frozenset({"type", "resource", "actions", "constraints", "delegation"})
_CONSTRAINTS: Final = WIRE.members | {"requires_action_approval", "budget", "flows"}


def to_authorization_details(authority: Authority, *, resources: str) -> list[JsonValue]:
    """The wire form. ``resources`` is the URL below which servers are: ``<issuer>/mcp``."""
    return [_detail(grant, authority, resources) for grant in authority.grants]


def from_authorization_details(details: JsonValue, *, resources: str) -> Authority:
    """Parse the wire form strictly.

    Raises:
        Refused: MALFORMED with code `invalid_authorization_details`.
    """
    try:
        return _authority(details, resources)
    except Refused as refused:
        raise Refused(refused.kind, refused.detail, code=INVALID_DETAILS) from refused


def authority_hash(issuer: str, details: JsonValue) -> str:
    """The digest of a committed authority set (draft-mcguinness-oauth-mission, anchors)."""
    return _anchor("mission-authority-set", issuer, details)


def intent_hash(issuer: str, intent: JsonValue) -> str:
    """The digest of a committed intent."""
    return _anchor("mission-intent", issuer, intent)


def _anchor(kind: str, issuer: str, value: JsonValue) -> str:
    return digest({"typ": kind, "iss": issuer, "value": value})


def _authority(details: JsonValue, resources: str) -> Authority:
    if not isinstance(details, list | tuple) or not details:
        raise Refused(Kind.MALFORMED, "authorization_details is a list of objects")
    parsed = [_parse(detail, resources) for detail in details]
    whole = parsed[0][1]
    if any(other != whole for _, other in parsed):
        raise Refused(
            Kind.MALFORMED, "budget, flows and delegation must be the same in each object"
        )
    return Authority(tuple(grant for grant, _ in parsed), *whole)


def _detail(grant: Grant, authority: Authority, resources: str) -> dict[str, JsonValue]:
    delegation: dict[str, JsonValue] = {"max_depth": authority.max_depth}
    if authority.delegates is not None:
        delegation["allowed_delegates"] = list(authority.delegates)
    return {
        "type": DETAIL_TYPE,
        "resource": f"{resources}/{grant.server}",
        "actions": list(grant.tools),
        "constraints": {**_limits(grant), **_limits_of_all(authority)},
        "delegation": delegation,
    }


def _limits(grant: Grant) -> dict[str, JsonValue]:
    body = WIRE.of_grant(grant)
    if grant.approval == "always":
        body["requires_action_approval"] = True
    elif rule := WIRE.of_asking(grant):
        body["requires_action_approval"] = rule
    return body


def _limits_of_all(authority: Authority) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {}
    if authority.budget != Budget():
        body["budget"] = WIRE.of_budget(authority.budget)
    if authority.flows:
        body["flows"] = [flow.to_json() for flow in authority.flows]
    return body


def _parse(
    detail: JsonValue, resources: str
) -> tuple[Grant, tuple[Budget, int, tuple[str, ...] | None, tuple[Flow, ...]]]:
    if not isinstance(detail, Mapping) or detail.get("type") != DETAIL_TYPE:
        raise Refused(Kind.MALFORMED, f"each object must have the type `{DETAIL_TYPE}`")
    only(detail, _MEMBERS, "authorization detail")
    resource = detail.get("resource")
    if not isinstance(resource, str) or not resource.startswith(f"{resources}/"):
        raise Refused(Kind.MALFORMED, "`resource` is not one of our servers")
    constraints = detail.get("constraints")
    if not isinstance(constraints, Mapping):
        raise Refused(Kind.MALFORMED, "`constraints` is an object")
    only(constraints, _CONSTRAINTS, "constraint")
    asking = _asking(constraints.get("requires_action_approval"))
    server, tools = resource.removeprefix(f"{resources}/"), texts(detail.get("actions"), "actions")
    grant = WIRE.grant(server, tools, constraints, asking)
    budget = WIRE.budget(constraints.get("budget", {}))
    depth, delegates = _delegation(detail.get("delegation", {}))
    return grant, (budget, depth, delegates, flows(constraints.get("flows", [])))


def _delegation(body: JsonValue) -> tuple[int, tuple[str, ...] | None]:
    if not isinstance(body, Mapping):
        raise Refused(Kind.MALFORMED, "`delegation` is an object")
    only(body, {"max_depth", "allowed_delegates"}, "delegation member")
    named = body.get("allowed_delegates")
    delegates = None if named is None else tuple(sorted(set(texts(named, "allowed_delegates"))))
    return count(body.get("max_depth"), "max_depth") or 0, delegates


def _asking(value: JsonValue) -> Asking:
    if isinstance(value, Mapping):
        return WIRE.asking(value)
    if value is not None and not isinstance(value, bool):
        raise Refused(
            Kind.MALFORMED, "`requires_action_approval` is true, false or an approval rule"
        )
    return Asking("always" if value is True else "policy")
