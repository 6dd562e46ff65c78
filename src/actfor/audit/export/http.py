"""How exports are doing, and the log as lines. Nothing here adds a destination, by design (D20)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import PlainTextResponse, Response

from actfor.audit.export.formats import Format, batch
from actfor.audit.export.service import Exporter
from actfor.audit.service import AuditLog


def router(log: AuditLog, exporter: Exporter, admin: Callable[..., Any]) -> APIRouter:
    """Routes for the management API; ``admin`` raises ``Refused`` for anyone else."""
    routes = APIRouter(prefix="/v1/audit", tags=["audit"], dependencies=[Depends(admin)])

    @routes.get("/exports", summary="The configured destinations, and how far each has got")
    async def exports() -> dict[str, object]:
        return {"exports": [status.to_json() for status in await exporter.status()]}

    @routes.get(
        "/lines",
        summary="Events oldest first, a line each; `next-index` tells where to go on",
        response_class=PlainTextResponse,
    )
    async def lines(
        form: Annotated[Literal["jsonl", "ocsf", "cef"], Query(alias="format")] = "jsonl",
        start: Annotated[int, Query(alias="from", ge=0, lt=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 500,
        private: Annotated[bool, Query(description="open private members")] = False,  # noqa: FBT002 - a query parameter
    ) -> Response:
        events = await log.events(start, limit)
        text = "".join(f"{line}\n" for line in batch(events, Format(form), private=private))
        following = events[-1].index + 1 if events else start
        return PlainTextResponse(text, headers={"next-index": str(following)})

    return routes
