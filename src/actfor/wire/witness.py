"""C2SP tlog-witness: what a log asks a witness, and what the witness must check.

old <size>                     POST <prefix>/add-checkpoint
<base64 hash> …                the consistency proof, at most 63 lines

<the checkpoint's note>

200  signature lines           404  unknown origin          403  no trusted signature
409  the size it knows         422  not consistent          400  anything else
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from actfor.errors import Kind, Refused
from actfor.wire import merkle
from actfor.wire.base64_text import unbase64
from actfor.wire.checkpoint import MAX_NOTE_BYTES, NUMBER, Checkpoint
from actfor.wire.merkle import HASH_BYTES
from actfor.wire.note import Note, NoteVerifier

MAX_PROOF_LINES = 63
MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 64 * 64
SIZE_TYPE = "text/x.tlog.size"


class WitnessRefusal(Exception):  # noqa: N818 - a refusal, not an error
    """The witness does not cosign. ``size`` is what it knows, to be told with a 409."""

    def __init__(self, status: int, detail: str, size: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.size = size


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The request: the tree continues the one of ``old`` leaves up to the note's checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """The request body."""
        lines = [f"old {self.old}", *(b64encode(node).decode() for node in self.proof)]
        return "\n".join(lines) + "\n\n" + self.note

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a request body.

        Raises:
            WitnessRefusal: 400 if it is not one.
        """
        head, separator, note = text.partition("\n\n")
        first, *rest = head.split("\n")
        word, _, number = first.partition(" ")
        if not separator or word != "old" or not NUMBER.fullmatch(number):
            raise WitnessRefusal(400, "the body must begin with `old <size>`")
        if len(rest) > MAX_PROOF_LINES:
            raise WitnessRefusal(400, f"more than {MAX_PROOF_LINES} proof lines")
        try:
            proof = tuple(map(unbase64, rest))
        except Refused as refused:
            raise WitnessRefusal(400, "a proof line is not base64") from refused
        if any(len(node) != HASH_BYTES for node in proof):
            raise WitnessRefusal(400, "a proof line is not a SHA-256 hash")
        return cls(int(number), proof, note)


def require_signed(
    request: AddCheckpoint, logs: Mapping[str, Sequence[NoteVerifier]]
) -> tuple[Checkpoint, str]:
    """The checkpoint and its text, if it is signed by a key trusted for its origin.

    Raises:
        WitnessRefusal: 400 no checkpoint, or smaller than `old`; 404 unknown origin; 403 not signed
            by a trusted key.
    """
    try:
        note = Note.parse(request.note)
        checkpoint = Checkpoint.parse(note.text)
    except Refused as refused:
        raise WitnessRefusal(400, f"the checkpoint is {refused.detail}") from refused
    keys = logs.get(checkpoint.origin, ())
    if not keys:
        raise WitnessRefusal(404, "the log is not known here")
    if not any(_signed(key, note) for key in keys):
        raise WitnessRefusal(403, "no trusted key signed the checkpoint")
    if request.old > checkpoint.size:
        raise WitnessRefusal(400, "the old size is larger than the checkpoint")
    return checkpoint, note.text


def require_growth(
    request: AddCheckpoint, checkpoint: Checkpoint, latest: Checkpoint | None
) -> None:
    """The checkpoint continues ``latest``, the last one cosigned for its origin.

    To be asked in the transaction that stores the checkpoint as the latest one: between two
    requests for growing sizes nothing may roll back (tlog-witness, add-checkpoint).

    Raises:
        WitnessRefusal: 409 with the known size where `old` is another, or the same size has another
            root; 422 where the proof does not hold.
    """
    size = latest.size if latest else 0
    root = latest.root if latest else merkle.EMPTY_ROOT
    if request.old != size:
        raise WitnessRefusal(409, "the latest checkpoint here has another size", size)
    if checkpoint.size == size and checkpoint.root != root:
        raise WitnessRefusal(409, "another tree of this size was cosigned", size)
    try:
        merkle.verify_consistency(size, checkpoint.size, request.proof, root, checkpoint.root)
    except Refused as refused:
        raise WitnessRefusal(422, refused.detail) from refused


def cosignatures(answer: str, text: str, key: NoteVerifier) -> list[str]:
    """The lines of ``key`` in a witness's answer, verified over the checkpoint's ``text``.

    Lines of other keys are ignored (tlog-witness: the client MUST).

    Raises:
        Refused: MALFORMED if the answer is not signature lines; DENIED if the key did not cosign.
    """
    note = Note.of(text, answer)
    if not key.signed_at(note):
        raise Refused(Kind.DENIED, f"the witness `{key.name}` did not cosign the checkpoint")
    return key.lines_of(note)


def _signed(key: NoteVerifier, note: Note) -> bool:
    try:
        return key.signed_at(note) is not None
    except Refused:
        return False
