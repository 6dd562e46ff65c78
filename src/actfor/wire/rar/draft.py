"""Authority as a person writes it: console, command line, templates.

{"grants": [{"server": "bank", "tools": ["pay"], "effects": ["pay"],
             "args": {"/to": {"const": "DE02…"}}, "max_calls": 2,
             "amount": {"value": "500.00", "currency": "EUR"}, "approval": "always"}],
 "budget": {"calls": 40, "amount": {"value": "900.00", "currency": "EUR"}}, "max_depth": 0}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar.authority import Authority, Budget, Grant
from actfor.wire.rar.details import arguments, count, only, texts
from actfor.wire.rar.money import Money

_GRANT: Final = frozenset({"server", "tools", "effects", "args", "max_calls", "amount", "approval"})


def authority_from_draft(body: JsonObject) -> Authority:
    """Parse ``grants``, ``budget`` and ``max_depth`` of a draft; other members are not looked at.

    Raises:
        Refused: MALFORMED, naming what is wrong.
    """
    grants, budget = body.get("grants"), body.get("budget", {})
    if not isinstance(grants, list | tuple):
        raise Refused(Kind.MALFORMED, "`grants` is a list")
    if not isinstance(budget, Mapping):
        raise Refused(Kind.MALFORMED, "`budget` is an object")
    only(budget, {"calls", "amount"}, "budget member")
    return Authority(
        tuple(_grant(grant) for grant in grants),
        Budget(count(budget.get("calls"), "calls"), _money(budget.get("amount"))),
        count(body.get("max_depth"), "max_depth") or 0,
    )


def draft_of(authority: Authority) -> dict[str, JsonValue]:
    """The draft form of an authority; ``authority_from_draft`` reads it back."""
    budget: dict[str, JsonValue] = {}
    if authority.budget.calls is not None:
        budget["calls"] = authority.budget.calls
    if authority.budget.amount is not None:
        budget["amount"] = _shown(authority.budget.amount)
    grants: list[JsonValue] = [_grant_draft(grant) for grant in authority.grants]
    return {"grants": grants, "budget": budget, "max_depth": authority.max_depth}


def _grant(body: JsonValue) -> Grant:
    if not isinstance(body, Mapping):
        raise Refused(Kind.MALFORMED, "a grant is an object")
    only(body, _GRANT, "grant member")
    server = body.get("server")
    return Grant(
        server=server if isinstance(server, str) else "",
        tools=texts(body.get("tools"), "tools"),
        effects=texts(body.get("effects"), "effects"),
        args=arguments(body.get("args", {})),
        max_calls=count(body.get("max_calls"), "max_calls"),
        amount=_money(body.get("amount")),
        approval=_approval(body.get("approval", "policy")),
    )


def _grant_draft(grant: Grant) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {
        "server": grant.server,
        "tools": list(grant.tools),
        "effects": list(grant.effects),
        "approval": grant.approval,
    }
    if grant.args:
        body["args"] = {name: limit.to_json() for name, limit in grant.args.items()}
    if grant.max_calls is not None:
        body["max_calls"] = grant.max_calls
    if grant.amount is not None:
        body["amount"] = _shown(grant.amount)
    return body


def _approval(value: JsonValue) -> Literal["policy", "always"]:
    if value == "always":
        return "always"
    if value == "policy":
        return "policy"
    raise Refused(Kind.MALFORMED, "`approval` is `policy` or `always`")


def _money(value: JsonValue) -> Money | None:
    return None if value is None else Money.from_json(value, amount_member="value")


def _shown(money: Money) -> dict[str, JsonValue]:
    return {"value": money.text, "currency": money.currency}
