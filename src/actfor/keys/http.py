"""``/v1/keys`` for operators: what keys there are, rotate one, rewrap all. No private part."""

# Annotations are evaluated here: FastAPI reads them, and they name dependencies given at run time.
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from actfor.keys.model import Key, Purpose
from actfor.keys.service import KeyService
from actfor.wire.timestamps import rfc3339

PersonId = Callable[..., Awaitable[str]]
"""A FastAPI dependency: the id of the person who asks; refuses those who may not."""


class Rotate(BaseModel):
    """How to rotate. An emergency needs a cause, and ends one key or all of the purpose."""

    model_config = ConfigDict(extra="forbid")
    emergency: bool = False
    cause: str = Field("", max_length=200)
    kid: str | None = Field(None, max_length=64)


class Rewrap(BaseModel):
    """Whether the KEK itself is replaced too; only the file provider can do that from here."""

    model_config = ConfigDict(extra="forbid")
    new_kek: bool = False


def keys_router(keys: KeyService, admin: PersonId) -> APIRouter:
    """The routes; all are for admins. Refusals are left to the application's handler."""
    routes = APIRouter(prefix="/v1/keys", tags=["keys"])

    @routes.get("", dependencies=[Depends(admin)])
    async def listing() -> dict[str, object]:
        """Every key there ever was, oldest first."""
        return {"kek": keys.kek_id, "keys": [_view(key) for key in await keys.listing()]}

    @routes.post("/{purpose}/rotate")
    async def rotate(
        purpose: Purpose, wanted: Rotate, by: Annotated[str, Depends(admin)]
    ) -> dict[str, object]:
        """Have a successor take over in time, or, in an emergency, at once."""
        if wanted.emergency:
            await keys.revoke(purpose, by=by, cause=wanted.cause, kid=wanted.kid)
        else:
            await keys.rotate(purpose, by=by)
        return {"keys": [_view(key) for key in await keys.listing() if key.purpose is purpose]}

    @routes.post("/rewrap")
    async def rewrap(wanted: Rewrap, by: Annotated[str, Depends(admin)]) -> dict[str, object]:
        """A new root key, every data key wrapped again; with ``new_kek`` under a new KEK."""
        count = await keys.rewrap(by=by, new_kek=wanted.new_kek)
        return {"kek": keys.kek_id, "rewrapped": count}

    return routes


def _view(key: Key) -> dict[str, object]:
    return {
        "kid": key.kid,
        "purpose": key.purpose.value,
        "state": key.state.value,
        "created_at": rfc3339(key.created_at),
        "since": rfc3339(key.since),
        "rotate_at": None if key.rotate_at is None else rfc3339(key.rotate_at),
        "cause": key.cause,
    }
