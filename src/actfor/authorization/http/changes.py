"""``/v1/policies``: compare, publish, roll back, and a second person's yes."""

# Annotations are evaluated here: FastAPI reads them, and they name dependencies given at run time.
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from actfor.authorization.http.policies import PersonId, VersionView, version_view
from actfor.authorization.model.diff import Diff
from actfor.authorization.model.publication import Proposal, Publication
from actfor.authorization.model.source import MAX_BYTES
from actfor.authorization.policies import PACKS, pack_parameters, pack_source, pack_table
from actfor.authorization.service.changes import MAX_NOTE, PolicyChanges
from actfor.wire.timestamps import rfc3339

_VERSION = Query(max_length=64)


class SourceBody(BaseModel):
    """A policy text; with ``replaces``, only if that version is in force."""

    model_config = ConfigDict(extra="forbid")
    source: str = Field(max_length=MAX_BYTES)
    replaces: str | None = Field(default=None, max_length=64)
    note: str = Field(default="", max_length=MAX_NOTE)


class PackBody(BaseModel):
    """What is chosen in a pack; with ``replaces``, only if that version is in force."""

    model_config = ConfigDict(extra="forbid")
    parameters: dict[str, int | str] = Field(default_factory=dict, max_length=32)
    replaces: str | None = Field(default=None, max_length=64)
    note: str = Field(default="", max_length=MAX_NOTE)


class PackView(BaseModel):
    """A packaged pack, and what may be chosen in it with its default."""

    name: str
    about: str
    parameters: dict[str, int | str]


class PacksView(BaseModel):
    """The packaged packs."""

    packs: list[PackView]


class PackTextView(PackView):
    """A pack, its whole text and its scenarios (YAML)."""

    source: str
    scenarios: str


class RollbackBody(BaseModel):
    """An earlier version: its name, its beginning or ``#N``; none is the one before."""

    model_config = ConfigDict(extra="forbid")
    to: str | None = Field(default=None, max_length=64)
    note: str = Field(default="", max_length=MAX_NOTE)


class ReasonBody(BaseModel):
    """Why not."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(default="", max_length=MAX_NOTE)


class ChangeView(BaseModel):
    """One policy that is not as it was. ``uncapped``: why it does not repeat the caps."""

    id: str
    kind: str
    direction: str
    before: str | None
    after: str | None
    uncapped: str | None


class DiffView(BaseModel):
    """Two versions beside each other; ``unified`` is their texts' difference, line by line."""

    before: str
    after: str
    changes: list[ChangeView]
    unified: str


class ProposalView(BaseModel):
    """A policy text that waits, or waited, for a second administrator."""

    id: str
    version: str
    replaces: str
    author: str
    cause: str
    note: str
    state: str
    created_at: str
    expires_at: str
    settled_by: str | None
    settled_at: str | None


class ProposalsView(BaseModel):
    """Proposals, newest first. ``four_eyes``: whether a change needs one."""

    four_eyes: bool
    proposals: list[ProposalView]


class ProposedView(ProposalView):
    """A proposal, its text, and what it would change."""

    source: str
    diff: DiffView


