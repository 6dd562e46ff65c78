"""The MCP server behind every gateway measured: bare ASGI, one tool `echo`, both protocol eras.

    python -m bench.peers.mcp_upstream PORT

Small on purpose: what a call costs here is what it costs without a gateway. It keeps a count of
the calls it ran (GET /calls), so that a benchmark can see that each answered call was a real one.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import uvicorn

Message = MutableMapping[str, Any]
LEGACY, MODERN = "2025-11-25", "2026-07-28"
TOOL = {
    "name": "echo",
    "description": "Says back what it was given.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string", "maxLength": 4096}},
        "required": ["text"],
        "additionalProperties": False,
    },
    "annotations": {"readOnlyHint": True},
}
ABOUT = {
    "capabilities": {"tools": {"listChanged": False}},
    "serverInfo": {"name": "bench-upstream", "version": "1"},
}
calls = 0


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer one HTTP request."""
    if scope["type"] != "http":
        return
    if scope["method"] != "POST":
        known = scope["path"] == "/calls"
        await respond(send, 200 if known else 405, orjson.dumps({"calls": calls}))
        return
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    asked = orjson.loads(body)
    if "id" not in asked:  # a notification
        await respond(send, 202, b"")
        return
    answer = result(asked["method"], asked.get("params") or {})
    await respond(send, 200, orjson.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}))


def result(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The JSON-RPC result, or the error."""
    global calls  # noqa: PLW0603 - one process, one counter
    match method:
        case "tools/call":
            calls += 1
            content = [{"type": "text", "text": params["arguments"]["text"]}]
            done = {"content": content, "isError": False, "resultType": "complete"}
        case "tools/list":
            done = {
                "tools": [TOOL],
                "resultType": "complete",
                "ttlMs": 60_000,
                "cacheScope": "public",
            }
        case "initialize":
            done = {"protocolVersion": LEGACY, **ABOUT}
        case "server/discover":
            versions = {"supportedVersions": [MODERN, LEGACY], "resultType": "complete"}
            done = {**versions, **ABOUT, "ttlMs": 60_000, "cacheScope": "public"}
        case "ping":
            done = {}
        case _:
            return {"error": {"code": -32601, "message": "method not found"}}
    return {"result": done}


async def respond(send: Callable[[Message], Awaitable[None]], status: int, body: bytes) -> None:
    """One JSON response."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
