"""Authority as a person writes it: console, command line, templates.

{"grants": [{"server": "bank", "tools": ["pay"], "effects": ["pay"],
             "args": {"/to": {"const": "DE02…"}}, "max_calls": 2,
             "rates": [{"calls": 5, "per": "hour"}], "window": {"from": "08:00", "until": "18:00"},
             "amount": {"value": "500.00", "currency": "EUR"},
             "approval": "policy", "always" or {"above": {…}, "new_recipient": true},
             "purpose_bound": true}],
 "budget": {"calls": 40, "amount": {"value": "900.00", "currency": "EUR"}, "recipients": 3,
            "windows": [{"per": "day", "amount": {…}}]},
 "flows": [{"from": "untrusted", "to": "recipient", "decision": "deny"}],
 "max_depth": 0, "delegates": ["helper"]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar.authority import Authority, Grant
from actfor.wire.rar.budget import Budget
from actfor.wire.rar.spelling import DRAFT, Asking, count, flows, only, texts, within

DRAFT_MEMBERS: Final = frozenset({"grants", "budget", "flows", "max_depth", "delegates"})
"""The members of a draft that are its authority."""

_GRANT: Final = DRAFT.members | {"server", "tools", "approval"}


def authority_from_draft(body: JsonObject) -> Authority:
    """Parse the ``DRAFT_MEMBERS`` of a draft; other members are not looked at.

    Raises:
        Refused: MALFORMED, naming what is wrong.
    """
    grants, delegates = body.get("grants"), body.get("delegates")
    if not isinstance(grants, list | tuple):
        raise Refused(Kind.MALFORMED, "`grants` is a list")
    return Authority(
        tuple(_grant(grant, number) for number, grant in enumerate(grants, 1)),
        _budget(body.get("budget", {})),
        count(body.get("max_depth"), "max_depth") or 0,
        None if delegates is None else texts(delegates, "delegates"),
        flows(body.get("flows", [])),
    )


def draft_of(authority: Authority) -> dict[str, JsonValue]:
    """The draft form of an authority; ``authority_from_draft`` reads it back."""
    body: dict[str, JsonValue] = {
        "grants": [grant_draft(grant) for grant in authority.grants],
        "budget": DRAFT.of_budget(authority.budget),
        "max_depth": authority.max_depth,
    }
    if authority.delegates is not None:
        body["delegates"] = list(authority.delegates)
    if authority.flows:
        body["flows"] = [flow.to_json() for flow in authority.flows]
    return body


def _grant(body: JsonValue, number: int) -> Grant:
    with within(f"grant {number}"):
        if not isinstance(body, Mapping):
            raise Refused(Kind.MALFORMED, "a grant is an object")
        only(body, _GRANT, "grant member")
        server = body.get("server")
        if not isinstance(server, str):
            raise Refused(Kind.MALFORMED, "`server` is the name of a server")
        tools = texts(body.get("tools"), "tools")
        return DRAFT.grant(server, tools, body, _asking(body.get("approval", "policy")))


def _budget(body: JsonValue) -> Budget:
    with within("`budget`"):
        return DRAFT.budget(body)


def grant_draft(grant: Grant) -> dict[str, JsonValue]:
    """The draft form of one grant."""
    return {
        "server": grant.server,
        "tools": list(grant.tools),
        **DRAFT.of_grant(grant),
        "approval": DRAFT.of_asking(grant) or grant.approval,
    }


def _asking(value: JsonValue) -> Asking:
    if value in ("policy", "always"):
        return Asking("always" if value == "always" else "policy")
    if isinstance(value, Mapping):
        return DRAFT.asking(value)
    raise Refused(Kind.MALFORMED, "`approval` is `policy`, `always` or an approval rule")