def changes_router(
    changes: PolicyChanges, *, reader: PersonId, admin: PersonId, signer: PersonId
) -> APIRouter:
    """``signer`` is an administrator in a session signed in with a passkey, never a token."""
    router = APIRouter(prefix="/v1/policies", tags=["policies"])
    reads = [Depends(reader)]

    @router.post("", status_code=201)
    async def publish(
        body: SourceBody, author: Annotated[str, Depends(admin)], response: Response
    ) -> VersionView | ProposalView:
        """Put a policy text in force; a proposal (202) where two people are needed."""
        made = await changes.publish(author, body.source, replaces=body.replaces, note=body.note)
        return _made(made, response)

    @router.post("/rollback", status_code=201)
    async def rollback(
        body: RollbackBody, author: Annotated[str, Depends(admin)], response: Response
    ) -> VersionView | ProposalView:
        """Publish an earlier version again; a proposal (202) where two people are needed."""
        return _made(await changes.roll_back(author, body.to, note=body.note), response)

    @router.get("/packs", dependencies=reads)
    async def packs() -> PacksView:
        """The packaged packs for common agents."""
        return PacksView(packs=[_pack(name) for name in PACKS])

    @router.get("/packs/{name}", dependencies=reads)
    async def pack(name: str) -> PackTextView:
        """One pack: its text on top of the default pack, and its scenarios."""
        source, table = pack_source(name), pack_table(name)
        return PackTextView(**_pack(name).model_dump(), source=source, scenarios=table)

    @router.post("/packs/{name}", status_code=201)
    async def use(
        name: str, body: PackBody, author: Annotated[str, Depends(admin)], response: Response
    ) -> VersionView | ProposalView:
        """Publish the default pack with a pack on top; a proposal where two people are needed."""
        made = await changes.use_pack(
            author, name, body.parameters, replaces=body.replaces, note=body.note
        )
        return _made(made, response)

    @router.get("/diff", dependencies=reads)
    async def diff(
        before: Annotated[str, _VERSION], after: Annotated[str | None, _VERSION] = None
    ) -> DiffView:
        """What changed from one version to another, or to what is in force."""
        then = None if after is None else await changes.version(after)
        return diff_view(await changes.compare(await changes.version(before), then))

    @router.post("/diff", dependencies=reads)
    async def diff_text(body: SourceBody) -> DiffView:
        """What a policy text would change."""
        return diff_view(await changes.compare_text(body.source))

    @router.get("/proposals", dependencies=reads)
    async def proposals() -> ProposalsView:
        """The proposals, newest first."""
        found = [proposal_view(each) for each in await changes.proposals()]
        return ProposalsView(four_eyes=changes.four_eyes, proposals=found)

    @router.get("/proposals/{proposal}", dependencies=reads)
    async def proposal(proposal: str) -> ProposedView:
        """One proposal, and what it would change."""
        found, source = await changes.proposal(proposal)
        compared = diff_view(await changes.difference(proposal))
        return ProposedView(**proposal_view(found).model_dump(), source=source, diff=compared)

    @router.post("/proposals/{proposal}/approve", status_code=201)
    async def approve(proposal: str, person: Annotated[str, Depends(signer)]) -> VersionView:
        """A second administrator's yes, from a browser signed in with a passkey."""
        return version_view(await changes.approve(person, proposal), active=True)

    @router.post("/proposals/{proposal}/reject")
    async def reject(
        proposal: str, body: ReasonBody, person: Annotated[str, Depends(admin)]
    ) -> ProposalView:
        """Say no; the author withdraws it."""
        return proposal_view(await changes.reject(person, proposal, reason=body.reason))

    return router


def _pack(name: str) -> PackView:
    chosen = {parameter.name: parameter.default for parameter in pack_parameters(name)}
    return PackView(name=name, about=PACKS[name], parameters=chosen)


def _made(made: Publication | Proposal, response: Response) -> VersionView | ProposalView:
    if isinstance(made, Publication):
        return version_view(made, active=True)
    response.status_code = 202  # RFC 9110 §15.3.3: accepted, and not acted upon yet
    return proposal_view(made)


def diff_view(diff: Diff) -> DiffView:
    """A difference as it is sent."""
    return DiffView(
        before=diff.before,
        after=diff.after,
        changes=[ChangeView(**asdict(change)) for change in diff.changes],
        unified=diff.unified,
    )


def proposal_view(proposal: Proposal) -> ProposalView:
    """A proposal as it is sent."""
    return ProposalView(
        id=proposal.id,
        version=proposal.version,
        replaces=proposal.replaces,
        author=proposal.author,
        cause=proposal.cause,
        note=proposal.note,
        state=proposal.state.value,
        created_at=rfc3339(proposal.created_at),
        expires_at=rfc3339(proposal.expires_at),
        settled_by=proposal.settled_by,
        settled_at=None if proposal.settled_at is None else rfc3339(proposal.settled_at),
    )
