"""An MCP server over HTTP whose every answer a test can write, good or bad."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


def tool(name: str, description: str = "Does it.", **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    return {"name": name, "description": description, "inputSchema": schema, **more}


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    params: dict[str, Any]
    headers: dict[str, str]


@dataclass
class Scripted:
    """Set `modern`, `tools`, `pages`; or put an answer under a method in `answers`.

    An answer is a Response, or a function of the request's id and params that gives one.
    """

    modern: bool = True
    session: str | None = None
    tools: list[dict[str, Any]] = field(default_factory=lambda: [tool("echo")])
    seen: list[Seen] = field(default_factory=list)
    answers: dict[str, Response | Callable[[Any, dict[str, Any]], Response]] = field(
        default_factory=dict
    )
    url: str = ""

    def requests(self, method: str) -> list[Seen]:
        return [one for one in self.seen if one.method == method]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = json.loads(await request.body())
        headers = dict(request.headers)
        params = body.get("params", {})
        self.seen.append(Seen(body["method"], params, headers))
        await self._answer(body, params, headers)(scope, receive, send)

    def _answer(
        self, body: dict[str, Any], params: dict[str, Any], headers: dict[str, str]
    ) -> Response:
        method, request_id = body["method"], body.get("id")
        written = self.answers.get(method)
        if isinstance(written, Response):
            return written
        if written is not None:
            return written(request_id, params)
        if request_id is None:
            return Response(status_code=202)
        if method == "server/discover" and self.modern:
            found = {
                "resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "public",
            }  # fmt: skip
            return result(request_id, found)
        if method == "initialize" and not self.modern:
            agreed = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                      "serverInfo": {"name": "scripted", "version": "1"}}  # fmt: skip
            extra = {"mcp-session-id": self.session} if self.session else {}
            return result(request_id, agreed, extra)
        if self.session and headers.get("mcp-session-id") != self.session:
            return Response(status_code=404)
        if method == "tools/list":
            return result(request_id, {"tools": self.tools})
        if method == "tools/call":
            said = {"content": [{"type": "text", "text": json.dumps(params["arguments"])}]}
            return result(request_id, said)
        return error(request_id, -32601, "method not found", status=404 if self.modern else 200)


def message(body: dict[str, Any], status: int = 200, **headers: str) -> Response:
    return Response(json.dumps(body), status, headers, "application/json")


def result(request_id: Any, value: Any, headers: dict[str, str] | None = None) -> Response:
    return message({"jsonrpc": "2.0", "id": request_id, "result": value}, **(headers or {}))


def error(request_id: Any, code: int, text: str, data: Any = None, status: int = 200) -> Response:
    body = {"code": code, "message": text, **({} if data is None else {"data": data})}
    return message({"jsonrpc": "2.0", "id": request_id, "error": body}, status)


@asynccontextmanager
async def scripted(**more: Any) -> AsyncIterator[Scripted]:
    """Serve it on a loopback port of its own."""
    made = Scripted(**more)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        made.url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        config = uvicorn.Config(made, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield made
        finally:
            server.should_exit = True
            await task
