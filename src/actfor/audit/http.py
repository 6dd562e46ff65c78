"""The log over HTTP: public tiles for anyone, events and receipts for signed-in people.

``/log/*`` is C2SP tlog-tiles: static in nature, personal data only as salted commitments.
``/v1/audit/*`` shows plaintext, so every route of it asks the injected dependency first.
"""

# No `annotations` future here: FastAPI reads the local dependencies at run time.

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from actfor.audit.model import EventType
from actfor.audit.service import AuditLog
from actfor.errors import Kind, Refused
from actfor.wire.tiles import TILE_WIDTH, Tile

_MUTABLE = "no-cache"
_IMMUTABLE = "public, max-age=604800, immutable"
_GROWING = "public, max-age=60"
"""A partial tile never changes, but may be gone once the full one is there."""


def log_routes(log: AuditLog, prefix: str = "/log") -> list[BaseRoute]:
    """The read-only log of C2SP tlog-tiles, below ``prefix``. No authentication, by design."""

    async def checkpoint(_: Request) -> Response:
        note = await log.latest_checkpoint()
        if note is None:
            return PlainTextResponse("no checkpoint yet\n", 404)
        headers = {"cache-control": _MUTABLE, "access-control-allow-origin": "*"}
        return PlainTextResponse(note, headers=headers)

    async def tile(request: Request) -> Response:
        try:
            wanted = Tile.parse("tile/" + request.path_params["path"])
            body = await log.tile(wanted)
        except Refused as refused:
            if refused.kind is not Kind.NOT_FOUND:
                raise
            return PlainTextResponse("no such tile\n", 404)
        headers = {
            "cache-control": _IMMUTABLE if wanted.width == TILE_WIDTH else _GROWING,
            "x-content-type-options": "nosniff",
            "access-control-allow-origin": "*",
        }
        if wanted.level is None:
            # tlog-tiles, Log entries: bundles SHOULD be compressed at the HTTP layer.
            headers["vary"] = "accept-encoding"
            if _takes_gzip(request.headers.get("accept-encoding", "")):
                headers["content-encoding"] = "gzip"
                body = gzip.compress(body, compresslevel=1, mtime=0)
        return Response(body, media_type="application/octet-stream", headers=headers)

    return [
        Route(f"{prefix}/checkpoint", checkpoint, methods=["GET"]),
        Route(f"{prefix}/tile/{{path:path}}", tile, methods=["GET"]),
    ]


def _takes_gzip(accepted: str) -> bool:
    """Whether the header names gzip and does not refuse it (RFC 9110 §12.5.3)."""
    for item in accepted.lower().split(","):
        coding, _, quality = item.strip().partition(";")
        if coding.strip() == "gzip":
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


class PruneRequest(BaseModel):
    """``before`` is an RFC 3339 instant, or a date (its midnight, UTC)."""

    model_config = ConfigDict(extra="forbid")

    before: str = Field(max_length=40)
    delete: bool = False


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(Kind.MALFORMED, "`before` is neither a date nor an instant") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def router(
    log: AuditLog,
    authenticated: Callable[..., Any],
    prefix: str = "/v1/audit",
    *,
    admin: Callable[..., Any] | None = None,
) -> APIRouter:
    """Search, single events, receipts, traces, for the management API.

    ``authenticated`` is a dependency that raises ``Refused`` for anyone who may not read the log;
    ``admin`` one that gives the person who may prune it. Without it nobody may.
    ``Refused`` is left to the application's exception handler.
    """
    routes = APIRouter(prefix=prefix, tags=["audit"], dependencies=[Depends(authenticated)])

    @routes.get("/events", summary="Events, newest first")
    async def events(
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
        type: EventType | None = None,  # noqa: A002 - the parameter's public name
        agent: Annotated[str | None, Query(max_length=2048)] = None,
    ) -> dict[str, object]:
        found = await log.search(limit=limit, before=before, type=type, agent=agent)
        return {"events": [event.to_json() for event in found]}

    @routes.get("/events/{index}", summary="One event with its receipt")
    async def event(index: int) -> dict[str, object]:
        receipt = await log.prove(index)
        return {"event": (await log.event(index)).to_json(), "receipt": receipt.text()}

    @routes.get("/events/{index}/receipt", summary="The receipt of one event")
    async def receipt(
        index: int, reveal: Annotated[list[str] | None, Query(max_length=32)] = None
    ) -> dict[str, object]:
        return {"receipt": (await log.prove(index, reveal)).text()}

    @routes.get("/traces/{trace}", summary="One action from the mandate to its outcome")
    async def trace(trace: str) -> dict[str, object]:
        return {"events": [event.to_json() for event in await log.trace(trace)]}

    @routes.get("/key", summary="The log's verifier key")
    async def key() -> dict[str, object]:
        return {"key": log.verifier_key}

    @routes.get("/policy", summary="The trust policy: keys, witnesses, quorum")
    async def policy() -> dict[str, object]:
        return {"policy": log.policy.text()}

    @routes.get("/verify", summary="Recompute the whole log")
    async def verify() -> dict[str, object]:
        report = await log.verify()
        return {
            "ok": report.ok,
            "size": report.size,
            "checkpoint_size": report.checkpoint_size,
            "permits": report.permits,
            "revocations": report.revoked,
            "pruned": report.pruned,
            "opened": report.opened,
            "erased": report.erased,
            "erasures": {str(leaf): count for leaf, count in report.erasures.items()},
            "problems": report.problems,
        }

    if admin is None:
        return routes

    @routes.post("/prune", summary="Refuse, later delete, entries older than a date")
    async def prune(body: PruneRequest, by: Annotated[Any, Depends(admin)]) -> dict[str, object]:
        done = await log.prune(_instant(body.before), by=by.id, delete=body.delete)
        return {"minimum": done.minimum, "deleted": done.deleted}

    return routes
