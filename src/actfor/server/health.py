"""Is it alive, may it take traffic, and its figures: ``/livez``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from actfor.server.telemetry import Metrics

Check = Callable[[], Awaitable[str | None]]
"""Answers what is wrong, or None. Its text is shown to anyone who can reach the port."""


def routes(metrics: Metrics, checks: Mapping[str, Check]) -> list[Route]:
    """The three routes; ready means that no check complains."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        answers = {name: await check() for name, check in checks.items()}
        ready = not any(answers.values())
        body = {"ready": ready, "checks": {name: wrong or "ok" for name, wrong in answers.items()}}
        return JSONResponse(body, status_code=200 if ready else 503)

    async def figures(_: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", figures)]
