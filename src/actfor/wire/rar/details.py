"""Authority on the wire: RFC 9396 ``authorization_details`` of type ``mission_resource_access``.

One object per grant (draft-mcguinness-oauth-mission, Common Constraints):

    {"type": "mission_resource_access", "resource": "<issuer>/mcp/<server>", "actions": [tool, …],
     "constraints": {"effects": […], "arguments": {"/to": {"enum": […]}}, "max_calls": 3,
                     "max_amount": {"amount": "500.00", "currency": "EUR"},
                     "requires_action_approval": true,
                     "budget": {"calls": 40, "max_amount": {…}}},
     "delegation": {"max_depth": 1}}

``effects``, ``arguments``, ``max_calls`` and ``budget`` are ours, listed in docs/standards. The
budget and the depth belong to the whole and are the same in each object. A type, member or
constraint that we do not know is refused: what cannot be enforced must not be relied on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue, digest
from actfor.wire.rar.authority import Authority, Budget, Grant
from actfor.wire.rar.constraint import Constraint, constraint_from_json
from actfor.wire.rar.money import Money

DETAIL_TYPE: Final = "mission_resource_access"
INVALID_DETAILS: Final = "invalid_authorization_details"

_MEMBERS: Final = frozenset({"type", "resource", "actions", "constraints", "delegation"})
_CONSTRAINTS: Final = frozenset(
    {"effects", "arguments", "max_calls", "max_amount", "requires_action_approval", "budget"}
)


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
    _, budget, depth = parsed[0]
    if any((other, hops) != (budget, depth) for _, other, hops in parsed):
        raise Refused(Kind.MALFORMED, "budget and delegation must be the same in each object")
    return Authority(tuple(grant for grant, _, _ in parsed), budget, depth)


def _detail(grant: Grant, authority: Authority, resources: str) -> dict[str, JsonValue]:
    constraints: dict[str, JsonValue] = {"effects": list(grant.effects)}
    if grant.args:
        constraints["arguments"] = {name: limit.to_json() for name, limit in grant.args.items()}
    if grant.max_calls is not None:
        constraints["max_calls"] = grant.max_calls
    if grant.amount is not None:
        constraints["max_amount"] = grant.amount.to_json()
    if grant.approval == "always":
        constraints["requires_action_approval"] = True
    if authority.budget != Budget():
        constraints["budget"] = _budget(authority.budget)
    return {
        "type": DETAIL_TYPE,
        "resource": f"{resources}/{grant.server}",
        "actions": list(grant.tools),
        "constraints": constraints,
        "delegation": {"max_depth": authority.max_depth},
    }


def _budget(budget: Budget) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {}
    if budget.calls is not None:
        body["calls"] = budget.calls
    if budget.amount is not None:
        body["max_amount"] = budget.amount.to_json()
    return body


def _parse(detail: JsonValue, resources: str) -> tuple[Grant, Budget, int]:
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
    grant = Grant(
        server=resource.removeprefix(f"{resources}/"),
        tools=texts(detail.get("actions"), "actions"),
        effects=texts(constraints.get("effects"), "effects"),
        args=arguments(constraints.get("arguments", {})),
        max_calls=count(constraints.get("max_calls"), "max_calls"),
        amount=_optional_money(constraints.get("max_amount")),
        approval="always" if _flag(constraints.get("requires_action_approval")) else "policy",
    )
    return grant, _parse_budget(constraints.get("budget", {})), _depth(detail.get("delegation", {}))


def _parse_budget(body: JsonValue) -> Budget:
    if not isinstance(body, Mapping):
        raise Refused(Kind.MALFORMED, "`budget` is an object")
    only(body, {"calls", "max_amount"}, "budget member")
    return Budget(count(body.get("calls"), "calls"), _optional_money(body.get("max_amount")))


def _depth(body: JsonValue) -> int:
    if not isinstance(body, Mapping):
        raise Refused(Kind.MALFORMED, "`delegation` is an object")
    only(body, {"max_depth"}, "delegation member")
    return count(body.get("max_depth"), "max_depth") or 0


def _optional_money(value: JsonValue) -> Money | None:
    return None if value is None else Money.from_json(value)


def _flag(value: JsonValue) -> bool:
    if value is not None and not isinstance(value, bool):
        raise Refused(Kind.MALFORMED, "`requires_action_approval` is true or false")
    return value is True


def arguments(value: JsonValue) -> dict[str, Constraint]:
    """Limits by pointer, from ``{"/to": {"enum": […]}}``.

    Raises:
        Refused: MALFORMED.
    """
    if not isinstance(value, Mapping):
        raise Refused(Kind.MALFORMED, "argument limits are an object of pointers")
    return {name: constraint_from_json(limit) for name, limit in value.items()}


def texts(value: JsonValue, name: str) -> tuple[str, ...]:
    """A list of text.

    Raises:
        Refused: MALFORMED.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [item for item in value if isinstance(item, str)]
        if len(items) == len(value):
            return tuple(items)
    raise Refused(Kind.MALFORMED, f"`{name}` is a list of text")


def count(value: JsonValue, name: str) -> int | None:
    """A whole number or nothing.

    Raises:
        Refused: MALFORMED.
    """
    if value is None:
        return None
    if type(value) is not int:
        raise Refused(Kind.MALFORMED, f"`{name}` is a whole number")
    return value


def only(body: JsonObject, known: frozenset[str] | set[str], what: str) -> None:
    """Refuse any member beyond ``known``.

    Raises:
        Refused: MALFORMED, naming the first unknown member.
    """
    unknown = sorted(body.keys() - known)
    if unknown:
        shown = unknown[0][:64].encode("unicode_escape").decode("ascii")
        raise Refused(Kind.MALFORMED, f"{what} `{shown}` is not known")
