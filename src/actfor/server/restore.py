"""Putting a backup in place, so that nothing that was revoked since comes back.

A backup is an older copy of the database, and is treated as one (``recovery``): all keys, tokens
and sessions end, mandates are revoked, agents quarantined, the log goes on under another name.
People come back only as far as somebody vouches for them:

- where the database that is replaced can be read, with what they may both then and now;
- else only those that are named (``operators``); everybody else is disabled, until one looks.

Who was erased after the backup, by the ledger beside the database or because their key is no longer
in `erasure.key`, is erased again; what log and tables keep of them does not open meanwhile.

All of it happens in a database of its own that is put in place at the end: what is cut short leaves
what was there before. Between the transaction that fills it and the one that ends everything it is
closed (``snapshot.load``): on PostgreSQL, where it stands in its place already, what is cut short
there is served by no node of any release.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actfor.errors import Kind, Refused
from actfor.identity import PeopleService, Person
from actfor.server import personal, recovery, wiring
from actfor.server.backup import Archive, Backup
from actfor.server.erasure import LEDGER, Erasure, read_ledger
from actfor.server.recovery import Recovered
from actfor.server.settings import Settings
from actfor.server.telemetry import configure_logging
from actfor.server.wiring import utc
from actfor.store import Database, Tx
from actfor.store import snapshot as store

_WORK: Final = "restoring"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put in place, and what did not come back."""

    backup: Backup
    recovered: Recovered
    disabled: int
    erased: int
    replaced: Path | None
    compacted: bool  # False where files may still hold rows of who was erased again


async def restore(
    settings: Settings,
    file: Path,
    *,
    key: str | None = None,
    replace: bool = False,
    operators: Collection[str] = (),
    erasures: Path | None = None,
    unverified: bool = False,
) -> Restored:
    """Restore a backup into the database that the settings name.

    ``operators`` are ids or names of people who may go on; needed where no database is replaced.
    ``erasures`` is a ledger kept elsewhere, beside the one of the data folder. ``key`` is the log's
    verifier key, kept elsewhere: whoever can make a backup could make themselves its admin, so
    without one the file must be trusted, by ``unverified``.

    Raises:
        Refused: CONFLICT if there is a database already, unless ``replace``; or the KEK is not the
            backup's; DENIED if the backup is not what was signed; NOT_FOUND for who is not in it.
    """
    configure_logging("error")
    if key is None and not unverified:
        raise Refused(
            Kind.MALFORMED,
            "give the log's verifier key that you kept with --key, or say with --unverified that"
            " you trust the file",
        )
    target = _sqlite_path(settings)
    there = target is not None and target.exists()
    if there and not replace:
        raise Refused(Kind.CONFLICT, f"there is a database at `{target}`; replace it by --replace")
    now = _people_now(settings) if there else None
    if now is None and not operators:
        raise Refused(
            Kind.CONFLICT,
            "nobody can say who was disabled since the backup was made: name who may go on"
            " with --operator; everybody else is disabled",
        )
    archive = Archive(file, key)
    try:
        work, at = _work(settings, target)
        # In a thread: schema work on PostgreSQL has an event loop of its own.
        url, schema = at.database_url, archive.backup.schema
        await asyncio.to_thread(store.load, url, schema, archive.content(), closed=True)
    finally:
        archive.close()
    gone = read_ledger(settings.data / LEDGER) + (read_ledger(erasures) if erasures else [])
    cause = f"restored from the backup of {archive.backup.created_at}"
    application = await wiring.build(at, with_default_policies=False, guarded=False, restoring=True)
    counts = {"disabled": 0, "erased": 0}
    try:
        services = application.services

        def also(tx: Tx) -> None:
            erased = {one.person for one in gone} | services.erasure.cut_out(tx)
            counts["erased"] = _erase_again(tx, services.erasure, erased)
            counts["disabled"] = _vouch(tx, services.people, now, operators)
            store.finish(tx)

        recovered = await recovery.end_everything(services, cause, also)
        await personal.seal_old(services.database, services.audit.texts, services.delegation)
        compacted = await services.erasure.compact()
        await services.erasure.keep_ledger()
    finally:
        await application.release()
    replaced = _put_in_place(work, target) if target is not None and work is not None else None
    return Restored(
        archive.backup, recovered, counts["disabled"], counts["erased"], replaced, compacted
    )


def _vouch(
    tx: Tx,
    people: PeopleService,
    now: Mapping[str, Person] | None,
    operators: Collection[str],
) -> int:
    """Disable whom nobody vouches for, take what they no longer may; how many were disabled."""
    everyone = people.everyone(tx)
    named = {one.id for one in everyone if one.id in operators or one.name in operators}
    missing = set(operators) - {one.id for one in everyone} - {one.name for one in everyone}
    if missing:
        raise Refused(Kind.NOT_FOUND, f"nobody in the backup is `{min(missing)}`")
    known = now or {}
    return sum(
        people.bring_back(tx, one, known.get(one.id), trusted=one.id in named) for one in everyone
    )


def _erase_again(tx: Tx, erasure: Erasure, gone: Collection[str]) -> int:
    return sum(erasure.again(tx, person) for person in sorted(gone))


def _people_now(settings: Settings) -> dict[str, Person] | None:
    """Who may what by the database that is to be replaced; None if it cannot be read."""
    try:
        found = store.read_snapshot(settings.database_url, utc, PeopleService.everyone_of)
    except (Refused, sqlite3.OperationalError):  # the latter: it never got its tables
        return None
    return {one.id: one for one in found}


def _sqlite_path(settings: Settings) -> Path | None:
    url = settings.database_url
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:") else None


def _work(settings: Settings, target: Path | None) -> tuple[Path | None, Settings]:
    """Where to build: beside an SQLite file; in a PostgreSQL database, which must be empty."""
    if target is None:
        return None, settings
    if target.exists():
        # Whoever serves it has to stop first: the lock is held as long as the process lives.
        Database.open(settings.database_url, clock=utc).close_sync()
    work = target.parent / f".{_WORK}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700, parents=True)
    return work, settings.model_copy(update={"database": f"sqlite:///{work / target.name}"})


def _put_in_place(work: Path, target: Path) -> Path | None:
    replaced = None
    if target.exists():
        replaced = target.with_name(f"{target.name}.replaced-{utc():%Y%m%dT%H%M%SZ}")
        for suffix in ("-wal", "-shm"):
            beside = target.with_name(target.name + suffix)
            if beside.exists():
                beside.replace(replaced.with_name(replaced.name + suffix))
        target.replace(replaced)
    for suffix in ("-wal", "-shm"):
        beside = work / (target.name + suffix)
        if beside.exists():
            beside.replace(target.with_name(target.name + suffix))
    (work / target.name).replace(target)
    shutil.rmtree(work)
    return replaced


__all__ = ["Restored", "restore"]
