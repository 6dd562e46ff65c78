"""C2SP checkpoints and log proofs: what a log says about itself, in text.

    <origin>                      a checkpoint: origin, tree size, root hash; signed as a note
    <size>
    <base64 root hash>

    c2sp.org/tlog-proof@v1        a log proof: index, inclusion proof, checkpoint
    index <n>
    <base64 hash> …

    <the checkpoint's note, cosignatures included>

Who signed is the business of ``wire.note`` and ``wire.tlog_policy``.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Protocol, Self

from actfor.errors import Kind, Refused
from actfor.wire.base64_text import unbase64
from actfor.wire.merkle import HASH_BYTES

MAX_NOTE_BYTES = 64 * 1024
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
PROOF_HEADER = "c2sp.org/tlog-proof@v1"


class Key(Protocol):
    """What verifies a note: ``note.NoteVerifier``."""

    @property
    def name(self) -> str:
        """The key's name, which is the origin of its log."""
        ...

    def verify(self, note: str, /) -> str:
        """The text, if this key signed it; raises ``Refused``."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: this log has this many entries under this root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a note text whose signature was verified. Extension lines are ignored.

        Raises:
            Refused: MALFORMED if it is not a checkpoint.
        """
        lines = text.split("\n")
        if len(lines) < 4 or not all(lines[:-1]) or not NUMBER.fullmatch(lines[1]):
            raise Refused(Kind.MALFORMED, "not a checkpoint")
        root = unbase64(lines[2])
        if len(root) != HASH_BYTES:
            raise Refused(Kind.MALFORMED, "not a checkpoint")
        return cls(lines[0], int(lines[1]), root)

    @classmethod
    def verified(cls, note: str, key: Key) -> Self:
        """The checkpoint in a note, signed by ``key`` for the log of the same name.

        Raises:
            Refused: as ``Key.verify``; DENIED if it speaks of another log.
        """
        checkpoint = cls.parse(key.verify(note))
        # tlog-checkpoint: the key name SHOULD match the origin; ours always does, so we insist.
        if checkpoint.origin != key.name:
            raise Refused(Kind.DENIED, "the checkpoint is of another log")
        return checkpoint


@dataclass(frozen=True, slots=True)
class LogProof:
    """C2SP tlog-proof v1: that some entry stands at ``index`` under the ``note``'s root."""

    index: int
    path: tuple[bytes, ...]
    note: str
    extra: bytes = field(default=b"")

    def text(self) -> str:
        """The ``.tlog-proof`` file."""
        extra = [f"extra {b64encode(self.extra).decode()}"] if self.extra else []
        path = [b64encode(node).decode() for node in self.path]
        head = [PROOF_HEADER, *extra, f"index {self.index}", *path]
        return "\n".join(head) + "\n\n" + self.note

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a proof. Nothing in it is verified, least of all ``extra``.

        Raises:
            Refused: MALFORMED if it is not a v1 proof.
        """
        head, _, note = text.partition("\n\n")
        lines = head.split("\n")
        if len(text) > MAX_NOTE_BYTES or lines.pop(0) != PROOF_HEADER:
            raise Refused(Kind.MALFORMED, "not a log proof")
        extra = unbase64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else b""
        word, _, number = lines.pop(0).partition(" ") if lines else ("", "", "")
        path = tuple(map(unbase64, lines))
        if word != "index" or not NUMBER.fullmatch(number) or len(path) > 63:
            raise Refused(Kind.MALFORMED, "not a log proof")
        if any(len(node) != HASH_BYTES for node in path):
            raise Refused(Kind.MALFORMED, "not a log proof")
        return cls(int(number), path, note, extra)
