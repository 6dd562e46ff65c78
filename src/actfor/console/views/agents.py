"""Agents: what was expected of them, what was seen, what they may do, and how to stop them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actfor.console.desk import Desk, go, notice
from actfor.console.forms import Form
from actfor.console.guard import Visitor
from actfor.console.mandates import row
from actfor.errors import Refused
from actfor.identity import Agent, Role
from actfor.identity.measure import Measurer
from actfor.identity.model import Component, Measurement


@dataclass(frozen=True, slots=True)
class Part:
    """One component of the manifest: expected, and seen where this server can look."""

    name: str
    where: str | None
    expected: str
    seen: str | None
    how: str

    @property
    def differs(self) -> bool:
        """Whether it is not what was registered."""
        return self.seen is not None and self.seen != self.expected


def routes(desk: Desk) -> list[Route]:
    """``/agents``, ``/agents/{name}`` and its quarantine."""
    services, looking = desk.services, _Looking()

    async def listing(request: Request, visitor: Visitor) -> Response:
        return await desk.page(
            visitor,
            "agents.html",
            "agents",
            agents=await services.agents.list(),
            names=await desk.names(),
        )

    async def show(request: Request, visitor: Visitor) -> Response:
        agent = await services.agents.show(request.path_params["name"])
        names, now = await desk.names(), services.clock()
        mandates = await services.delegation.mandates(desk.whose(visitor))
        return await desk.page(
            visitor,
            "agent.html",
            "agents",
            a=agent,
            parts=parts(agent, await looking.measured(agent)),
            owner=names.get(agent.owner, agent.owner),
            instances=await services.agents.instances(agent.name),
            mandates=[row(one.at(now)) for one in mandates if one.agent == agent.id],
            names=names,
            may_stop=visitor.person.id == agent.owner or visitor.person.may(Role.ADMIN),
            notice=notice(request),
        )

    async def quarantine(request: Request, visitor: Visitor, form: Form) -> Response:
        name = request.path_params["name"]
        await services.agents.quarantine(visitor.person, name, form.one("reason"))
        return go(f"/agents/{name}?done=quarantined")

    return [
        Route("/agents", desk.shown(listing), methods=["GET"]),
        Route("/agents/{name}", desk.shown(show), methods=["GET"]),
        Route("/agents/{name}/quarantine", desk.done(quarantine), methods=["POST"]),
    ]


def parts(agent: Agent, found: Measurement | None) -> list[Part]:
    """The manifest's components beside what was measured (None: nothing could be)."""
    reference = agent.reference
    files = found.files if found is not None else {}
    listed = [_part("code tree", reference.code, found.code.digest if found is not None else None)]
    for name, component, member in (
        ("executable", reference.executable, "executable"),
        ("prompt", reference.prompt, "prompt"),
        ("tool catalogue", reference.tools, "tools"),
    ):
        if component is not None:
            listed.append(_part(name, component, files.get(member)))
    if reference.model is not None:
        model = f"{reference.model.id} {reference.model.version}"
        listed.append(Part("model", None, model, None, "declared"))
    if reference.image is not None:
        listed.append(Part("container image", None, reference.image, None, "declared"))
    return listed


def _part(name: str, component: Component, seen: str | None) -> Part:
    how = "not readable now" if component.path is not None else "declared"
    return Part(name, component.path, component.digest, seen, how)


class _Looking:
    """Measures for the page, one look at a time: a `Measurer` has one owner."""

    def __init__(self) -> None:
        self._measurer = Measurer()
        self._lock = asyncio.Lock()

    async def measured(self, agent: Agent) -> Measurement | None:
        """What the agent's paths hold now; None where they cannot be read."""
        async with self._lock:
            try:
                return await asyncio.to_thread(self._measurer.measure, agent.reference)
            except Refused:
                return None
