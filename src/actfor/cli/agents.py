"""`actfor agent …`: register an agent, see what was measured of it, stop it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli.api import api
from actfor.cli.output import emit, note, table
from actfor.errors import Kind, Refused

app = typer.Typer(no_args_is_help=True, help="Agents: registration, measurement, state.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it goes to the log.")]


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="agent")


@app.command("register")
def register_agent(
    name: str,
    purpose: Annotated[str, typer.Option(help="What the agent is for.")],
    code: Annotated[Path, typer.Option(help="Folder of its code; the server measures it.")],
    model: Annotated[str | None, typer.Option(help="Model it uses: ID@VERSION (declared).")] = None,
    prompt: Annotated[Path | None, typer.Option(help="Its system prompt; bound by digest.")] = None,
    executable: Annotated[Path | None, typer.Option(help="Program that runs it.")] = None,
    image: Annotated[
        str | None, typer.Option(help="Container image digest, if there is one.")
    ] = None,
    tier: Annotated[str, typer.Option(help="low, medium or high.")] = "medium",
    owner: Annotated[str | None, typer.Option(help="Who answers for it.  [default: you]")] = None,
    as_json: JsonOption = False,
) -> None:
    """Register an agent. Its identity is bound to what is measured and declared now.

    Example: actfor agent register bookkeeper --purpose "keeps records tidy" --code ./bookkeeper
    --model vendor/model@2026-10-01
    """
    body: dict[str, Any] = {
        "name": name,
        "purpose": purpose,
        "tier": tier,
        "code_root": str(code.resolve()),
        "executable": str(executable.resolve()) if executable else None,
        "model": _model(model),
        "prompt_path": str(prompt.resolve()) if prompt else None,
        "image_digest": image,
        "owner": owner,
    }
    made = api().post(
        "/v1/agents", {key: value for key, value in body.items() if value is not None}
    )
    emit(made, as_json=as_json, text=f"{made['id']}\nmanifest {made['manifest']}")


@app.command("ls")
def list_(as_json: JsonOption = False) -> None:
    """List the agents."""
    table(
        api().get("/v1/agents")["agents"],
        ("name", "state", "tier", "owner", "cause"),
        as_json=as_json,
    )


@app.command()
def show(name: str, as_json: JsonOption = False) -> None:
    """Show one agent: expected and measured values, state and cause, live credentials."""
    emit(api().get(f"/v1/agents/{name}"), as_json=as_json)


@app.command()
def measure(name: str) -> None:
    """Accept the code as it is now as the new reference (an admin's decision, logged)."""
    made = api().post(f"/v1/agents/{name}/measure", {})
    note(f"{name} is bound to {made['manifest']}")


@app.command()
def quarantine(name: str, reason: ReasonOption = "quarantined on the command line") -> None:
    """Stop an agent at once; it can be reinstated."""
    api().post(f"/v1/agents/{name}/quarantine", {"reason": reason})
    note(f"{name} is quarantined")


@app.command()
def reinstate(name: str, reason: ReasonOption = "reinstated on the command line") -> None:
    """Let a quarantined or invalidated agent attest again; it is measured anew."""
    api().post(f"/v1/agents/{name}/reinstate", {"reason": reason})
    note(f"{name} may attest again")


@app.command()
def retire(name: str, reason: ReasonOption = "retired on the command line") -> None:
    """End an agent for good; its name is never used again."""
    api().post(f"/v1/agents/{name}/retire", {"reason": reason})
    note(f"{name} is retired")


def _model(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    name, _, version = text.rpartition("@")
    if not name or not version:
        raise Refused(Kind.MALFORMED, f"model `{text}` is not ID@VERSION")
    return {"id": name, "version": version}
