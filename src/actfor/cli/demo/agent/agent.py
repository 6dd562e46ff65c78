"""bookkeeper: the demo's agent. Where a model would choose the next call, a script does.

It is an ordinary MCP client: the official SDK, and one `auth=` from actfor. It never sees a
credential: the SDK fetches them over the socket of `actfor run` and puts them on the wire.

Reads one JSON command a line on standard input, writes one JSON answer a line:
    {"server": "crm", "tool": "read_query", "arguments": {…}}  →  {"ok": true, "text": "…"}
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitResult

import actfor.sdk


async def main() -> None:
    """Answer commands until standard input ends."""
    async with actfor.sdk.connect() as me:
        say({"ready": me.identity})
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            try:
                say(await call(me, command))
            except* (MCPError, httpx2.HTTPError, actfor.sdk.Refused) as group:
                say({"ok": False, "error": innermost(group)})


async def call(me: actfor.sdk.Agent, command: dict[str, Any]) -> dict[str, Any]:
    """Call one tool through the gateway with the stock client."""
    server = command["server"]
    async with (
        httpx2.AsyncClient(auth=me.auth(server), timeout=60) as http,
        Client(
            streamable_http_client(me.mcp_url(server), http_client=http),
            elicitation_callback=show_link,
        ) as client,
    ):
        if command["tool"] == "tools/list":
            listed = await client.list_tools()
            return {"ok": True, "text": ", ".join(sorted(tool.name for tool in listed.tools))}
        result = await client.call_tool(command["tool"], command["arguments"])
        text = "\n".join(getattr(part, "text", "") for part in result.content)
        return {"ok": not result.is_error, "text": text}


async def show_link(context: Any, params: ElicitRequestParams) -> ElicitResult:
    """The gateway wants a human: pass the link on. Accepting means "shown", never "approved"."""
    say({"link": getattr(params, "url", None)})
    return ElicitResult(action="accept")


def innermost(error: BaseException) -> str:
    """The message of the first leaf of an exception group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def say(answer: dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
