"""What a witness keeps, in a folder of its own.

    witness.key              its Ed25519 key, mode 0600
    witness-ml-dsa.key       its ML-DSA-44 key, mode 0600
    logs                     the verifier keys of the logs it watches, a line each
    state/<hash of origin>   the last note it cosigned for that log

INVARIANT: a cosignature leaves only after the note it is for is on the disk as the latest one of
its origin, and that note continues the one it replaces. Both happen under one lock, which other
processes on the same folder take as well.

Whoever can write the folder can make the witness forget, and then cosign a second history.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Self

from actfor.errors import Kind, Refused
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.note import Cosigner, Note, NoteVerifier
from actfor.wire.tlog_policy import Policy
from actfor.wire.witness import AddCheckpoint, require_growth, require_signed

_KEYS = ("witness.key", "witness-ml-dsa.key")
_LOGS = "logs"


class Keeper:
    """One witness. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, cosigners: Sequence[Cosigner]) -> None:
        self._folder = folder
        self._cosigners = cosigners

    @classmethod
    def create(cls, folder: Path, name: str) -> Self:
        """A new witness with new keys.

        Raises:
            Refused: CONFLICT if the folder holds one already; MALFORMED for a name no key may have.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = [Cosigner.generate(name, post_quantum=n == 1) for n in range(2)]
        for file, cosigner in zip(_KEYS, made, strict=True):
            try:
                handle = os.open(folder / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                raise Refused(Kind.CONFLICT, f"`{folder}` holds a witness already") from None
            with os.fdopen(handle, "w") as opened:
                opened.write(cosigner.to_text())
                opened.flush()
                os.fsync(opened.fileno())
        _sync_folder(folder)
        return cls(folder, made)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The witness in this folder.

        Raises:
            Refused: NOT_FOUND, or MALFORMED where a key is not one, or others may read it.
        """
        return cls(folder, [Cosigner.from_text(_secret(folder / file)) for file in _KEYS])

    @property
    def verifiers(self) -> list[NoteVerifier]:
        """Its public keys: Ed25519 (0x04) and ML-DSA-44 (0x06)."""
        return [cosigner.verifier for cosigner in self._cosigners]

    def trust(self, keys: str) -> str:
        """Watch the log of these verifier keys from now on, beside those watched; its origin.

        Keys of an origin are added, never replaced: to take one away, edit the file.

        Raises:
            Refused: MALFORMED if they are not keys of one log.
        """
        wanted = Policy.of_keys(keys).logs
        with self._locked():
            known = self._lines()
            added = [str(key) for key in wanted if str(key) not in known]
            _write(self._folder / _LOGS, "".join(f"{line}\n" for line in [*known, *added]))
        return wanted[0].name

    def logs(self) -> Mapping[str, Sequence[NoteVerifier]]:
        """The trusted keys by origin, as the file says now."""
        found: dict[str, list[NoteVerifier]] = {}
        for line in self._lines():
            key = NoteVerifier.parse(line)
            found.setdefault(key.name, []).append(key)
        return found

    def latest(self, origin: str) -> Checkpoint | None:
        """The last checkpoint cosigned for this log.

        Raises:
            Refused: CONFLICT if the record is damaged: nothing is cosigned over it.
        """
        try:
            note = self._state(origin).read_text()
        except FileNotFoundError:
            return None
        try:
            checkpoint = Checkpoint.parse(Note.parse(note).text)
        except Refused:
            checkpoint = None
        if checkpoint is None or checkpoint.origin != origin:
            raise Refused(Kind.CONFLICT, f"the record of `{origin}` is damaged")
        return checkpoint

    def add_checkpoint(self, body: str, now: int) -> str:
        """Cosign, if it is right to; the signature lines. ``now`` in seconds.

        Raises:
            WitnessRefusal: with the status of tlog-witness.
            Refused: CONFLICT if our own record is damaged.
        """
        request = AddCheckpoint.parse(body)
        checkpoint, text = require_signed(request, self.logs())
        with self._locked():
            require_growth(request, checkpoint, self.latest(checkpoint.origin))
            _write(self._state(checkpoint.origin), request.note)
            return "".join(cosigner.cosign(text, now) for cosigner in self._cosigners)

    def _lines(self) -> list[str]:
        try:
            text = (self._folder / _LOGS).read_text()
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()]

    def _state(self, origin: str) -> Path:
        return self._folder / "state" / sha256(origin.encode()).hexdigest()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            # Each open file has its own lock, so threads exclude one another, too.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _secret(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        raise Refused(
            Kind.NOT_FOUND, f"`{path.parent}` holds no witness: run `actfor witness init`"
        ) from None
    if mode & 0o077:
        raise Refused(Kind.MALFORMED, f"key file `{path}` is readable by others; chmod 600 it")
    return path.read_text()


def _write(path: Path, text: str) -> None:
    """As a whole or not at all, and on the disk when this returns."""
    path.parent.mkdir(exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
