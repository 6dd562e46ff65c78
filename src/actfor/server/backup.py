"""A backup: one file, made while the server serves, that proves what it is.

    zip, mode 0600
    ├── tables/<name>.jsonl   a line of column names, then a row a line; bytes as {"b64": …}
    ├── checkpoint            the log's last checkpoint, as signed
    ├── manifest.json         schema, release, KEK id, settings to look for, rows and digest of each
    └── manifest.sig          a signed note over the manifest's digest, by the log's key

All rows are of one snapshot, and their form is the same for SQLite and PostgreSQL. Private keys,
what the log keeps of people, and what tables say of them (``personal``) are in it as they are in
the database: encrypted. The KEK and `erasure.key` are not in it: of who is erased later, it opens
nothing any more. Ids, times, states and the names of agents and tools are in clear.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import Table

from actfor import __version__
from actfor.audit import AuditLog, NoteVerifier
from actfor.errors import Kind, Refused
from actfor.keys import KeyService, Vault
from actfor.server import personal
from actfor.server.keyring import erasure_key, open_vault
from actfor.server.settings import Settings
from actfor.server.wiring import utc
from actfor.store import Database, Tx
from actfor.store import snapshot as store
from actfor.wire.timestamps import rfc3339

FORMAT: Final = "actfor-backup/v1"
_MANIFEST, _SIGNATURE, _CHECKPOINT = "manifest.json", "manifest.sig", "checkpoint"
_MOST_MANIFEST: Final = 1 << 20
_MOST_LINE: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup says of itself; ``verify`` and ``Archive`` say whether it is so."""

    created_at: str
    release: str
    schema: str
    kek: str
    log: str
    size: int
    rows: int


class _Hashing:
    """Writes through to a member, and hashes what it writes."""

    def __init__(self, into: IO[bytes]) -> None:
        self._into, self.digest, self.rows = into, sha256(), -1

    def line(self, value: object) -> None:
        data = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        self.digest.update(data)
        self._into.write(data)
        self.rows += 1


def write_backup(settings: Settings, file: Path, clock: Callable[[], datetime] = utc) -> Backup:
    """Write a backup of the database that the settings name. The server may go on serving.

    Where it is cut short, `FILE.part` is what is left of it, and the next takes its place.

    Raises:
        Refused: CONFLICT if the file exists or is being written, the database has another release's
            schema, or an older one left personal text in clear in it; NOT_FOUND if there is no
            database, MALFORMED if the file cannot be made; BUSY if the database cannot be read.
    """
    _require_database(settings)
    vault = open_vault(settings)
    with _named_when_whole(file) as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        return store.read_snapshot(
            settings.database_url, clock, lambda tx: _write(tx, archive, vault, settings, clock())
        )


