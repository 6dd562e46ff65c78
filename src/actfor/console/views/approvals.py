"""The inbox, and the page on which a person decides about one exact call."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.approval import Answer, Approval, SlotOrigin, State
from actfor.console import render
from actfor.console.desk import Desk, go, notice
from actfor.console.forms import Form
from actfor.console.guard import Visitor
from actfor.console.html import left
from actfor.errors import Kind, Refused
from actfor.wire.spiffe import SpiffeId


def routes(desk: Desk) -> list[Route]:
    """``/approvals``, ``/approvals/{id}`` and the denial that needs no script."""
    approvals = desk.services.approvals

    async def inbox(request: Request, visitor: Visitor) -> Response:
        found = await approvals.inbox(visitor.person)
        return await desk.page(
            visitor,
            "approvals.html",
            "approvals",
            waiting=found.waiting,
            answered=found.settled,
            names=await desk.names(),
            goals={one.call.mandate_id: await _goal(desk, one) for one in found.waiting},
        )

    async def show(request: Request, visitor: Visitor) -> Response:
        found = await approvals.show(visitor.person, request.path_params["id"])
        context = _shown(found, whole=request.query_params.get("full") == "1")
        names = await desk.names()
        return await desk.page(
            visitor,
            "approval.html",
            "approvals",
            **context,
            left=left(found.expires_at, desk.services.clock()),
            goal=await _goal(desk, found),
            person_name=names.get(found.call.person_id, found.call.person_id),
            approver=names.get(found.approver or "", found.approver or "nobody"),
            enforcer=names.get(found.call.enforced_by, found.call.enforced_by),
            refusal=approvals.refusal(visitor.person, found, Answer.APPROVE),
            may_deny=approvals.refusal(visitor.person, found, Answer.DENY) is None,
            notice=notice(request),
        )

    async def deny(request: Request, visitor: Visitor, form: Form) -> Response:
        key = request.path_params["id"]
        await approvals.answer(visitor.person, key, Answer.DENY, reason=form.one("reason") or None)
        return go(f"/approvals/{key}")

    return [
        Route("/approvals", desk.shown(inbox), methods=["GET"]),
        Route("/approvals/{id}", desk.shown(show), methods=["GET"]),
        Route("/approvals/{id}/deny", desk.done(deny), methods=["POST"]),
    ]


def _shown(found: Approval, *, whole: bool) -> dict[str, Any]:
    """What the page shows of the call, from the bytes that were approved and nothing else."""
    limit = None if whole else render.FOLD
    rows = render.rows(found.call.arguments, limit=limit)
    money = [row for row in rows if row.money]
    says = None if found.agent_text is None else render.text(found.agent_text, limit=limit)
    return {
        "a": found,
        "rows": rows,
        "money": money,
        "currency": _currency(rows),
        "says": says,
        # A yes to what was not on the page is no yes: approving is offered once all of it is.
        "folded": found.state is State.PENDING and any(row.value.more for row in rows),
        "short": render.short_code(found.digest),
        "chain": tuple(reversed(found.call.chain)) or (found.call.agent,),
        "through": [SpiffeId.parse(one).agent or one for one in found.call.chain[1:]],
        "origins": [_origin(one, found) for one in found.origins],
        "exact": json.dumps(found.call.arguments, indent=2, sort_keys=True, ensure_ascii=True),
    }


def _origin(one: SlotOrigin, found: Approval) -> dict[str, Any]:
    """One value and where it comes from, in words of ours around text of others."""
    tone, whose = _WHOSE.get(one.label, ("bad", "unknown"))
    return {
        "pointer": one.pointer,
        "path": render.text(one.pointer, limit=None),
        "value": render.text(one.value, limit=render.FOLD),
        "tone": tone,
        "whose": whose,
        "how": _HOW.get(one.how, "Traced."),
        "source": one.source,
        "field": one.field,
        "author": render.text(one.author, limit=120) if one.author else None,
        "endorsable": one.endorsable,
        "endorsed": one.pointer in found.endorsed,
    }


_WHOSE = {
    "user": ("ok", "you said it"),
    "from": ("ok", "from a source you named"),
    "trusted": ("ok", "a system of record"),
    "attested": ("warn", "a stranger's, vouched for by a system"),
    "unknown": ("warn", "nobody said it"),
    "untrusted": ("bad", "other people's text"),
}
_HOW = {
    "words": "It stands in the words of the mandate.",
    "endorsed": "A person said that it is right for this argument.",
    "named-source": "It is the one value of its kind in a source that the mandate's words name.",
    "person-named": "It is the one known address of a person that the mandate's words name.",
    "record": "A system that the operator trusts says so.",
    "composed": "It is put together from parts.",
    "exact": "It was read exactly like this.",
    "part": "It was read as a part of a text.",
    "look-alike": "It LOOKS LIKE a value you know, and is another.",
    "encoded": "A text that was read spells it in an encoded form.",
    "solicited": "A text that others wrote asks for it.",
    "ambiguous": "Several values could be meant.",
    "forgotten": "It may have been read before; what was read is not kept any more.",
    "none": "It was read nowhere: the agent made it up, or put it together.",
}


def _currency(rows: list[render.Row]) -> render.Row | None:
    named = [row for row in rows if row.name == "currency"]
    return named[0] if len(named) == 1 else None


async def _goal(desk: Desk, found: Approval) -> str | None:
    try:
        mandate = await desk.services.delegation.mandate(found.call.mandate_id)
    except Refused as refused:
        if refused.kind is Kind.NOT_FOUND:
            return None
        raise
    return mandate.goal
