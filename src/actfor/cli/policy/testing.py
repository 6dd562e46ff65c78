"""`actfor policy test`: decision tables, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actfor.cli.output import note
from actfor.errors import Kind, Refused


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(test)


def test(
    files: Annotated[list[Path], typer.Argument(help="YAML decision tables.")],
    policies: Annotated[
        list[Path] | None, typer.Option(help="Cedar files.  [default: the default pack]")
    ] = None,
) -> None:
    """Run decision tables against policies, without a server. Exits 1 if one fails.

    Example: actfor policy test scenarios/*.yaml
    """
    try:
        from actfor.authorization import run_scenarios
    except ImportError as missing:
        raise Refused(Kind.NOT_FOUND, "policies are tested by `actfor[server]`") from missing
    source = "\n".join(path.read_text() for path in policies) if policies else None
    failures = run_scenarios([(str(path), path.read_text()) for path in files], source)
    for failure in failures:
        note(failure)
    if failures:
        raise typer.Exit(1)
    note("every scenario decided as written")
