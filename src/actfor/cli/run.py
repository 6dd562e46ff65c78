"""`actfor run`: start an agent that is somebody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from actfor.cli.launcher import Launcher, Plan, management
from actfor.cli.output import note
from actfor.cli.profile import Profile, load_profile
from actfor.errors import Kind, Refused


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(context_settings={"allow_interspersed_args": False})(run)


def run(
    command: Annotated[list[str], typer.Argument(help="The agent's program and its arguments.")],
    *,
    agent: Annotated[
        str | None, typer.Option(help="Name of the agent.  [default: the mandate's]")
    ] = None,
    mandate: Annotated[str | None, typer.Option(help="Mandate to act under.")] = None,
    server: Annotated[
        str | None, typer.Option(help="URL of the server.  [default: login's]")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The server's data folder, for its attestation socket.")
    ] = None,
    kill_on_invalid: Annotated[
        bool, typer.Option(help="End the agent when its identity is invalidated.")
    ] = True,
) -> None:
    """Run an agent: the server measures it, and it gets short-lived credentials over a socket.

    Nothing secret is in its environment or arguments. Exits with the agent's own code, or with 5
    when the server refused or invalidated the identity.

    Example: actfor run --agent bookkeeper --mandate mdt_… -- python bookkeeper/agent.py
    """
    profile = _profile(needed=mandate is not None or server is None or data is None)
    plan = _plan(command, profile, mandate=mandate, server=server, data=data)
    plan = replace(plan, agent=agent or "", kill_on_invalid=kill_on_invalid)
    raise typer.Exit(asyncio.run(_run(plan)))


async def _run(plan: Plan) -> int:
    if not plan.agent:
        plan = replace(plan, agent=await _agent_of(plan))
    return await Launcher(plan, note).run()


async def _agent_of(plan: Plan) -> str:
    if plan.mandate is None:
        raise Refused(Kind.MALFORMED, "which agent? use --agent or --mandate")
    path = f"/v1/mandates/{quote(plan.mandate, safe='')}"
    answer = await asyncio.to_thread(management(plan).get, path)
    named = answer.get("agent") if isinstance(answer, dict) else None
    if not isinstance(named, str):
        raise Refused(Kind.MALFORMED, f"mandate `{plan.mandate}` names no agent; use --agent")
    return named.rpartition("/")[2]


def _profile(*, needed: bool) -> Profile | None:
    try:
        return load_profile()
    except Refused:
        if needed:
            raise
        return None


def _plan(
    command: list[str],
    profile: Profile | None,
    *,
    mandate: str | None,
    server: str | None,
    data: Path | None,
) -> Plan:
    url = (server or (profile.server if profile else "")).rstrip("/")
    issuer = profile.issuer if profile and url == profile.server.rstrip("/") else url
    socket = str(data.resolve() / "attest.sock") if data else profile and profile.attest_socket
    if not socket:
        raise Refused(Kind.MALFORMED, "where is the server's attestation socket? use --data FOLDER")
    return Plan(command, "", socket, issuer, url, mandate, profile)
