"""`actfor backup` and `actfor restore`: on the machine of the server, with its data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from actfor.cli.output import note, out
from actfor.cli.serve import DEFAULT_DATA, DatabaseOption, DataOption, IssuerOption, server_module
from actfor.errors import Kind, Refused

KeyOption = Annotated[
    str | None, typer.Option(help="The log's verifier key that you kept, or a file with it.")
]
EXIT_NOT_VERIFIED = 8


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    what: Annotated[str, typer.Argument(metavar="FILE | verify", help="The file to write.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="With `verify`: the file to check.")
    ] = None,
    key: KeyOption = None,
    data: DataOption = DEFAULT_DATA,
    db: DatabaseOption = None,
    issuer: IssuerOption = None,
) -> None:
    """Write a backup to one new file while the server serves, or verify one.

    `actfor backup verify FILE` checks every digest and the signature, fills a database of its own,
    and recomputes the whole log. With the data folder's key file, payloads are opened, too.
    The key that wraps all others is not in a backup, nor is `erasure.key`: keep copies of them
    elsewhere. What concerns people is encrypted in it, each person's by a key of their own.

    Example: actfor backup /mnt/backup/actfor-monday --data /var/lib/actfor
    """
    server = server_module()
    settings = server.load(mode="serve" if issuer else "dev", data=data, database=db, issuer=issuer)
    if what == "verify":
        if file is None:
            raise Refused(Kind.MALFORMED, "name the backup to verify")
        _verify(server, settings, file, _text(key))
        return
    if file is not None or key is not None:
        raise Refused(Kind.MALFORMED, "one file to write, or `verify` and a file")
    made = server.write_backup(settings, Path(what))
    note(f"wrote {what}: {made.rows} rows, a log of {made.size} entries")
    note(f"its keys open with the KEK `{made.kek}`, which is not in it: keep that elsewhere")


def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="There is a database: keep it aside, take this one.")
    ] = False,
    operator: Annotated[
        list[str] | None,
        typer.Option(help="Who may go on, by id or name; needed where no database is replaced."),
    ] = None,
    erasures: Annotated[
        Path | None, typer.Option(help="A ledger of erasures that was kept elsewhere.")
    ] = None,
    key: KeyOption = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="You have no key, and trust the file.")
    ] = False,
    data: DataOption = DEFAULT_DATA,
    db: DatabaseOption = None,
    issuer: IssuerOption = None,
) -> None:
    """Put a backup in place; nothing that was revoked since comes back. Stop the server first.

    All keys, tokens, sessions, mandates and approvals end, agents are quarantined, the log goes on
    under another name. People come back as far as the replaced database or --operator vouches for
    them; everybody else is disabled. Who was erased since is erased again, and opens no more.

    Example: actfor restore actfor-monday --key log.vkey --operator "Ada Lovelace"
    """
    import asyncio

    server = server_module()
    settings = server.load(mode="serve" if issuer else "dev", data=data, database=db, issuer=issuer)
    done = asyncio.run(
        server.restore(
            settings,
            file,
            key=_text(key),
            replace=replace,
            operators=operator or (),
            erasures=erasures,
            unverified=unverified,
        )
    )
    ended = done.recovered
    lines = [
        f"restored     {done.backup.rows} rows of {done.backup.created_at}",
        f"ended        {ended.people} people's tokens and sessions, {ended.mandates} mandates",
        f"quarantined  {ended.agents} agents",
        f"people       {done.disabled} disabled, {done.erased} erased again",
        "look at      policies and pinned tools: they are as in the backup",
    ]
    if done.replaced is not None:
        lines.append(f"kept aside   {done.replaced}; delete it when you do not need it")
    if not done.compacted:
        lines.append(
            "tables       still hold rows of who was erased: have their owner VACUUM (FULL)"
        )
    lines.append(f"log          {ended.log}; those who verify it need its new key:")
    for line in lines:
        out.print(line, markup=False)
    out.file.write(ended.verifier_key + "\n")


def _verify(server: Any, settings: Any, file: Path, key: str | None) -> None:
    found = server.verify_backup(settings, file, key)
    made = found.backup
    out.print(f"made         {made.created_at} by actfor {made.release}", markup=False)
    out.print(f"log          {made.size} entries of {made.log.partition('+')[0]}", markup=False)
    out.print(f"rows         {made.rows}", markup=False)
    opened = "not opened: another KEK" if found.opened is None else f"{found.opened} opened"
    out.print(f"payloads     {opened}", markup=False)
    whose = "by the key you gave" if found.trusted else "by itself: give --key to trust it"
    out.print(f"signed       {whose}", markup=False)
    for problem in found.problems:
        note(f"NOT VERIFIED: {problem}")
    if found.problems:
        raise typer.Exit(EXIT_NOT_VERIFIED)


def _text(key: str | None) -> str | None:
    if key is None:
        return None
    return Path(key).read_text().strip() if Path(key).is_file() else key