@contextmanager
def _named_when_whole(file: Path) -> Iterator[IO[bytes]]:
    """A private file that has its name only when all of it is on the disk.

    Until then it is `FILE.part`; what a killed process left there is overwritten.
    """
    part = file.with_name(file.name + ".part")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        raw = os.fdopen(os.open(part, flags, 0o600), "r+b")
    except OSError as error:
        raise Refused(Kind.MALFORMED, f"`{part}`: {error.strerror}") from None
    with raw:
        _claim(raw, part)
        try:
            _refuse_to_replace(file)
            raw.truncate()
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
            part.rename(file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    _sync(file.parent)


def _claim(raw: IO[bytes], part: Path) -> None:
    """For this process alone, as long as it lives; a file of ours, and still of that name."""
    try:
        fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(raw.fileno(), 0o600)  # refused where it is another user's
        found = os.fstat(raw.fileno())
        ours = found.st_uid == os.geteuid() and part.stat().st_ino == found.st_ino
    except OSError:
        ours = False
    if not ours:
        raise Refused(Kind.CONFLICT, f"`{part}` is another process's, or another user's")


def _refuse_to_replace(file: Path) -> None:
    if file.exists():
        raise Refused(Kind.CONFLICT, f"`{file}` exists already")


def _sync(folder: Path) -> None:
    """The name is on the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(
    tx: Tx, archive: zipfile.ZipFile, vault: Vault, settings: Settings, now: datetime
) -> Backup:
    schema = store.revision(tx)  # before anything is read by this release's tables
    signer = KeyService.log_signer_of(tx, vault)
    size, note = AuditLog.state_of(tx)
    members: dict[str, dict[str, Any]] = {}
    for table in store.tables():
        if table.name in personal.NOT_COPIED:
            continue
        columns = [column.name for column in table.columns]
        with archive.open(f"tables/{table.name}.jsonl", "w", force_zip64=True) as member:
            out = _Hashing(member)
            out.line(columns)
            for row in store.rows(tx, table):
                personal.require_sealed(table.name, columns, row)
                out.line([_encoded(value) for value in row])
            members[table.name] = {"rows": out.rows, "sha256": out.digest.hexdigest()}
    archive.writestr(_CHECKPOINT, note or "")
    body = {
        "format": FORMAT,
        "created_at": rfc3339(now),
        "release": __version__,
        "schema": schema,
        "kek": vault.root_kek(tx),
        "log": str(signer.verifier),
        "size": size,
        "checkpoint": sha256((note or "").encode()).hexdigest(),
        # What a restore needs beside this file, by name; no secret is in them.
        "settings": {
            "issuer": settings.public_url,
            "trust_domain": settings.domain,
            "database": settings.database_url.partition(":")[0],
            "kek": settings.kek.partition(":")[0],
        },
        "tables": members,
    }
    manifest = json.dumps(body, indent=1, sort_keys=True).encode()
    archive.writestr(_MANIFEST, manifest)
    archive.writestr(_SIGNATURE, signer.sign(_statement(manifest)))
    return _said(body)


class Archive:
    """A backup that is opened and whose manifest is what was signed."""

    def __init__(self, file: Path, key: str | None = None) -> None:
        """``key`` is the log's verifier key, kept elsewhere; without it the backup vouches for
        itself: it is whole, but anyone may have made it.

        Raises:
            Refused: NOT_FOUND, MALFORMED; DENIED if the signature is not the key's.
        """
        if not file.exists():
            raise Refused(Kind.NOT_FOUND, f"`{file}` does not exist")
        try:
            self._zip = zipfile.ZipFile(file)
            manifest = self._small(_MANIFEST)
            signature = self._small(_SIGNATURE).decode()
            self._body: dict[str, Any] = json.loads(manifest)
            self.checkpoint = self._small(_CHECKPOINT).decode()
            self.backup = _said(self._body)
            keys = [NoteVerifier.parse(line) for line in (key or self.backup.log).split()]
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as cause:
            raise Refused(Kind.MALFORMED, f"`{file}` is not a backup, or is cut short") from cause
        if self._body.get("format") != FORMAT:
            raise Refused(Kind.MALFORMED, f"`{file}` is a backup of a format not known here")
        if not any(_signed(each, signature, manifest) for each in keys):
            raise Refused(Kind.DENIED, "the manifest is not the one that was signed")
        if sha256(self.checkpoint.encode()).hexdigest() != self._body["checkpoint"]:
            raise Refused(Kind.DENIED, "the checkpoint is not the one of the manifest")

    def content(self) -> Iterator[tuple[str, list[str], Iterable[list[object]]]]:
        """Every table as ``store.load`` takes them. A table's digest is checked at its end.

        Raises:
            Refused: DENIED if a table is not what the manifest says.
        """
        known: dict[str, dict[str, Any]] = self._body["tables"]
        names = {table.name for table in store.tables()}
        if not known.keys() <= names:
            other = min(known.keys() - names)
            raise Refused(Kind.CONFLICT, f"table `{other}` is not known to this release")
        for table in store.tables():
            if table.name in known:
                lines = self._lines(table, known[table.name])
                columns = next(lines)
                yield table.name, [str(name) for name in columns], lines
                for _ in lines:  # whoever did not read it all: the digest is of the whole
                    pass

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    def _lines(self, table: Table, known: dict[str, Any]) -> Iterator[list[object]]:
        digest, rows = sha256(), -1
        with self._zip.open(f"tables/{table.name}.jsonl") as member:
            while line := member.readline(_MOST_LINE):
                digest.update(line)
                rows += 1
                yield [_decoded(value) for value in json.loads(line)]
        if (digest.hexdigest(), rows) != (known["sha256"], known["rows"]):
            raise Refused(Kind.DENIED, f"table `{table.name}` is not the one of the manifest")

    def _small(self, name: str) -> bytes:
        if self._zip.getinfo(name).file_size > _MOST_MANIFEST:
            raise ValueError(f"{name} is too large")
        return self._zip.read(name)


@dataclass(frozen=True, slots=True)
class Verified:
    """What ``verify_backup`` found. ``opened`` is None where no KEK was there to open payloads."""

    backup: Backup
    trusted: bool
    problems: tuple[str, ...]
    opened: int | None


def verify_backup(settings: Settings, file: Path, key: str | None = None) -> Verified:
    """Check digests and signature, fill a database of its own with it, recompute the whole log.

    Where the settings' KEK is the backup's, payloads are opened and compared with their
    commitments, too; else entries, tree and checkpoint are verified, payloads not looked into.

    Raises:
        Refused: DENIED, MALFORMED: it is not what was signed.
    """
    archive = Archive(file, key)
    vault = _vault_of(settings, archive.backup.kek)
    try:
        with tempfile.TemporaryDirectory(prefix="actfor-verify-") as folder:
            url = f"sqlite:///{folder}/actfor.db"
            store.load(url, archive.backup.schema, archive.content(), closed=False)
            database = Database.open(url, clock=utc)
            try:
                report = AuditLog.verify_database(
                    database, NoteVerifier.parse(archive.backup.log), vault
                )
            finally:
                database.close_sync()
    finally:
        archive.close()
    problems = list(report.problems)
    if report.size != archive.backup.size:
        problems.append(f"the manifest says {archive.backup.size} entries, {report.size} are there")
    opened = None if vault is None else report.opened
    return Verified(archive.backup, key is not None, tuple(problems), opened)


def _vault_of(settings: Settings, kek: str) -> Vault | None:
    """The settings' vault if it is under that KEK. No key file is made to find out."""
    if settings.kek == "file" and not (settings.data / "keys" / "kek.key").exists():
        return None
    if not erasure_key(settings).exists():
        return None
    vault = open_vault(settings)
    return vault if vault.kek.id == kek else None


def _require_database(settings: Settings) -> None:
    url = settings.database_url
    if url.startswith("sqlite:") and not Path(url.removeprefix("sqlite:///")).exists():
        raise Refused(Kind.NOT_FOUND, f"there is no database at `{url}`")


def _statement(manifest: bytes) -> str:
    """What is signed. Its first line is no log's origin, so it never passes for a checkpoint."""
    return f"{FORMAT}\n{sha256(manifest).hexdigest()}\n"


def _signed(key: NoteVerifier, signature: str, manifest: bytes) -> bool:
    try:
        return key.verify(signature) == _statement(manifest)
    except Refused:
        return False


def _said(body: dict[str, Any]) -> Backup:
    return Backup(
        created_at=str(body["created_at"]),
        release=str(body["release"]),
        schema=str(body["schema"]),
        kek=str(body["kek"]),
        log=str(body["log"]),
        size=int(body["size"]),
        rows=sum(int(table["rows"]) for table in body["tables"].values()),
    )


def _encoded(value: object) -> object:
    if isinstance(value, bytes | memoryview):
        return {"b64": b64encode(bytes(value)).decode()}
    return value


def _decoded(value: object) -> object:
    if isinstance(value, dict):
        return b64decode(value["b64"], validate=True)
    return value


__all__ = ["Archive", "Backup", "Verified", "verify_backup", "write_backup"]
