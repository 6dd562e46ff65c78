"""``/v1/people/{id}/erase``: for admins."""

# Annotations are evaluated here: FastAPI reads them, and they name dependencies given at run time.
from typing import Annotated

from fastapi import APIRouter, Depends

from actfor.identity import Person
from actfor.identity.http import CurrentPerson
from actfor.server.erasure import Erasure


def privacy_router(erasure: Erasure, admin: CurrentPerson) -> APIRouter:
    """Refusals are left to the application's handler."""
    routes = APIRouter(prefix="/v1/people", tags=["people"])

    @routes.post("/{person_id}/erase")
    async def erase(person_id: str, by: Annotated[Person, Depends(admin)]) -> dict[str, object]:
        """Erase a person for good: name, passkeys, mandates, what the log keeps of them."""
        done = await erasure.erase(by, person_id)
        return {"leaf": done.leaf, "subject": done.subject, "compacted": done.compacted}

    return routes
