"""`actfor db …`: for whoever runs the database. Talks to it directly, not to a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from actfor.cli.output import out, table
from actfor.errors import Kind, Refused

if TYPE_CHECKING:
    from actfor.store.postgres import Location

app = typer.Typer(no_args_is_help=True, help="The PostgreSQL that nodes share (who runs it).")
UrlOption = Annotated[
    str,
    typer.Option(
        "--db",
        envvar="ACTFOR_DATABASE",
        help="Database URL; better in ACTFOR_DATABASE, which `ps` does not show.",
    ),
]


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="db")


@app.command()
def migrate(db: UrlOption) -> None:
    """Bring the schema up to date, as the role that owns the tables. Safe to repeat.

    Nodes that run meanwhile go on; where two do this at once, one waits.

    Example: actfor db migrate --db postgresql://owner@db.example/actfor?sslmode=verify-full
    """
    from actfor.store.migrations import migrate as bring_up_to_date

    bring_up_to_date(db)
    out.print("the schema is up to date", markup=False)


@app.command()
def grants(
    role: Annotated[str, typer.Argument(help="The role that nodes connect as.")],
) -> None:
    """Print the SQL that lets a role run nodes, and change nothing that was recorded.

    Example: actfor db grants actfor_node | psql "$OWNER_URL"
    """
    from actfor.store.roles import grants as statements

    typer.echo(statements(role), nl=False)


@app.command()
def nodes(
    db: UrlOption,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the nodes of the last week: when they started, when they were last seen."""
    from actfor.store.nodes import known_nodes

    rows = [
        {
            "id": one.id,
            "host": one.name,
            "started": one.started_at.isoformat(timespec="seconds"),
            "seen": one.seen_at.isoformat(timespec="seconds"),
            "fenced": one.fenced,
        }
        for one in known_nodes(_postgres(db))
    ]
    table(rows, ("id", "host", "started", "seen", "fenced"), as_json=as_json)


@app.command()
def fence(
    node: Annotated[str, typer.Argument(help="A node's id, see `actfor db nodes`.")],
    db: UrlOption,
) -> None:
    """Take a node's right to write: it acknowledges nothing more, and its process ends.

    For a node that hangs or that you cannot reach. Started again, it is a new node.
    """
    from actfor.store.nodes import fence as take

    take(_postgres(db), node)
    out.print("fenced", markup=False)


def _postgres(url: str) -> Location:
    from actfor.store.places import parse
    from actfor.store.postgres import Location

    location = parse(url)
    if not isinstance(location, Location):
        raise Refused(Kind.MALFORMED, "SQLite has one process and no nodes")
    return location
