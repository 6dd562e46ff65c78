"""``/v1/people`` and ``/v1/me``: accounts, for the command line and other tools."""

# No `annotations` future here: FastAPI reads the local dependency aliases at run time.

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from actfor.identity.http.session import CurrentPerson
from actfor.identity.model import Person, PersonState, Role
from actfor.identity.service import PeopleService
from actfor.wire.timestamps import rfc3339


class Invitation(BaseModel):
    """A person to invite."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    roles: list[Role] = Field(default_factory=list, max_length=3)


class Change(BaseModel):
    """What to change of an account; what is absent stays."""

    model_config = ConfigDict(extra="forbid")
    roles: list[Role] | None = Field(None, max_length=3)
    state: PersonState | None = None


def people_router(
    people: PeopleService, current_person: CurrentPerson, *, public_url: str
) -> APIRouter:
    """Refusals leave as ``Refused`` for the application's handler."""
    routes = APIRouter(prefix="/v1", tags=["people"])
    Who = Annotated[Person, Depends(current_person)]  # noqa: N806 - a type

    @routes.get("/me")
    async def me(person: Who) -> dict[str, Any]:
        """Who is asking."""
        return _person(person)

    @routes.get("/people")
    async def list_people(person: Who) -> dict[str, Any]:
        """Everyone; for admins."""
        person.require(Role.ADMIN)
        return {"people": [_person(one) for one in await people.people()]}

    @routes.post("/people", status_code=201)
    async def invite(body: Invitation, person: Who) -> dict[str, Any]:
        """A one-time link with which a new person registers a passkey; shown only here."""
        token = await people.invite(person, body.name, body.roles)
        return {"link": f"{public_url}/setup?t={token}"}

    @routes.post("/people/{person_id}/passkeys", status_code=201)
    async def invite_passkey(person_id: str, person: Who) -> dict[str, Any]:
        """A one-time link that adds a passkey to an account."""
        token = await people.invite_passkey(person, person_id)
        return {"link": f"{public_url}/setup?t={token}"}

    @routes.patch("/people/{person_id}")
    async def change(person_id: str, body: Change, person: Who) -> dict[str, Any]:
        """Change roles or state; the person's sessions and tokens end."""
        return _person(await people.change(person, person_id, roles=body.roles, state=body.state))

    return routes


def _person(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "name": person.name,
        "roles": sorted(role.value for role in person.roles),
        "state": person.state.value,
        "created_at": rfc3339(person.created_at),
    }
