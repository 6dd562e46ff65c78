"""`actfor dev`, `actfor serve`, `actfor init`: the commands that import the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli.loading import loading
from actfor.cli.output import err, out
from actfor.errors import Kind, Refused

DataOption = Annotated[Path, typer.Option(help="Folder of the database, the keys and the sockets.")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on.  [default: 8700]")]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db", help="Database URL, sqlite or postgresql.  [default: SQLite in the data folder]"
    ),
]
IssuerOption = Annotated[str | None, typer.Option(help="Public URL of this server.")]
DEFAULT_DATA = Path("actfor-data")


def register(app: typer.Typer) -> None:
    """Add the server's commands."""
    app.command()(dev)
    app.command()(serve)
    app.command()(init)
    app.command()(recover)


def dev(
    data: DataOption = DEFAULT_DATA,
    port: PortOption = None,
    host: HostOption = None,
    db: DatabaseOption = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start a server for yourself: loopback only, default policies, SQLite.

    Prints a one-time link that registers the first operator's passkey.

    Example: actfor dev
    """
    _start(mode="dev", data=data, port=port, host=host, database=db, log_level=log_level)


def serve(
    issuer: IssuerOption = None,
    data: DataOption = DEFAULT_DATA,
    port: PortOption = None,
    host: HostOption = None,
    db: DatabaseOption = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start a server for others, behind your TLS proxy. Run `actfor init` once before.

    Refuses to start, naming the setting, where it would not be safe.

    Example: actfor serve --issuer https://iam.example.com --data /var/lib/actfor
    """
    _start(
        mode="serve",
        data=data,
        port=port,
        host=host,
        database=db,
        issuer=issuer,
        log_level=log_level,
    )


def init(
    issuer: IssuerOption = None,
    data: DataOption = DEFAULT_DATA,
    db: DatabaseOption = None,
) -> None:
    """Prepare a data folder for `actfor serve`: keys, database, the default policies, a setup link.

    Safe to repeat: what exists is kept; a new setup link is made while there is no operator.

    Example: actfor init --issuer https://iam.example.com --data /var/lib/actfor
    """
    import asyncio

    server = server_module()
    settings = server.load(mode="serve", data=data, database=db, issuer=issuer)
    link = asyncio.run(server.prepare(settings))
    out.print(f"data folder  {data}", markup=False)
    if link:
        out.print(f"setup link   {link}\n             one use, 15 minutes", markup=False)
    else:
        out.print("an operator is registered; no setup link was made", markup=False)


def recover(
    acknowledge: Annotated[
        bool,
        typer.Option("--acknowledge", help="You know that what happened since is lost."),
    ] = False,
    issuer: IssuerOption = None,
    data: DataOption = DEFAULT_DATA,
    db: DatabaseOption = None,
) -> None:
    """Go on with a database that is an older copy of itself, after the server refused to start.

    What was revoked since the copy was made would be alive again, so everything ends: all keys,
    tokens and sessions, all mandates and approvals; agents are quarantined. People and their roles
    are as in the copy: look at them first. The log goes on under a new name and key.

    Example: actfor recover --acknowledge --data /var/lib/actfor
    """
    import asyncio

    if not acknowledge:
        raise Refused(
            Kind.CONFLICT,
            "this ends every key, token, session, mandate and approval, quarantines every agent,"
            " and begins a new log; say so with --acknowledge",
        )
    server = server_module()
    mode = "serve" if issuer else "dev"
    settings = server.load(mode=mode, data=data, database=db, issuer=issuer)
    done = asyncio.run(server.recover(settings))
    out.print(f"cause        {done.cause}", markup=False)
    out.print(
        f"ended        {done.people} people's tokens and sessions, {done.mandates} mandates;"
        f" {done.agents} agents quarantined",
        markup=False,
    )
    out.print(f"log          {done.log}; those who verify it need its new key:", markup=False)
    out.file.write(done.verifier_key + "\n")


def _start(**given: object) -> None:
    server = server_module()
    settings = server.load(**given)
    server.serve(settings, announce)


def announce(*, mode: str, url: str, data: Path, setup_link: str | None) -> None:
    """What a person at the terminal should know once the server listens."""
    if mode == "dev":
        err.print("actfor dev · loopback only · not for others to reach", style="yellow")
    out.print(f"console      {url}", markup=False)
    out.print(f"data folder  {data}", markup=False)
    if setup_link:
        out.print(f"first visit  {setup_link}\n             one use, 15 minutes", markup=False)
    out.file.flush()


def server_module() -> Any:  # a module, imported late
    """`actfor.server`, or a refusal that says how to install it."""
    try:
        with loading():
            import actfor.server
    except ImportError as missing:
        raise Refused(
            Kind.NOT_FOUND,
            f"the server is not installed, `{missing.name}` is missing:"
            " pip install 'actfor[server]'",
        ) from missing
    return actfor.server
