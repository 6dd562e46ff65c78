"""`actfor run` alone, as its own program: for journeys that need no other command."""

import sys

import typer

from actfor.cli import run
from actfor.errors import Refused
from actfor.wire.problem import exit_code

app = typer.Typer(pretty_exceptions_enable=False)
run.register(app)
app.callback()(lambda: None)

if __name__ == "__main__":
    try:
        app()
    except Refused as refused:
        sys.stderr.write(f"actfor: {refused.detail}\n")
        sys.exit(exit_code(refused.kind))
