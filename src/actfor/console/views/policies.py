"""Policies: what is in force and what was, what is proposed, what is tried; and why, for a call."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.authorization import Publication
from actfor.authorization.model.diff import Diff
from actfor.console.desk import Desk, go, notice
from actfor.console.forms import Form
from actfor.console.guard import Visitor
from actfor.errors import Kind, Refused
from actfor.identity import Role

_MOST_LINES = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference; ``tone`` is `add`, `del`, `at` or empty."""

    tone: str
    text: str


def routes(desk: Desk) -> list[Route]:
    """``/policies`` and below, and ``/decisions/{trace}/why``."""
    rooms, services = desk.services.policies, desk.services

    async def listing(request: Request, visitor: Visitor) -> Response:
        now = services.clock()
        return await desk.page(
            visitor,
            "policies.html",
            "policies",
            versions=await rooms.authorization.history(),
            fault=rooms.authorization.fault,
            four_eyes=rooms.changes.four_eyes,
            proposals=[one for one in await rooms.changes.proposals() if one.state == "open"],
            trials=[(run, run.is_live(now)) for run in await rooms.trials.runs()],
            names=await desk.names(),
            may_change=visitor.person.may(Role.ADMIN),
            notice=notice(request),
        )

    async def version(request: Request, visitor: Visitor) -> Response:
        history = await rooms.authorization.history()
        made = _numbered(history, request.path_params["seq"])
        before = next((one for one in history if one.seq == made.seq - 1), None)
        _, source = await rooms.authorization.published(made.version)
        compared = None
        if before is not None:
            compared = await rooms.changes.compare(before.version, made.version)
        return await desk.page(
            visitor,
            "policy.html",
            "policies",
            made=made,
            source=source,
            diff=compared,
            lines=lines(compared),
            in_force=bool(history) and history[0].seq == made.seq,
            names=await desk.names(),
            may_change=visitor.person.may(Role.ADMIN),
        )

    async def rollback(request: Request, visitor: Visitor, form: Form) -> Response:
        visitor.person.require(Role.ADMIN)
        seq = request.path_params["seq"]
        made = await rooms.changes.roll_back(visitor.person.id, f"#{seq}", note=form.one("note"))
        done = "published" if isinstance(made, Publication) else "proposed"
        return go(f"/policies?done={done}")

    async def proposal(request: Request, visitor: Visitor) -> Response:
        found, source = await rooms.changes.proposal(request.path_params["proposal"])
        compared = await rooms.changes.difference(found.id)
        return await desk.page(
            visitor,
            "proposal.html",
            "policies",
            p=found,
            source=source,
            diff=compared,
            lines=lines(compared),
            names=await desk.names(),
            mine=found.author == visitor.person.id,
            may_change=visitor.person.may(Role.ADMIN) and found.state == "open",
        )

    async def approve(request: Request, visitor: Visitor, form: Form) -> Response:
        visitor.person.require(Role.ADMIN)
        await rooms.changes.approve(visitor.person.id, request.path_params["proposal"])
        return go("/policies?done=published")

    async def reject(request: Request, visitor: Visitor, form: Form) -> Response:
        visitor.person.require(Role.ADMIN)
        proposal_id = request.path_params["proposal"]
        await rooms.changes.reject(visitor.person.id, proposal_id, reason=form.one("reason"))
        return go("/policies?done=closed")

    async def trial(request: Request, visitor: Visitor) -> Response:
        _auditor(visitor)
        report = await rooms.trials.report(request.path_params["trial"])
        return await desk.page(
            visitor,
            "trial.html",
            "policies",
            report=report,
            live=report.run.is_live(services.clock()),
            names=await desk.names(),
            may_change=visitor.person.may(Role.ADMIN),
        )

    async def stop(request: Request, visitor: Visitor, form: Form) -> Response:
        visitor.person.require(Role.ADMIN)
        await rooms.trials.stop(visitor.person.id, request.path_params["trial"])
        return go("/policies?done=stopped")

    async def why(request: Request, visitor: Visitor) -> Response:
        key = request.path_params["trace"]
        if not desk.concerns(visitor, await services.audit.trace(key)):
            raise Refused(Kind.NOT_FOUND, "the log has nothing about that")
        return await desk.page(
            visitor,
            "why.html",
            "decisions",
            trace=key,
            accounts=await rooms.rehearsal.account(key),
            operator=desk.whose(visitor) is None,
        )

    return [
        Route("/policies", desk.shown(listing), methods=["GET"]),
        Route("/policies/versions/{seq:int}", desk.shown(version), methods=["GET"]),
        Route("/policies/versions/{seq:int}/rollback", desk.done(rollback), methods=["POST"]),
        Route("/policies/proposals/{proposal}", desk.shown(proposal), methods=["GET"]),
        Route("/policies/proposals/{proposal}/approve", desk.done(approve), methods=["POST"]),
        Route("/policies/proposals/{proposal}/reject", desk.done(reject), methods=["POST"]),
        Route("/policies/trials/{trial}", desk.shown(trial), methods=["GET"]),
        Route("/policies/trials/{trial}/stop", desk.done(stop), methods=["POST"]),
        Route("/decisions/{trace}/why", desk.shown(why), methods=["GET"]),
    ]


def lines(diff: Diff | None) -> list[Line]:
    """The unified text of a difference, a line each, without its two heads."""
    tones = {"+": "add", "-": "del", "@": "at"}
    found = diff.unified.splitlines()[2:] if diff is not None else []
    return [Line(tones.get(line[:1], ""), line) for line in found[:_MOST_LINES]]


def _numbered(history: list[Publication], seq: int) -> Publication:
    found = next((one for one in history if one.seq == seq), None)
    if found is None:
        raise Refused(Kind.NOT_FOUND, "there is no such policy version")
    return found


def _auditor(visitor: Visitor) -> None:
    if not (visitor.person.may(Role.APPROVER) or visitor.person.may(Role.ADMIN)):
        visitor.person.require(Role.APPROVER)
