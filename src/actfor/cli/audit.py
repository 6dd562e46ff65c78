"""`actfor audit …` and `actfor trace …`: what happened, and the proof of it.

`audit verify` needs no server: it imports the SDK and the wire formats, nothing else.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli import erase, exports
from actfor.cli.api import api
from actfor.cli.output import emit, key_or_file, note, out, table
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
    found = api().get("/v1/audit/events", type=type_, agent=agent, limit=limit)["events"]
    table(found, ("index", "at", "type", "agent", "trace"), as_json=as_json)


@app.command()
def receipt(
    event: Annotated[str, typer.Argument(help="Leaf index, or a trace (then its last event).")],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write; `x.tlog-proof` for the C2SP form."),
    ] = None,
) -> None:
    """Fetch the receipt of one event: the leaf, its inclusion proof, a signed checkpoint.

    A receipt (JSON) also opens the private members; a `.tlog-proof` holds the leaf and the proof.

    Example: actfor audit receipt dec_7q2m… -o deletion.tlog-proof
    """
    from actfor.sdk.receipt import proof_of

    index = event if event.isdigit() else str(_events(event)[-1]["index"])
    text = api().get(f"/v1/audit/events/{index}/receipt")["receipt"]
    if out_file is None:
        out.file.write(text)
        return
    out_file.write_text(proof_of(text) if out_file.suffix == ".tlog-proof" else text)
    note(f"wrote {out_file}; check it with: actfor audit verify {out_file} --key KEY")


@app.command("key")
def key_() -> None:
    """Print the log's verifier key. Keep it apart from the server: it is what you trust."""
    out.file.write(api().get("/v1/audit/key")["key"] + "\n")


@app.command()
def policy() -> None:
    """Print the trust policy (C2SP tlog-policy): the log's keys, its witnesses, their quorum."""
    out.file.write(api().get("/v1/audit/policy")["policy"])


@app.command("export-tiles")
def export_tiles(
    folder: Annotated[Path, typer.Argument(help="Folder to write, or to bring up to date.")],
    key: Annotated[
        str | None,
        typer.Option(help="Verifier key or policy, or a file with it.  [default: ask the server]"),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Where the log is served.  [default: this server's]")
    ] = None,
) -> None:
    """Copy the published log as C2SP tiles, verifying as it goes; again to fetch what is new.

    Any web server can serve the folder. Exits 8 if the log does not continue what it holds.

    Example: actfor audit export-tiles ./log --key log.vkey --url https://iam.example.com/log
    """
    from actfor.cli.tiles import fetch_from
    from actfor.sdk.mirror import mirror

    trust = api().get("/v1/audit/key")["key"] if key is None else key_or_file(key)
    fetch = fetch_from(url or f"{api().base_url}/log")
    try:
        done = mirror(fetch, folder, trust)
    except Refused as refused:
        if refused.kind is not Kind.DENIED:
            raise
        note(f"NOT VERIFIED: {refused.detail}")
        raise typer.Exit(8) from None
    pruned = f"; entries below {done.pruned} were pruned" if done.pruned else ""
    note(f"{folder}: {done.checkpoint.size} entries, {done.added} new{pruned}")


@app.command()
def verify(
    what: Annotated[
        Path | None,
        typer.Argument(
            help="A receipt, a `.tlog-proof`, a folder of `export-tiles`, or a copy of the SQLite"
            " database.  [default: have the server recompute its log]"
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", "--policy", help="Verifier key or trust policy, or a file with it."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint you kept: the log must still contain it.")
    ] = None,
    leaf: Annotated[
        Path | None, typer.Option(help="The leaf of a `.tlog-proof` that has none with it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a receipt, or a whole log: that nothing was changed, and no permit follows its revoke.

    Offline, but for the server's own log. Exits 8 if anything does not hold.

    Example: actfor audit verify deletion.tlog-proof --key log.vkey
    """
    if what is None:
        report = _server_report()
    elif not what.exists():
        raise Refused(Kind.NOT_FOUND, f"`{what}` does not exist")
    elif key is None:
        raise typer.BadParameter("needed: it is what you trust", param_hint="--key")
    else:
        kept = checkpoint.read_text() if checkpoint else None
        proved = leaf.read_bytes() if leaf else None
        try:
            report = _verify(what, key_or_file(key), kept, proved)
        except Refused as refused:
            note(f"NOT VERIFIED: {refused.detail}")
            raise typer.Exit(8) from None
    emit(
        report,
        as_json=as_json,
        text="\n".join(f"{name:<20} {value}" for name, value in report.items()),
    )


@app.command()
def prune(
    before: Annotated[
        str | None, typer.Option(help="Entries older than this date, YYYY-MM-DD.")
    ] = None,
    keep_months: Annotated[
        int | None, typer.Option(min=6, help="Entries older than so many months.")
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete what was refused a week ago or earlier.")
    ] = False,
) -> None:
    """Refuse to serve old entries of the log; a week later, with --delete, delete them.

    From the front, in whole bundles of 256, never within the retention (setting
    `log_retention_days`, at least 183). Hashes stay: receipts and later proofs remain valid.

    Example: actfor audit prune --keep-months 12
    """
    if (before is None) == (keep_months is None):
        raise typer.BadParameter("give one of them", param_hint="--before, --keep-months")
    if before is None:
        days = round((keep_months or 0) * 30.4375)
        before = (datetime.now(UTC) - timedelta(days=max(days, 183))).isoformat()
    done = api().post("/v1/audit/prune", {"before": before, "delete": delete})
    note(f"entries below {done['minimum']} are refused, below {done['deleted']} deleted")


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


def _server_report() -> dict[str, Any]:
    report: dict[str, Any] = api().get("/v1/audit/verify")
    if not report["ok"]:
        note("NOT VERIFIED: " + "; ".join(map(str, report["problems"])))
        raise typer.Exit(8)
    return report


def _verify(what: Path, trust: str, checkpoint: str | None, leaf: bytes | None) -> dict[str, Any]:
    from actfor.sdk import receipt as proofs

    if what.is_dir():
        exported = proofs.verify_export(what, trust, checkpoint=checkpoint)
        return dict(exported.summary())
    if _is_database(what):
        from actfor.audit.offline import verify_database

        return dict(verify_database(what, trust, checkpoint=checkpoint))
    text = what.read_text(errors="replace")
    if text.startswith(proofs.PROOF_HEADER):
        return dict(proofs.verify_proof(text, trust, leaf=leaf).summary())
    return dict(proofs.verify_receipt(text, trust, checkpoint=checkpoint).summary())


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"
