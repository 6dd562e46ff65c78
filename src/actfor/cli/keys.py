"""`actfor keys …`: what keys there are, rotate one, rewrap all."""

from __future__ import annotations

from typing import Annotated

import typer

from actfor.cli.api import api
from actfor.cli.output import note, table
from actfor.errors import Kind, Refused

app = typer.Typer(no_args_is_help=True, help="Signing keys and what encrypts them (operators).")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_COLUMNS = ("purpose", "state", "kid", "since", "rotate_at", "cause")


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="keys")


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Dead keys too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the keys: purpose, state, since when, when a successor takes over."""
    keys = api().get("/v1/keys")["keys"]
    table([k for k in keys if all_ or k["state"] != "dead"], _COLUMNS, as_json=as_json)


@app.command()
def rotate(
    purpose: Annotated[str, typer.Option(help="access-token, svid or seal.")],
    emergency: Annotated[
        bool, typer.Option("--emergency", help="The old keys are dead at once, with all they made.")
    ] = False,
    cause: Annotated[str, typer.Option(help="Why; needed in an emergency.")] = "",
    kid: Annotated[str | None, typer.Option(help="In an emergency: only this key.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Have a successor take over: in order, or at once in an emergency.

    In order, the successor is published first and signs a day later; the old key verifies for as
    long as what it signed lives. In an emergency every token of the old keys is refused from the
    next decision on, and agents and command lines sign in again.

    Example: actfor keys rotate --purpose access-token --emergency --cause "disk was stolen"
    """
    if emergency and not cause:
        raise Refused(Kind.MALFORMED, "an emergency rotation needs --cause")
    if (kid or cause) and not emergency:
        raise Refused(Kind.MALFORMED, "--kid and --cause belong to --emergency")
    body = {"emergency": emergency, "cause": cause, "kid": kid}
    found = api().post(f"/v1/keys/{purpose}/rotate", body)["keys"]
    table([k for k in found if as_json or k["state"] != "dead"], _COLUMNS, as_json=as_json)


@app.command()
def rewrap(
    new_kek: Annotated[
        bool, typer.Option("--new-kek", help="Make a new key file too (file provider only).")
    ] = False,
) -> None:
    """Wrap every data key again, under a new root key. Nothing that the old one wrapped is left.

    Example: actfor keys rewrap --new-kek
    """
    done = api().post("/v1/keys/rewrap", {"new_kek": new_kek})
    note(f"{done['rewrapped']} data keys are wrapped again, by {done['kek']}")
