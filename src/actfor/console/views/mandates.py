"""Mandates: given in two steps (say it, confirm what was understood), looked at, revoked."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.console.desk import Desk, go, notice
from actfor.console.forms import Form
from actfor.console.guard import Visitor
from actfor.console.html import agent_name
from actfor.console.mandates import EFFECTS, Filled, row
from actfor.delegation import Mandate, MandateDraft
from actfor.delegation.model import parse_goal
from actfor.errors import Kind, Refused
from actfor.gateway.effects import SqlEffect
from actfor.gateway.model import Tool
from actfor.identity import AgentState
from actfor.wire.rar import (
    Authority,
    Money,
    authority_hash,
    explain,
    to_authorization_details,
)


def routes(desk: Desk) -> list[Route]:
    """``/mandates``, ``/mandates/new``, ``/mandates/{id}`` and its revocation."""
    delegation = desk.services.delegation

    async def listing(request: Request, visitor: Visitor) -> Response:
        now = desk.services.clock()
        found = await delegation.mandates(desk.whose(visitor))
        return await desk.page(
            visitor,
            "mandates.html",
            "mandates",
            mandates=[row(one.at(now)) for one in found],
            names=await desk.names(),
        )

    async def new(request: Request, visitor: Visitor) -> Response:
        return await _form(desk, visitor, Filled(agent=request.query_params.get("agent", "")))

    async def give(request: Request, visitor: Visitor, form: Form) -> Response:
        filled, step = Filled.read(form), form.one("step")
        if step == "edit":
            return await _form(desk, visitor, filled)
        try:
            if step == "commit":
                return await _commit(desk, visitor, filled, form.one("shown"))
            return await _review(desk, visitor, filled)
        except Refused as refused:
            if refused.kind in {Kind.MALFORMED, Kind.NOT_FOUND, Kind.CONFLICT}:
                return await _form(desk, visitor, filled, refused.detail)
            raise

    async def show(request: Request, visitor: Visitor) -> Response:
        one = await _visible(desk, visitor, request.path_params["id"])
        budget = one.authority.budget
        return await desk.page(
            visitor,
            "mandate.html",
            "mandates",
            one=_shown(one),
            plain=explain(one.authority, four_eyes=one.four_eyes),
            calls_limit=budget.calls,
            amount_limit=budget.amount,
            amount_used=Money.of_minor(one.amount_used, budget.amount.currency)
            if budget.amount is not None
            else None,
            agent_name=agent_name(one.agent),
            names=await desk.names(),
            endorsements=await delegation.endorsements(one.id),
            wire=_wire(desk, one.authority)[0],
            may_revoke=desk.whose(visitor) is None or one.person_id == visitor.person.id,
            notice=notice(request),
        )

    async def revoke(request: Request, visitor: Visitor, form: Form) -> Response:
        key = request.path_params["id"]
        await delegation.revoke_mandate(visitor.person, key, form.one("reason") or "in the console")
        return go(f"/mandates/{key}?done=revoked")

    async def withdraw(request: Request, visitor: Visitor, form: Form) -> Response:
        key, endorsement = request.path_params["id"], request.path_params["endorsement"]
        await delegation.withdraw_endorsement(visitor.person, key, endorsement)
        return go(f"/mandates/{key}?done=withdrawn")

    return [
        Route("/mandates", desk.shown(listing), methods=["GET"]),
        Route("/mandates/new", desk.shown(new), methods=["GET"]),
        Route("/mandates/new", desk.done(give), methods=["POST"]),
        Route("/mandates/{id}", desk.shown(show), methods=["GET"]),
        Route("/mandates/{id}/revoke", desk.done(revoke), methods=["POST"]),
        Route(
            "/mandates/{id}/endorsements/{endorsement}/withdraw",
            desk.done(withdraw),
            methods=["POST"],
        ),
    ]


async def _form(
    desk: Desk, visitor: Visitor, filled: Filled, problem: str | None = None
) -> Response:
    agents = await desk.services.agents.list()
    return await desk.page(
        visitor,
        "mandate_new.html",
        "mandates",
        form=filled,
        problem=problem,
        agents=[agent for agent in agents if agent.state is not AgentState.RETIRED],
        servers=_servers(desk),
        effects=EFFECTS,
    )


async def _review(desk: Desk, visitor: Visitor, filled: Filled) -> Response:
    draft = await _draft(desk, filled)
    draft.check(desk.services.clock())
    wire, shown = _wire(desk, draft.authority)
    return await desk.page(
        visitor,
        "mandate_review.html",
        "mandates",
        draft=draft,
        form=filled,
        plain=explain(draft.authority, four_eyes=draft.four_eyes),
        expires_at=draft.expires_at,
        wire=wire,
        authority_hash=shown,
        hidden=[*filled.fields(), ("shown", shown)],
    )


async def _commit(desk: Desk, visitor: Visitor, filled: Filled, shown: str) -> Response:
    draft = await _draft(desk, filled)
    # What is committed is what the review page said, not what a form came back with.
    if shown != _wire(desk, draft.authority)[1]:
        raise Refused(Kind.CONFLICT, "the mandate is not the one you reviewed; review it again")
    made = await desk.services.delegation.commit_mandate(visitor.person, draft)
    return go(f"/mandates/{made.id}?done=committed")


async def _draft(desk: Desk, filled: Filled) -> MandateDraft:
    agent = await desk.services.agents.show(filled.agent)
    return MandateDraft(
        agent=agent.name,
        goal=parse_goal(filled.goal),
        authority=filled.authority(),
        expires_at=desk.services.clock() + filled.lifetime(),
        four_eyes=filled.four_eyes,
    )


async def _visible(desk: Desk, visitor: Visitor, key: str) -> Mandate:
    one = await desk.services.delegation.mandate(key)
    if desk.whose(visitor) is not None and one.person_id != visitor.person.id:
        raise Refused(Kind.NOT_FOUND, "there is no such mandate")
    return one.at(desk.services.clock())


def _shown(one: Mandate) -> dict[str, Any]:
    return {
        **row(one),
        "calls_used": one.calls_used,
        "authority_hash": one.authority_hash,
        "intent_hash": one.intent_hash,
    }


def _servers(desk: Desk) -> list[dict[str, Any]]:
    return [
        {
            "name": server.name,
            "tools": [
                {"name": tool.name, "effect": _effect(tool)}
                for tool in server.tools.values()
                if tool.is_pinned
            ],
        }
        for server in desk.services.catalog.servers()
    ]


def _effect(tool: Tool) -> str:
    effect = tool.overlay.effect
    return "by statement" if isinstance(effect, SqlEffect) else effect.value


def _wire(desk: Desk, authority: Authority) -> tuple[str, str]:
    issuer = desk.services.issuer
    details = to_authorization_details(authority, resources=f"{issuer}/mcp")
    return json.dumps(details, indent=2, ensure_ascii=True), authority_hash(issuer, details)
