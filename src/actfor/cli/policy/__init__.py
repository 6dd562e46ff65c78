"""`actfor policy …`: look at policies, test them, change them, try a change beside the real one."""

from __future__ import annotations

import typer

from actfor.cli.policy import packs, rehearse, testing, trials, versions


def register(parent: typer.Typer) -> None:
    """Add the group."""
    app = typer.Typer(
        no_args_is_help=True,
        help="Cedar policies: show, test, compare, publish, roll back, explain, simulate.",
    )
    for part in (versions, packs, testing, rehearse, trials):
        part.register(app)
    parent.add_typer(app, name="policy")
