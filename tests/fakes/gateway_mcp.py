"""A small real MCP server, built with the official SDK, that counts what reaches it.

    python gateway_mcp.py stdio JOURNAL        serve over stdin and stdout
    python gateway_mcp.py http JOURNAL PORT    serve Streamable HTTP of both eras at /mcp

Every call is one JSON line in JOURNAL, with the HTTP headers it came with. The description of
`echo` is the content of JOURNAL.description, if there is such a file, when the process starts; so
is what `query` declares about itself (COAZ-MCP), from JOURNAL.mapping.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations


def build(journal: Path) -> MCPServer:
    described = journal.with_name(journal.name + ".description")
    server = MCPServer("counting")

    def note(ctx: Context, tool: str, **arguments: Any) -> None:
        headers = dict(ctx.headers or {})
        line = {"tool": tool, "arguments": arguments, "headers": headers, "pid": os.getpid()}
        with journal.open("a") as out:
            out.write(json.dumps(line) + "\n")

    @server.tool(description=described.read_text() if described.exists() else "Say it again.")
    def echo(ctx: Context, text: str) -> str:
        note(ctx, "echo", text=text)
        return f"echo: {text}"

    @server.tool(
        description="Delete one record.", annotations=ToolAnnotations(destructive_hint=True)
    )
    def delete_record(ctx: Context, record: int) -> str:
        note(ctx, "delete_record", record=record)
        return f"deleted {record}"

    @server.tool(description="Run one SQL text.")
    def query(ctx: Context, query: str) -> str:
        note(ctx, "query", query=query)
        return "1 row"

    @server.tool(description="Pay somebody.")
    def pay(ctx: Context, amount: str, to: str) -> str:
        note(ctx, "pay", amount=amount, to=to)
        return "paid"

    @server.tool(description="Fail as tools do.")
    def fail(ctx: Context) -> str:
        note(ctx, "fail")
        raise ValueError("the tool failed")

    @server.tool(description="Take a while.")
    async def slow(ctx: Context, seconds: float) -> str:
        note(ctx, "slow", seconds=seconds)
        await asyncio.sleep(seconds)
        return "done"

    @server.tool(description="End the process.")
    def die(ctx: Context) -> str:
        note(ctx, "die")
        os._exit(3)

    mapping = journal.with_name(journal.name + ".mapping")
    if mapping.exists():
        tools = {tool.name: tool for tool in server._tool_manager.list_tools()}
        tools["query"].parameters["x-authzen-mapping"] = json.loads(mapping.read_text())
    return server


def journal_lines(journal: Path) -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    )


if __name__ == "__main__":
    kind, path, *rest = sys.argv[1:]
    counting = build(Path(path))
    if kind == "stdio":
        counting.run("stdio")
    else:
        counting.run("streamable-http", host="127.0.0.1", port=int(rest[0]), json_response=True)
