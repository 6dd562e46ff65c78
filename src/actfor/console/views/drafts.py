"""Drafts of mandates: proposed from the person's words, edited as JSON, confirmed in plain words.

Three steps on plain pages: say what you want; see what that means, and narrow it; confirm. What is
committed is what the page before said, by its hash.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.console import render
from actfor.console.desk import Desk, go
from actfor.console.forms import Form
from actfor.console.guard import Visitor
from actfor.console.html import agent_name
from actfor.console.mandates import hours_of
from actfor.delegation import MandateDraft
from actfor.delegation.model import Wish, parse_goal
from actfor.errors import Kind, Refused
from actfor.gateway import Proposals
from actfor.identity import AgentState
from actfor.wire import strict_json
from actfor.wire.canonical import JsonObject
from actfor.wire.rar import (
    DRAFT_MEMBERS,
    Authority,
    Grant,
    authority_from_draft,
    authority_hash,
    draft_of,
    explain,
    only,
    to_authorization_details,
)

_SHOWN_AGAIN = frozenset({Kind.MALFORMED, Kind.NOT_FOUND, Kind.CONFLICT, Kind.BUSY})
_FIELDS = ("words", "agent", "hours", "four_eyes", "wish")


def routes(desk: Desk) -> list[Route]:
    """``/mandates/propose``."""

    async def ask(request: Request, visitor: Visitor) -> Response:
        return await _asking(desk, visitor, {"agent": request.query_params.get("agent", "")})

    async def go_on(request: Request, visitor: Visitor, form: Form) -> Response:
        said = {name: form.one(name) for name in _FIELDS}
        try:
            match form.one("step"):
                case "propose":
                    return await _proposed(desk, visitor, said, model=form.one("model") == "1")
                case "template":
                    return await _from_template(desk, visitor, said, form)
                case "wish":
                    return await _from_wish(desk, visitor, said, form.one("wish"))
            authority = _narrowed(form.one("draft"), frozenset(form.all("keep")))
            if form.one("step") == "commit":
                return await _committed(desk, visitor, said, authority, form.one("shown"))
            return await _draft_page(desk, visitor, said, authority)
        except Refused as refused:
            if refused.kind not in _SHOWN_AGAIN:
                raise
            return await _asking(desk, visitor, said, refused.detail)

    return [
        Route("/mandates/propose", desk.shown(ask), methods=["GET"]),
        Route("/mandates/propose", desk.done(go_on), methods=["POST"]),
    ]


async def _asking(
    desk: Desk, visitor: Visitor, said: dict[str, str], problem: str | None = None
) -> Response:
    agents = await desk.services.agents.list()
    return await desk.page(
        visitor,
        "mandate_propose.html",
        "mandates",
        said={**dict.fromkeys(_FIELDS, ""), **said},
        problem=problem,
        has_model=desk.services.proposals.has_model,
        templates=await desk.services.delegation.templates(),
        wishes=[_wish(one) for one in await desk.services.delegation.wishes(visitor.person)],
        agents=[agent for agent in agents if agent.state is not AgentState.RETIRED],
    )


async def _proposed(desk: Desk, visitor: Visitor, said: dict[str, str], *, model: bool) -> Response:
    proposals: Proposals = desk.services.proposals
    if model:
        drafted = await proposals.from_model(said["words"])
    else:
        drafted = proposals.from_words(said["words"])
    return await _draft_page(
        desk, visitor, said, drafted.authority, lines=drafted.lines, note=drafted.note
    )


async def _from_template(
    desk: Desk, visitor: Visitor, said: dict[str, str], form: Form
) -> Response:
    template = await desk.services.delegation.template(form.one("template"))
    draft = template.fill({name: form.one(f"set-{name}").strip() for name in template.parameters})
    said = {**said, "words": str(draft["goal"])}
    return await _draft_page(desk, visitor, said, authority_from_draft(draft))


async def _from_wish(desk: Desk, visitor: Visitor, said: dict[str, str], wish: str) -> Response:
    """An agent's wish as a draft: its limits are the agent's, the words are the person's own."""
    known = {one.id: one for one in await desk.services.delegation.wishes(visitor.person)}
    if wish not in known:
        raise Refused(Kind.NOT_FOUND, "there is no such wish any more")
    agent = agent_name(known[wish].agent) or ""
    note = (
        "An agent wished for this. Look at each line: nothing in it was checked by anyone."
        " If you give it, the agent is told and goes on by itself."
    )
    return await _draft_page(
        desk, visitor, {**said, "agent": agent}, known[wish].authority, note=note
    )


def _wish(one: Wish) -> dict[str, Any]:
    return {
        "id": one.id,
        "agent": agent_name(one.agent) or one.agent,
        "plain": explain(one.authority),
        "says": None if one.says is None else render.text(one.says),
    }


async def _draft_page(
    desk: Desk,
    visitor: Visitor,
    said: dict[str, str],
    authority: Authority,
    *,
    lines: tuple[JsonObject, ...] = (),
    note: str = "",
) -> Response:
    draft = _draft(desk, said, authority)
    await desk.services.agents.show(draft.agent)
    draft.check(desk.services.clock())
    return await desk.page(
        visitor,
        "mandate_draft.html",
        "mandates",
        said=said,
        lines=lines,
        note=note,
        plain=explain(authority, four_eyes=draft.four_eyes),
        expires_at=draft.expires_at,
        draft=json.dumps(draft_of(authority), indent=1, ensure_ascii=True),
        shown=_hash(desk, authority),
    )


async def _committed(
    desk: Desk, visitor: Visitor, said: dict[str, str], authority: Authority, shown: str
) -> Response:
    # What is committed is what the page said, not what a form came back with.
    if shown != _hash(desk, authority):
        raise Refused(Kind.CONFLICT, "the mandate is not the one you looked at; look again")
    draft = _draft(desk, said, authority)
    made = await desk.services.delegation.commit_mandate(visitor.person, draft)
    return go(f"/mandates/{made.id}?done=committed")


def _draft(desk: Desk, said: dict[str, str], authority: Authority) -> MandateDraft:
    return MandateDraft(
        agent=said["agent"],
        goal=parse_goal(said["words"]),
        authority=authority,
        expires_at=desk.services.clock() + hours_of(said["hours"]),
        four_eyes=said["four_eyes"] == "1",
        wish=said["wish"] or None,
    )


def _hash(desk: Desk, authority: Authority) -> str:
    issuer = desk.services.issuer
    details = to_authorization_details(authority, resources=f"{issuer}/mcp")
    return authority_hash(issuer, details)


def _narrowed(text: str, keep: frozenset[str]) -> Authority:
    """The authority of an edited draft, without the tools that were unticked (where any were)."""
    body = strict_json.load_object(text.encode(errors="replace"))
    only(body, DRAFT_MEMBERS | {"goal"}, "draft member")  # it might have limited it
    authority = authority_from_draft(body)
    if not keep:
        return authority
    kept = [one for one in (_kept(grant, keep) for grant in authority.grants) if one is not None]
    if not kept:
        raise Refused(Kind.MALFORMED, "keep at least one tool")
    return replace(authority, grants=tuple(kept))


def _kept(grant: Grant, keep: frozenset[str]) -> Grant | None:
    tools = tuple(name for name in grant.tools if f"{grant.server}/{name}" in keep)
    return replace(grant, tools=tools) if tools else None
