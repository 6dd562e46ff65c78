"""``/v1/servers``: what operators see and say about governed servers."""

# No `annotations` future here: FastAPI reads the local dependency aliases at run time.

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from pydantic import JsonValue as Json

from actfor.errors import Kind, Refused
from actfor.gateway.catalog import Catalog
from actfor.gateway.effects import Overlay, SqlEffect
from actfor.gateway.mapped import mapped_by
from actfor.gateway.model import Server, Tool, ToolState, Transport, transport_from_json
from actfor.gateway.proposals import Proposals
from actfor.identity import Person
from actfor.wire.canonical import JsonObject
from actfor.wire.timestamps import rfc3339

AsPerson = Callable[..., Awaitable[Person]]
"""A FastAPI dependency: the person who asks; refuses those who may not."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Stdio(_Strict):
    """A program to run on this machine, with exactly these arguments."""

    command: str = Field(max_length=4096)
    args: list[str] = Field(default_factory=list, max_length=256)
    env: dict[str, str] = Field(default_factory=dict)
    env_files: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None


class _Http(_Strict):
    """A Streamable HTTP server, and the file with our own token for it."""

    url: str = Field(max_length=2048)
    secret_file: str | None = None


class _NewServer(_Strict):
    """One of ``stdio`` and ``http``. Overlays are as ``gateway.effects`` describes them."""

    name: str = Field(max_length=63)
    stdio: _Stdio | None = None
    http: _Http | None = None
    overlays: dict[str, Json] = Field(default_factory=dict)
    approve: dict[str, str] = Field(default_factory=dict, description="tool → digest shown before")
    approve_tools: bool = Field(default=False, description="approve every tool it lists now")

    def transport(self) -> Transport:
        if (self.stdio is None) == (self.http is None):
            raise Refused(Kind.MALFORMED, "give either `stdio` or `http`")
        if self.stdio is not None:
            return transport_from_json({"kind": "stdio", **self.stdio.model_dump()})
        described = {} if self.http is None else self.http.model_dump()
        secret = described.pop("secret_file", None)
        return transport_from_json({"kind": "http", **described, "credential_file": secret})


class _Approval(_Strict):
    """The digest of the definition that the operator looked at."""

    digest: str = Field(max_length=64)


def servers_router(catalog: Catalog, *, reader: AsPerson, admin: AsPerson) -> APIRouter:
    """``/v1/servers``. Refusals are left to the application's handler."""
    router = APIRouter(prefix="/v1/servers", tags=["servers"])
    Admin = Annotated[Person, Depends(admin)]  # noqa: N806 - a type

    @router.get("", dependencies=[Depends(reader)])
    async def servers() -> dict[str, Any]:
        """Every governed server, with how many tools it has and how many may be called."""
        return {"servers": [_summary(server) for server in catalog.servers()]}

    @router.post("", status_code=201)
    async def add(body: _NewServer, person: Admin) -> Any:
        """Govern a server. Tools that are not approved are listed, and refused."""
        server = await catalog.add_server(
            person,
            body.name,
            body.transport(),
            approve=body.approve,
            approve_listed=body.approve_tools,
            overlays={tool: Overlay.said(said) for tool, said in body.overlays.items()},
        )
        return _shown(server, catalog)

    @router.post("/preview")
    async def preview(body: _NewServer, person: Admin) -> Any:
        """What a server lists, with the digests to approve; nothing is kept."""
        return _shown(await catalog.preview(person, body.name, body.transport()), catalog)

    @router.get("/{name}", dependencies=[Depends(reader)])
    async def one(name: str) -> Any:
        """One server and its tools."""
        return _shown(catalog.server(name), catalog)

    @router.post("/{name}/refresh")
    async def refresh(name: str, person: Admin) -> Any:
        """Ask the server for its tools now; a definition that changed is refused from then on."""
        return _shown(await catalog.refresh(name), catalog)

    @router.delete("/{name}", status_code=204)
    async def remove(name: str, person: Admin) -> None:
        """Govern the server no more: its process is ended, its address is gone."""
        await catalog.remove_server(person, name)

    # A tool's name may hold slashes (MCP allows them), so it is the rest of the path.
    @router.get("/{name}/tools/{tool:path}", dependencies=[Depends(reader)])
    async def tool(name: str, tool: str) -> Any:
        """One tool: what is listed, what was approved, what it is said to do."""
        found = catalog.tool(name, tool)
        return {
            **_tool(found, catalog),
            "listed": found.listed,
            "pinned": found.pinned,
            "pinned_digest": found.pinned_digest,
        }

    @router.post("/{name}/tools/{tool:path}/approve")
    async def approve(name: str, tool: str, body: _Approval, person: Admin) -> Any:
        """Pin the definition whose digest was shown."""
        return _tool(await catalog.approve_tool(person, name, tool, body.digest), catalog)

    @router.post("/{name}/tools/{tool:path}/overlay")
    async def overlay(
        name: str,
        tool: str,
        body: dict[str, Any],  # Any: parsed by `Overlay`, which names what is wrong
        person: Admin,
    ) -> Any:
        """Say what the tool does."""
        said = Overlay.said(body)
        return _tool(await catalog.set_overlay(person, name, tool, said), catalog)

    return router


def _summary(server: Server) -> JsonObject:
    states = [tool.state for tool in server.tools.values()]
    changed = any(state is ToolState.CHANGED for state in states)
    return {
        "name": server.name,
        "transport": server.transport.kind,
        "state": "tools changed" if changed else "governed",
        "tools": len(states),
        "pinned": sum(state is ToolState.PINNED for state in states),
        "added_at": rfc3339(server.added_at),
    }


def _shown(server: Server, catalog: Catalog) -> JsonObject:
    return {
        **_summary(server),
        "target": server.transport.shown(),
        "tools": [_tool(tool, catalog) for tool in server.tools.values()],
    }


def _tool(tool: Tool, catalog: Catalog) -> JsonObject:
    effect = tool.overlay.effect
    return {
        "name": tool.name,
        "state": tool.state.value,
        "effect": f"sql:{effect.pointer}" if isinstance(effect, SqlEffect) else effect.value,
        "digest": tool.listed_digest,
        "description": tool.listed.get("description"),
        "overlay": tool.overlay.to_json(),
        # Whose COAZ mapping a call is also asked about by: the operator's, or the server's own.
        "mapped_by": mapped_by(tool),
        "approved_by": tool.approved_by,
        "approved_at": None if tool.approved_at is None else rfc3339(tool.approved_at),
        # Look-alikes are told apart by their server; an operator should know of them (C6).
        "also_on": [
            other.name
            for other in catalog.servers()
            if other.name != tool.server and tool.name in other.tools
        ],
    }


class _Wanted(_Strict):
    """What a person wants done. ``servers`` narrows the catalogue; ``model`` asks a model, too."""

    words: str = Field(max_length=4096)
    servers: list[str] = Field(default_factory=list, max_length=64)
    model: bool = False


def proposals_router(proposals: Proposals, reader: AsPerson) -> APIRouter:
    """``/v1/mandates/propose``: a draft to look at. It grants nothing."""
    routes = APIRouter(prefix="/v1/mandates", tags=["mandates"])

    @routes.post("/propose", dependencies=[Depends(reader)])
    async def propose(body: _Wanted) -> dict[str, Any]:
        """Draft a mandate from the person's words; commit it with ``POST /v1/mandates``."""
        if body.model:
            return (await proposals.from_model(body.words, body.servers)).to_json()
        return proposals.from_words(body.words, body.servers).to_json()

    return routes
