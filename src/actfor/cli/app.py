"""The command tree, and what a refusal looks like in a shell."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from actfor import __version__
from actfor.cli import (
    agents,
    audit,
    backup,
    db,
    gateway,
    keys,
    login,
    mandates,
    policy,
    run,
    serve,
    witness,
)
from actfor.cli import approvals as approval_commands
from actfor.cli.demo import command as demo
from actfor.cli.output import clean, err
from actfor.errors import Refused
from actfor.wire.problem import exit_code

EPILOG = (
    "Exit codes: 0 ok · 1 error · 2 usage · 3 not found · 4 authentication · 5 denied · "
    "6 approval pending · 7 conflict · 8 verification failed · 9 server unavailable"
)
app = typer.Typer(
    name="actfor",
    help="Let AI agents act for people, and prove it.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (
    serve,
    login,
    agents,
    run,
    mandates,
    gateway,
    approval_commands,
    policy,
    audit,
    db,
    keys,
    backup,
    witness,
    demo,
):
    room.register(app)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"actfor {__version__}")
        raise typer.Exit


def start() -> None:
    """Parse the command line, run it, translate a refusal into a line and an exit code."""
    try:
        app()
    except Refused as refused:
        if "--json" in sys.argv:
            error = {"error": {"kind": refused.kind.value, "message": refused.detail}}
            sys.stdout.write(json.dumps(error) + "\n")
        err.print(f"actfor: {clean(refused.detail)}", style="red", markup=False)
        sys.exit(exit_code(refused.kind))
    except KeyboardInterrupt:
        sys.exit(130)
