"""`actfor witness …`: cosign another log's checkpoints, on another machine. Needs no server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from actfor.cli.output import key_or_file, note, out
from actfor.errors import Kind, Refused

app = typer.Typer(
    no_args_is_help=True,
    help="Watch a log from elsewhere, so that nobody can be shown two histories of it.",
)
FolderOption = Annotated[Path, typer.Option("--dir", help="Folder of the witness.")]
DEFAULT = Path("actfor-witness")


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="witness")


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Its name, like a URL without scheme.")],
    folder: FolderOption = DEFAULT,
) -> None:
    """Make a witness with keys of its own; print its verifier keys.

    Example: actfor witness init witness.example.org/laptop
    """
    from actfor.sdk.witness import Keeper

    _print_keys(Keeper.create(folder, name))


@app.command()
def key(folder: FolderOption = DEFAULT) -> None:
    """Print the verifier keys: Ed25519, then ML-DSA-44. A policy names one of them."""
    from actfor.sdk.witness import Keeper

    _print_keys(Keeper.open(folder))


@app.command()
def trust(
    vkey: Annotated[str, typer.Argument(help="The log's verifier key, or a file with it.")],
    folder: FolderOption = DEFAULT,
) -> None:
    """Watch a log: print `actfor audit key` there, and bring the key here by a way you trust."""
    from actfor.sdk.witness import Keeper

    origin = Keeper.open(folder).trust(key_or_file(vkey))
    note(f"watching {origin}")


@app.command()
def logs(folder: FolderOption = DEFAULT) -> None:
    """List the logs that are watched, and how many entries of each were cosigned."""
    from actfor.sdk.witness import Keeper

    keeper = Keeper.open(folder)
    for origin in keeper.logs():
        latest = keeper.latest(origin)
        out.print(f"{latest.size if latest else 0:>12}  {origin}", markup=False)


@app.command()
def serve(
    folder: FolderOption = DEFAULT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8710,
) -> None:
    """Answer `POST /add-checkpoint` until stopped (C2SP tlog-witness).

    Example: actfor witness serve --host 192.0.2.7
    """
    from actfor.sdk.witness import Keeper, WitnessServer

    keeper = Keeper.open(folder)
    try:
        server = WitnessServer(keeper, host, port)
    except OSError as error:
        raise Refused(Kind.CONFLICT, f"`{host}:{port}`: {error.strerror}") from None
    out.print(f"witness {keeper.verifiers[0].name} on {_url(server.server_address)}", markup=False)
    out.file.flush()
    with server:
        server.serve_forever()


@app.command()
def sign(
    request: Annotated[Path, typer.Argument(help="The file `add-checkpoint` of a log.")],
    folder: FolderOption = DEFAULT,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write.  [default: cosignatures beside it]"),
    ] = None,
) -> None:
    """Cosign one request brought by hand, for a witness without a network.

    Carry the answer back into the folder that the request came from. Exits 8 if the log does not
    continue what was cosigned before.
    """
    from actfor.sdk.witness import Keeper
    from actfor.wire.witness import WitnessRefusal

    if not request.is_file():
        raise Refused(Kind.NOT_FOUND, f"`{request}` does not exist")
    try:
        lines = Keeper.open(folder).add_checkpoint(request.read_text(), int(time.time()))
    except WitnessRefusal as refusal:
        known = "" if refusal.size is None else f" ({refusal.size} entries)"
        note(f"NOT COSIGNED: {refusal.detail}{known}")
        raise typer.Exit(8) from None
    target = out_file or request.with_name("cosignatures")
    target.write_text(lines)
    note(f"wrote {target}")


def _print_keys(keeper: object) -> None:
    from actfor.sdk.witness import Keeper

    assert isinstance(keeper, Keeper)  # noqa: S101 - for the type checker; imported late
    out.file.write("".join(f"{verifier}\n" for verifier in keeper.verifiers))


def _url(address: object) -> str:
    host, port = address[:2]  # type: ignore[index] # what a TCP server's address is
    return f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"
