"""`actfor gateway …`: MCP servers behind the gateway, and the tools an operator has pinned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli.api import api
from actfor.cli.output import emit, note, table
from actfor.errors import Kind, Refused
from actfor.wire import strict_json

app = typer.Typer(
    no_args_is_help=True, help="MCP servers behind the gateway and their pinned tools."
)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="gateway")


@app.command()
def add(
    name: str,
    command: Annotated[
        list[str] | None, typer.Argument(help="Command of a stdio server, after `--`.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="URL of a Streamable HTTP server.")] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(help="File with the bearer token for the upstream; never the agent's."),
    ] = None,
    effect: Annotated[
        list[str] | None,
        typer.Option(help="TOOL=EFFECT, or TOOL=sql:/POINTER to read it from an SQL argument."),
    ] = None,
    amount: Annotated[
        list[str] | None, typer.Option(help="TOOL=/POINTER:CURRENCY: which argument is money.")
    ] = None,
    approve_tools: Annotated[
        bool, typer.Option("--approve-tools", help="Pin every tool it lists now, as shown.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put an MCP server behind the gateway and list its tools. Nothing runs until a tool is pinned.

    Example: actfor gateway add crm --effect write_query=sql:/query --approve-tools --
    mcp-server-sqlite --db-path crm.db
    """
    if bool(command) == bool(url):
        raise Refused(Kind.MALFORMED, "give either a command after `--` or --url")
    body: dict[str, Any] = {"name": name, "approve_tools": approve_tools}
    if command:
        # As this shell would run it: found on this PATH, in this folder, on the server's machine.
        program = shutil.which(command[0]) or command[0]
        body["stdio"] = {"command": program, "args": command[1:], "cwd": str(Path.cwd())}
    else:
        body["http"] = {"url": url, **({"secret_file": str(secret_file)} if secret_file else {})}
    body["overlays"] = overlays(effect or [], amount or [])
    made = api().post("/v1/servers", body)
    if as_json:
        emit(made, as_json=True)
    else:
        table(made["tools"], ("name", "state", "effect", "digest"), as_json=False)
    if not approve_tools:
        note(f"pin them with: actfor gateway approve {name} TOOL …")


@app.command("ls")
def list_(as_json: JsonOption = False) -> None:
    """List the servers."""
    found = api().get("/v1/servers")["servers"]
    table(found, ("name", "transport", "state", "tools"), as_json=as_json)


@app.command()
def tools(name: str, as_json: JsonOption = False) -> None:
    """List a server's tools: effect, pin, and whether the definition changed since."""
    found = api().get(f"/v1/servers/{name}")["tools"]
    table(found, ("name", "state", "effect", "digest"), as_json=as_json)


@app.command()
def approve(name: str, tool: Annotated[list[str], typer.Argument(help="Tools to pin.")]) -> None:
    """Pin tools as they are defined now. Look at them first: actfor gateway tools NAME."""
    for each in tool:
        found = api().get(f"/v1/servers/{name}/tools/{each}")
        api().post(f"/v1/servers/{name}/tools/{each}/approve", {"digest": found["digest"]})
        note(f"{name}.{each} is pinned: {found['digest']}")


@app.command()
def overlay(
    name: str, tool: str, body: Annotated[str, typer.Argument(help="The overlay as JSON.")]
) -> None:
    """Say what a tool does, where its own description cannot be trusted to.

    Members: effect (read, write, delete, pay, share, grant_access, execute, egress,
    infrastructure), amount, sinks, results, coaz; docs/guides/replay.md explains them.
    Example: actfor gateway overlay bank pay '{"effect": "pay", "sinks": {"/to": "account"},
    "amount": {"pointer": "/amount", "currency": "EUR"}}'
    """
    try:
        said = dict(strict_json.load_object(body.encode()))
    except Refused as refusal:
        told = f'the overlay is no JSON object, such as {{"effect": "read"}}: {refusal.detail}'
        raise Refused(Kind.MALFORMED, told) from None
    api().post(f"/v1/servers/{name}/tools/{tool}/overlay", said)
    note(f"{name}.{tool} has a new overlay")


def overlays(effects: list[str], amounts: list[str]) -> dict[str, dict[str, Any]]:
    """``write_query=sql:/query`` and ``pay=/amount:EUR`` as overlays per tool."""
    made: dict[str, dict[str, Any]] = {}
    for text in effects:
        tool, _, value = text.partition("=")
        if not tool or not value:
            raise Refused(Kind.MALFORMED, f"effect `{text}` is not TOOL=EFFECT")
        pointer = value.removeprefix("sql:")
        made.setdefault(tool, {})["effect"] = {"sql": pointer} if pointer != value else value
    for text in amounts:
        tool, _, value = text.partition("=")
        pointer, _, currency = value.rpartition(":")
        if not tool or not pointer.startswith("/"):
            raise Refused(Kind.MALFORMED, f"amount `{text}` is not TOOL=/POINTER:CURRENCY")
        made.setdefault(tool, {})["amount"] = {"pointer": pointer, "currency": currency}
    return made
