"""`actfor policy packs`, `use`, `rule`: policies for common agents, and rules made from data."""

from __future__ import annotations

from typing import Annotated

import typer

from actfor.cli.api import api
from actfor.cli.output import emit, out, table
from actfor.cli.policy.common import JsonOption, NoteOption, made, named_version, pack_values
from actfor.errors import Kind, Refused

SetOption = Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE; may be repeated.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (packs, use, rule):
        app.command()(command)


def packs(
    name: Annotated[str, typer.Argument(help="Show the text of this one.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the packs for common agents, and what may be chosen in them; or show one."""
    if name:
        found = api().get(f"/v1/policies/packs/{name}")
        emit(found, as_json=as_json, text=found["source"])
        return
    rows = api().get("/v1/policies/packs")["packs"]
    if not as_json:
        for row in rows:
            row["parameters"] = " ".join(
                f"{key}={value}" for key, value in row["parameters"].items()
            )
    table(rows, ("name", "about", "parameters"), as_json=as_json)


def use(
    name: Annotated[str, typer.Argument(help="coding, finance, support or operations.")],
    chosen: SetOption = None,
    why: NoteOption = "",
    replaces: Annotated[
        str | None, typer.Option(help="Only if this version is in force: #N or its beginning.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Publish the default pack with a pack for a common agent on top of it.

    It replaces what is in force: look at `actfor policy diff` and `simulate` before.
    Example: actfor policy use finance --set ask_above=2000
    """
    body = {"parameters": pack_values(chosen or []), "note": why}
    if replaces is not None:
        body["replaces"] = named_version(replaces)
    made(api().post(f"/v1/policies/packs/{name}", body), as_json=as_json)


def rule(
    template: Annotated[str, typer.Argument(help="Which rule; `list` names them.")],
    agent: Annotated[str, typer.Option(help="SPIFFE ID of the agent.")] = "",
    tool: Annotated[str, typer.Option(help="SERVER/TOOL, or SERVER.")] = "",
    rule_id: Annotated[str, typer.Option("--id", help="The policy's @id.  [default: RULE-1]")] = "",
    chosen: SetOption = None,
) -> None:
    """Print a rule for one agent and one tool as Cedar, to be put into a policy file.

    Whatever the names hold, they become names in it and never policy text. Needs no server.
    Example: actfor policy rule allow-tool --agent spiffe://example.org/agent/clerk --tool crm/find
    """
    try:
        from actfor.authorization import policies
    except ImportError as missing:
        raise Refused(Kind.NOT_FOUND, "rules are made by `actfor[server]`") from missing
    if template == "list":
        out.print("\n".join(policies.rules()), markup=False)
        return
    if not agent:
        raise Refused(Kind.MALFORMED, "a rule needs --agent")
    text = policies.rule(
        template,
        rule_id or f"{template}-1",
        agent=agent,
        tool=tool or None,
        values=pack_values(chosen or []),
    )
    out.file.write(text)
