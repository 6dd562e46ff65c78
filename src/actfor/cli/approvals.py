"""`actfor approval …`: look at what waits for a person; say no here, say yes with the passkey."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from actfor.cli.api import api
from actfor.cli.output import emit, note, table
from actfor.errors import Kind, Refused

app = typer.Typer(no_args_is_help=True, help="Calls that wait for a person.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="approval")


@app.command("ls")
def list_(as_json: JsonOption = False) -> None:
    """List waiting calls, then the settled ones."""
    found = api().get("/v1/approvals")["approvals"]
    table(found, ("id", "state", "agent", "server", "tool", "expires_at"), as_json=as_json)


@app.command()
def show(approval: str, as_json: JsonOption = False) -> None:
    """Show exactly what would be executed."""
    emit(api().get(f"/v1/approvals/{approval}"), as_json=as_json)


@app.command()
def approve(
    approval: str,
    no_browser: Annotated[bool, typer.Option(help="Only print the link.")] = False,
) -> None:
    """Open the approval page: approving takes your passkey, which lives in the browser.

    Exits 6, because the approval is still pending.
    """
    link = api().get(f"/v1/approvals/{approval}")["url"]
    note(link)
    if not no_browser:
        webbrowser.open(link)
    raise Refused(Kind.STEP_UP_REQUIRED, f"`{approval}` is pending: approve it in the browser")


@app.command()
def deny(
    approval: str, reason: Annotated[str, typer.Option(help="Why; the agent is told.")] = ""
) -> None:
    """Refuse a waiting call."""
    api().post(f"/v1/approvals/{approval}/deny", {"reason": reason})
    note(f"{approval} is denied")
