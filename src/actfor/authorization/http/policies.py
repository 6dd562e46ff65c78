"""``/v1/policies`` for operators: what is in force, what was, a new version."""

# Annotations are evaluated here: FastAPI reads them, and they name dependencies given at run time.
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from actfor.authorization.model.publication import Publication
from actfor.authorization.model.source import MAX_BYTES
from actfor.authorization.service import AuthorizationService
from actfor.wire.timestamps import rfc3339

PersonId = Callable[..., Awaitable[str]]
"""A FastAPI dependency: the id of the person who asks; refuses those who may not."""


class TextBody(BaseModel):
    """A policy text."""

    model_config = ConfigDict(extra="forbid")
    source: str = Field(max_length=MAX_BYTES)


class VersionView(BaseModel):
    """One publication. ``author`` is a person's id, or ``system``."""

    seq: int
    version: str
    published_at: str
    author: str
    approver: str | None
    cause: str
    note: str
    active: bool


class VersionsView(BaseModel):
    """Publications, newest first."""

    versions: list[VersionView]


class PolicyView(VersionView):
    """A publication and its text."""

    source: str


class SchemaView(BaseModel):
    """The Cedar schema."""

    schema_: str = Field(serialization_alias="schema")


class ProblemView(BaseModel):
    """One thing wrong with a policy text; ``line`` 0 is the text as a whole."""

    line: int
    policy: str
    message: str


class ProblemsView(BaseModel):
    """Everything that is wrong; nothing means that the text may be published."""

    problems: list[ProblemView]


def policies_router(service: AuthorizationService, *, reader: PersonId) -> APIRouter:
    """What is in force and what was. Refusals are left to the application's handler."""
    router = APIRouter(prefix="/v1/policies", tags=["policies"])
    reads = [Depends(reader)]

    async def shown(version: str | None = None) -> PolicyView:
        made, source = await service.published(version)
        in_force = service.snapshot is not None and service.snapshot.version == made.version
        return PolicyView(**version_view(made, active=in_force).model_dump(), source=source)

    @router.get("", dependencies=reads)
    async def versions() -> VersionsView:
        """The published versions, newest first; the first is in force."""
        made = await service.history()
        return VersionsView(
            versions=[version_view(each, active=index == 0) for index, each in enumerate(made)]
        )

    @router.get("/current", dependencies=reads)
    async def current() -> PolicyView:
        """The policies in force."""
        return await shown()

    @router.get("/schema", dependencies=reads)
    async def schema() -> SchemaView:
        """The schema that policies are checked against."""
        return SchemaView(schema_=service.schema.text)

    @router.get("/versions/{version}", dependencies=reads)
    async def one(version: str) -> PolicyView:
        """The policies of one version."""
        return await shown(version)

    @router.post("/check", dependencies=reads)
    async def check(body: TextBody) -> ProblemsView:
        """What is wrong with a policy text."""
        found = await service.check(body.source)
        return ProblemsView(problems=[ProblemView(**asdict(problem)) for problem in found])

    return router


def version_view(made: Publication, *, active: bool) -> VersionView:
    """A publication as it is sent."""
    return VersionView(
        seq=made.seq,
        approver=made.approver,
        note=made.note,
        version=made.version,
        published_at=rfc3339(made.published_at),
        author=made.author,
        cause=made.cause,
        active=active,
    )
