"""`actfor policy …`: the published policies, their tests, a new version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actfor.cli.api import api
from actfor.cli.output import emit, note, out, table
from actfor.errors import Kind, Refused

app = typer.Typer(no_args_is_help=True, help="Cedar policies: show, check, test, publish.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="policy")


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Print the policies in force."""
    found = api().get("/v1/policies/current")
    if as_json:
        emit(found, as_json=True)
    else:
        out.file.write(f"// {found['version']}\n{found['source']}")


@app.command("ls")
def list_(as_json: JsonOption = False) -> None:
    """List the published versions, newest first."""
    found = api().get("/v1/policies")["versions"]
    table(found, ("version", "published_at", "author", "active"), as_json=as_json)


@app.command()
def publish(
    source: Annotated[list[Path], typer.Argument(help="Cedar files; together one set.")],
) -> None:
    """Publish a new version. It is validated strictly; a set that is empty or wrong is refused."""
    text = "\n".join(path.read_text() for path in source)
    made = api().post("/v1/policies", {"source": text})
    note(f"published {made['version']}")


@app.command()
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
