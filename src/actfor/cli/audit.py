"""`actfor audit …` and `actfor trace …`: what happened, and the proof of it.

`audit verify` needs no server: it imports the SDK and the wire formats, nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli import erase, exports
from actfor.cli.api import api
from actfor.cli.output import emit, note, out, table
from actfor.errors import Kind, Refused

app = typer.Typer(
    no_args_is_help=True, help="The tamper-evident log: search, prove, verify offline."
)
traces = typer.Typer(no_args_is_help=True, help="One action from the person to its outcome.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(parent: typer.Typer) -> None:
    """Add both groups."""
    exports.register(app)
    erase.register(app)
    parent.add_typer(app, name="audit")
    parent.add_typer(traces, name="trace")


@app.command()
def search(
    type_: Annotated[str | None, typer.Option("--type", help="Only this type of event.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List events of the log, newest first."""
    wanted = {"type": type_, "agent": agent, "limit": limit}
    found = api().get("/v1/audit/events", **wanted)["events"]
    table(found, ("index", "at", "type", "agent", "trace"), as_json=as_json)


@app.command()
def receipt(
    event: Annotated[str, typer.Argument(help="Leaf index, or a trace (then its last event).")],
    out_file: Annotated[Path | None, typer.Option("--out", help="File to write.")] = None,
) -> None:
    """Fetch the receipt of one event: the leaf, its inclusion proof, a signed checkpoint."""
    index = event if event.isdigit() else str(_events(event)[-1]["index"])
    text = api().get(f"/v1/audit/events/{index}/receipt")["receipt"]
    if out_file is None:
        out.file.write(text)
    else:
        out_file.write_text(text)
        note(f"wrote {out_file}; check it with: actfor audit verify {out_file} --key KEY")


@app.command("key")
def key_() -> None:
    """Print the log's verifier key. Keep it apart from the server: it is what you trust."""
    out.file.write(api().get("/v1/audit/key")["key"] + "\n")


@app.command()
def export(folder: Annotated[Path, typer.Argument(help="New folder to write.")]) -> None:
    """Export the whole log as C2SP tiles, to be checked with `audit verify`."""
    from actfor.cli.export import export_log

    size = export_log(api(), folder)
    note(f"exported {size} entries to {folder}")


@app.command()
def verify(
    what: Annotated[Path, typer.Argument(help="A receipt, or a folder written by `audit export`.")],
    key: Annotated[str, typer.Option(help="The log's verifier key, or a file with it.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint you kept: the log must still contain it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a receipt or an exported log, offline. Exits 8 if anything was changed.

    Example: actfor audit verify deletion.receipt --key log.vkey
    """
    from actfor.sdk import receipt as proofs

    if not what.exists():
        raise Refused(Kind.NOT_FOUND, f"`{what}` does not exist")
    trusted = Path(key).read_text().strip() if Path(key).is_file() else key
    kept = checkpoint.read_text() if checkpoint else None
    try:
        report = _verify(proofs, what, trusted, kept)
    except Refused as refused:
        note(f"NOT VERIFIED: {refused.detail}")
        raise typer.Exit(8) from None
    emit(
        report,
        as_json=as_json,
        text="\n".join(f"{name:<12} {value}" for name, value in report.items()),
    )


@traces.command("show")
def show_trace(
    trace: Annotated[str, typer.Argument(help="Trace, approval, mandate or grant.")],
    as_json: JsonOption = False,
) -> None:
    """Print human → mandate → chain → call → approval → outcome of one action.

    Example: actfor trace show dec_7q2m…
    """
    found = api().get(f"/v1/audit/traces/{trace}")
    if as_json:
        emit(found, as_json=True)
        return
    from actfor.cli.tree import render_trace

    emit(None, as_json=False, text=render_trace(found["events"]))


def _events(trace: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = api().get(f"/v1/audit/traces/{trace}")["events"]
    if not events:
        raise Refused(Kind.NOT_FOUND, f"no event with trace `{trace}`")
    return events


def _verify(proofs: Any, what: Path, key: str, checkpoint: str | None) -> dict[str, Any]:
    if what.is_dir():
        report: dict[str, Any] = proofs.verify_export(what, key, checkpoint=checkpoint).summary()
        return report
    verified: dict[str, Any] = proofs.verify_receipt(
        what.read_text(), key, checkpoint=checkpoint
    ).summary()
    return verified
