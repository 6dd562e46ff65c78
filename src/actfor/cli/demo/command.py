"""The command `actfor demo`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    auto: Annotated[
        bool,
        typer.Option(
            "--auto", help="A headless browser plays the person.  [default: off a terminal]"
        ),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running afterwards.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Where the demo lives; emptied first.")] = Path(
        ".demo"
    ),
    port: Annotated[
        int | None, typer.Option(help="Port of the server.  [default: a free one]")
    ] = None,
) -> None:
    """Tell the whole story on real MCP servers, and check each step.

    Exits 0 only if every step did what it claims.

    Example: actfor demo --auto
    """
    from actfor.cli.demo.browser import browser_page
    from actfor.cli.demo.person import Person, RealPerson, RobotPerson
    from actfor.cli.demo.stage import Broken, Stage, free_port
    from actfor.cli.demo.story import Story
    from actfor.cli.demo.world import build

    console = Console(highlight=False, soft_wrap=True)
    with ExitStack() as cleanup:
        try:
            stage = Stage(build(folder.resolve()), port or free_port())
            cleanup.callback(stage.stop)
            person: Person
            if auto or not sys.stdin.isatty():
                person = RobotPerson(cleanup.enter_context(browser_page()))
            else:
                person = RealPerson(console)
            link = stage.start()
            console.print(f"[bold]actfor demo[/bold]   console {stage.url}   files {folder}/")
            Story(stage, person, console).tell(link)
        except (Broken, RuntimeError) as broken:
            console.print(f"\n[red]the demo failed:[/red] {broken}", markup=True)
            console.print(f"logs: {folder}/server.log, {folder}/agent.log", markup=False)
            raise typer.Exit(1) from None
        console.print("\n[green bold]Every step did what it claims.[/green bold]")
        if keep:
            console.print(f"The server is running: {stage.url}   Ctrl-C stops it.", markup=False)
            stage.wait()
