"""A witness across an air gap: files in a folder, carried by a person or by a cron job.

<folder>/add-checkpoint    we write it: the request of C2SP tlog-witness
<folder>/cosignatures      `actfor witness sign <folder>/add-checkpoint` writes it beside it
<folder>/cosigned          the last note cosigned, so that the next request continues it
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from actfor.audit.witnesses.base import Cosigned, Misfit, NotCosigned, Prove
from actfor.errors import Kind, Refused
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.note import Note, NoteVerifier
from actfor.wire.witness import AddCheckpoint, WitnessRefusal, cosignatures

REQUEST = "add-checkpoint"
ANSWER = "cosignatures"
_COSIGNED = "cosigned"


class FolderWitness:
    """One request at a time; it waits for as long as the answer takes."""

    def __init__(self, name: str, key: NoteVerifier, folder: Path) -> None:
        self.name = name
        self.pending: int | None = None
        self._key = key
        self._folder = folder

    @classmethod
    def at(cls, name: str, key: NoteVerifier, url: str) -> Self:
        """The folder of a ``file:`` URL; raises MALFORMED unless it is an absolute path."""
        parts = urlsplit(url)
        path = Path(unquote(parts.path))
        if parts.netloc or not path.is_absolute():
            raise Refused(Kind.MALFORMED, f"witness `{name}`: `{url}` is not an absolute file URL")
        return cls(name, key, path)

    async def cosign(self, note: str, prove: Prove) -> Cosigned | None:
        """See ``Witness``."""
        checkpoint = Checkpoint.parse(Note.parse(note).text)
        try:
            answered, latest = await asyncio.to_thread(self._answered)
            if answered is not None:
                return answered
            if self.pending is not None:
                return None
            if latest > checkpoint.size:
                raise Misfit(
                    f"witness `{self.name}` cosigned {latest} entries; this log has"
                    f" {checkpoint.size}",
                    latest,
                )
            if latest == checkpoint.size and latest:
                return None
            proof = await prove(latest, checkpoint.size)
            request = AddCheckpoint(latest, tuple(proof), note).text()
            await asyncio.to_thread(_write, self._folder / REQUEST, request)
            self.pending = checkpoint.size
        except OSError as cause:
            raise NotCosigned(
                f"witness `{self.name}`: `{self._folder}`: {cause.strerror}"
            ) from cause
        return None

    async def close(self) -> None:
        """See ``Witness``."""

    def _answered(self) -> tuple[Cosigned | None, int]:
        """The answer to the request that lies there, if any, and the size cosigned last."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        request = _read(self._folder / REQUEST)
        answer = _read(self._folder / ANSWER)
        if request is None:
            self.pending = None
            return None, self._latest()
        note = self._note(request)
        text = Note.parse(note).text
        self.pending = Checkpoint.parse(text).size
        if answer is None:
            return None, self._latest()
        try:
            lines = cosignatures(answer, text, self._key)
        except Refused as refused:
            raise NotCosigned(f"witness `{self.name}`: `{ANSWER}`: {refused.detail}") from refused
        _write(self._folder / _COSIGNED, note)
        (self._folder / ANSWER).unlink()
        (self._folder / REQUEST).unlink()
        self.pending = None
        return Cosigned(note, tuple(lines)), Checkpoint.parse(text).size

    def _latest(self) -> int:
        note = _read(self._folder / _COSIGNED)
        return 0 if note is None else Checkpoint.parse(Note.parse(note).text).size

    def _note(self, request: str) -> str:
        try:
            return AddCheckpoint.parse(request).note
        except WitnessRefusal as refusal:
            raise NotCosigned(
                f"witness `{self.name}`: `{REQUEST}` was changed; remove it to ask anew"
            ) from refusal


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    """As a whole or not at all, and on the disk."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
