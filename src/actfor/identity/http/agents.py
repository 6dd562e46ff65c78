"""``/v1/agents``: register, look, take out of service, bring back."""

# No `annotations` future here: FastAPI reads the local dependency aliases at run time.

import os
import sys
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from actfor.errors import Kind, Refused
from actfor.identity.http.session import CurrentPerson
from actfor.identity.model import (
    Agent,
    AgentDraft,
    Component,
    ModelRef,
    Person,
    Reference,
    ReferenceDraft,
    Role,
    Tier,
    Wanted,
)
from actfor.identity.service import AgentService, PeopleService
from actfor.wire.timestamps import rfc3339


class Model(BaseModel):
    """The language model, as the owner declares it."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(max_length=200)
    version: str = Field(max_length=200)


class Registration(BaseModel):
    """An agent to register. A path without a digest is measured by the server, now and later."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=200)
    purpose: str = Field(max_length=500)
    tier: Tier = Tier.MEDIUM
    owner: str | None = Field(None, max_length=100, description="a person's id; default: you")
    code_root: str = Field(max_length=4096)
    code_digest: str | None = Field(None, max_length=60)
    executable: str | None = Field(
        None, max_length=4096, description="what runs the code; default: this server's python"
    )
    executable_digest: str | None = Field(None, max_length=60)
    model: Model | None = None
    image_digest: str | None = Field(None, max_length=80)
    prompt_path: str | None = Field(None, max_length=4096)
    prompt_digest: str | None = Field(None, max_length=60)
    tools_path: str | None = Field(None, max_length=4096)
    tools_digest: str | None = Field(None, max_length=60)

    def draft(self) -> AgentDraft:
        """The registration in identity's own words."""
        executable = self.executable or os.path.realpath(sys.executable)
        reference = ReferenceDraft(
            code=Wanted(self.code_root, self.code_digest),
            executable=Wanted(executable, self.executable_digest),
            model=ModelRef(self.model.id, self.model.version) if self.model else None,
            image=self.image_digest,
            prompt=_wanted(self.prompt_path, self.prompt_digest),
            tools=_wanted(self.tools_path, self.tools_digest),
        )
        return AgentDraft(self.name, self.purpose, self.tier, reference)


class Reason(BaseModel):
    """Why; kept in the log."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field("", max_length=500)


def agents_router(
    agents: AgentService, people: PeopleService, current_person: CurrentPerson
) -> APIRouter:
    """Refusals leave as ``Refused`` for the application's handler."""
    routes = APIRouter(prefix="/v1/agents", tags=["agents"])
    Who = Annotated[Person, Depends(current_person)]  # noqa: N806 - a type

    @routes.post("", status_code=201)
    async def register(body: Registration, person: Who) -> dict[str, Any]:
        """Register an agent; only an admin may make somebody else answer for it."""
        owner = await _owner(people, person, body.owner)
        return _agent(await agents.register(owner, body.draft()))

    @routes.get("")
    async def list_agents(person: Who) -> dict[str, Any]:
        """Every agent, retired ones included."""
        return {"agents": [_agent(agent) for agent in await agents.list()]}

    @routes.get("/{name}")
    async def show(name: str, person: Who) -> dict[str, Any]:
        """One agent: reference values, state, cause and running instances."""
        agent = await agents.show(name)
        running = await agents.instances(name)
        return {
            **_agent(agent),
            "manifest_json": agent.reference.manifest(str(agent.id)),
            "instances": [
                {
                    "id": str(one.id),
                    "pid": one.pid,
                    "svid_expires_at": rfc3339(one.svid_expires_at),
                }
                for one in running
            ],
        }

    @routes.post("/{name}/measure")
    async def measure(name: str, person: Who) -> dict[str, Any]:
        """Accept what is there now as the new reference values: an admin's decision."""
        current = await agents.show(name)
        draft = _again(current.reference)
        return _agent(await agents.update_reference(person, name, draft))

    @routes.post("/{name}/quarantine")
    async def quarantine(name: str, body: Reason, person: Who) -> dict[str, Any]:
        """Out of service at once, until an admin reinstates it."""
        return _agent(await agents.quarantine(person, name, body.reason))

    @routes.post("/{name}/reinstate")
    async def reinstate(name: str, body: Reason, person: Who) -> dict[str, Any]:
        """Trust the same reference values again; the agent attests anew."""
        return _agent(await agents.reinstate(person, name, body.reason))

    @routes.post("/{name}/retire")
    async def retire(name: str, body: Reason, person: Who) -> dict[str, Any]:
        """Out of service for good."""
        return _agent(await agents.retire(person, name, body.reason))

    return routes


async def _owner(people: PeopleService, person: Person, owner: str | None) -> Person:
    if owner is None or owner in {"me", person.id}:
        return person
    if not owner.strip():
        raise Refused(Kind.MALFORMED, "an agent needs an owner")
    person.require(Role.ADMIN)
    return await people.person(owner)


def _wanted(path: str | None, digest: str | None) -> Wanted | None:
    return None if path is None and digest is None else Wanted(path, digest)


def _again(reference: Reference) -> ReferenceDraft:
    """The same components: what has a path is measured anew, what was declared stays."""

    def again(component: Component) -> Wanted:
        path = component.path
        return Wanted(digest=component.digest) if path is None else Wanted(path)

    return ReferenceDraft(
        code=again(reference.code),
        executable=again(reference.executable),
        model=reference.model,
        image=reference.image,
        prompt=again(reference.prompt) if reference.prompt else None,
        tools=again(reference.tools) if reference.tools else None,
    )


def _agent(agent: Agent) -> dict[str, Any]:
    return {
        "name": agent.name,
        "id": str(agent.id),
        "owner": agent.owner,
        "purpose": agent.purpose,
        "tier": agent.tier.value,
        "state": agent.state.value,
        "cause": agent.cause,
        "code_root": agent.code_root,
        "manifest": agent.manifest_digest,
        "created_at": rfc3339(agent.created_at),
    }
