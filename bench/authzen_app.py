"""The AuthZEN endpoint that bench/authzen.py drives: the product's routes, database and log.

    python -m bench.authzen_app PORT FOLDER POLICIES recorded|unrecorded

What stands in for a whole deployment is the two things the wiring injects: the enforcement point
proves itself with a fixed token, and the facts about the agent and its mandate are constants.
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request

from actfor.audit import AuditLog, NoteSigner
from actfor.authorization import AuthorizationService, CallFacts, Options, Pages, Pdp
from actfor.authorization.http import authzen_routes
from actfor.authorization.model import ToolEffect
from actfor.errors import Kind, Refused
from actfor.server.edge import Hot
from actfor.server.protocol import HttpProtocol
from actfor.store import Database
from actfor.wire.authzen import Evaluation
from bench.decision import source

TOKEN = "bench-only-token"
ORIGIN = "localhost/bench"
FACTS: dict[str, bool | str] = {
    "in_mandate": True,
    "requires_approval": False,
    "tier": "medium",
    "assurance": "measured",
}


async def authenticate(request: Request) -> str:
    """The one enforcement point there is."""
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {TOKEN}".encode()):
        raise Refused(Kind.UNAUTHENTICATED, "no enforcement point is named by this token")
    return "bench"


async def gather(pep: str, evaluation: Evaluation) -> CallFacts:
    """What the server knows of every agent here."""
    server, _, tool = evaluation.resource.id.partition("/")
    return CallFacts(
        agent=evaluation.subject.id,
        server=server,
        tool=tool,
        effect=ToolEffect(evaluation.action.name),
        in_mandate=True,
        mandate_reason="",
        requires_approval=False,
        tier="medium",
        assurance="measured",
        tool_pinned=True,
        tool_state="pinned",
    )


async def serve(port: int, folder: Path, policies: int, *, record: bool) -> None:
    """Run until stopped, with checkpoints of the log as in the product."""

    def clock() -> datetime:
        return datetime.now(UTC)

    database = Database.open(f"sqlite:///{folder}/actfor.db", clock=clock)
    audit = AuditLog(database, NoteSigner.generate(ORIGIN), ORIGIN, clock)
    service = AuthorizationService(database, audit, clock)
    await audit.start()
    await service.publish("bench", source(policies))
    url = f"http://127.0.0.1:{port}"
    pages = Pages(lambda: [TOKEN.encode()], clock)
    pdp = Pdp(service, database, audit, pages, Options(gather=gather, record=record))
    routes = authzen_routes(pdp, authenticate_pep=authenticate, base_url=url)
    hot = {("POST", route.path): route.app for route in routes if "POST" in (route.methods or ())}
    config = uvicorn.Config(
        Hot(Starlette(routes=routes), hot, {}),
        host="127.0.0.1",
        port=port,
        access_log=False,
        log_level="error",
        http=HttpProtocol,  # these four as the product has them (actfor.server.run)
        lifespan="off",
        server_header=False,
        proxy_headers=False,
    )
    gc.collect()
    gc.freeze()
    checkpoints = asyncio.create_task(audit.run())
    await uvicorn.Server(config).serve()
    checkpoints.cancel()
    await database.close()


if __name__ == "__main__":
    recorded = sys.argv[4] == "recorded"
    serving = serve(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), record=recorded)
    # As the product runs it (actfor.server.run).
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)
