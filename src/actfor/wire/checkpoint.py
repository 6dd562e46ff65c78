"""C2SP signed notes, checkpoints and log proofs: what a log says about itself, in text.

    <origin>                      a note: lines, a blank line, signature lines
    <size>                        a checkpoint: origin, tree size, root hash
    <base64 root hash>            a log proof: index, inclusion proof, checkpoint

    — <key name> <base64(key id || signature)>

Ed25519 only (signed-note type 0x01); signatures by unknown keys (witnesses, a rotated key)
are ignored, a bad signature by the trusted key is refused.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from actfor.errors import Kind, Refused
from actfor.wire.merkle import HASH_BYTES

_ED25519 = b"\x01"
_MAX_NOTE_BYTES = 64 * 1024
_MAX_SIGNATURES = 64
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_PRIVATE = "PRIVATE+KEY+"
_PROOF_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A public key with its name. Text form: ``<name>+<key id in hex>+<base64(type || key)>``."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a verifier key.

        Raises:
            Refused: MALFORMED if it is not one, or its id does not belong to its key.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _unbase64(encoded)
        if not _NAME.fullmatch(name) or len(key) != 1 + HASH_BYTES or key[:1] != _ED25519:
            raise Refused(Kind.MALFORMED, "not an Ed25519 verifier key")
        verifier = cls(name, key[1:])
        if key_id != verifier.key_id.hex():
            raise Refused(Kind.MALFORMED, "the verifier key's id does not belong to its key")
        return verifier

    @property
    def key_id(self) -> bytes:
        """signed-note: the first four bytes of SHA-256(name || LF || type || key)."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        """The text form, to be handed to whoever will verify."""
        key = b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    def verify(self, note: str) -> str:
        """The text of a note that this key signed. Nothing else in the note may be believed.

        Raises:
            Refused: MALFORMED if it is not a note; DENIED if this key did not sign this text.
        """
        text, signatures = _split(note)
        ours = [raw[4:] for name, raw in signatures if (name, raw[:4]) == (self.name, self.key_id)]
        if not ours:
            raise Refused(Kind.DENIED, "the checkpoint is not signed by the trusted key")
        public = Ed25519PublicKey.from_public_bytes(self.public)
        try:
            for signature in ours:
                public.verify(signature, text.encode())
        except InvalidSignature as cause:
            raise Refused(Kind.DENIED, "the checkpoint's signature does not verify") from cause
        return text


class NoteSigner:
    """The log's private key. Keep its text form as secret as the log is to be believed."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        if not _NAME.fullmatch(name):
            raise Refused(Kind.MALFORMED, "a key name must not have spaces, `+` or controls")
        self._private = private
        self.verifier = NoteVerifier(name, private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new key with this name, which should be the log's origin."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what ``to_text`` wrote; raises MALFORMED, without showing any of it."""
        name, _, rest = text.strip().removeprefix(_PRIVATE).partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = _unbase64(encoded)
        if len(raw) != 1 + HASH_BYTES or raw[:1] != _ED25519:
            raise Refused(Kind.MALFORMED, "not an Ed25519 signer key")
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(raw[1:]))
        if not text.startswith(_PRIVATE) or key_id != signer.verifier.key_id.hex():
            raise Refused(Kind.MALFORMED, "the signer key's id does not belong to its key")
        return signer

    def to_text(self) -> str:
        """``PRIVATE+KEY+<name>+<id>+<base64>``, the note package's form."""
        key = b64encode(_ED25519 + self._private.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.verifier.name}+{self.verifier.key_id.hex()}+{key}\n"

    def sign(self, text: str) -> str:
        """The note: text, a blank line, our signature line."""
        signature = self.verifier.key_id + self._private.sign(text.encode())
        return f"{text}\n— {self.verifier.name} {b64encode(signature).decode()}\n"


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
        if len(lines) < 4 or not all(lines[:-1]) or not _NUMBER.fullmatch(lines[1]):
            raise Refused(Kind.MALFORMED, "not a checkpoint")
        root = _unbase64(lines[2])
        if len(root) != HASH_BYTES:
            raise Refused(Kind.MALFORMED, "not a checkpoint")
        return cls(lines[0], int(lines[1]), root)

    @classmethod
    def verified(cls, note: str, key: NoteVerifier) -> Self:
        """The checkpoint in a note, signed by ``key`` for the log of the same name.

        Raises:
            Refused: as ``NoteVerifier.verify``; DENIED if it speaks of another log.
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
        head = [_PROOF_HEADER, *extra, f"index {self.index}", *path]
        return "\n".join(head) + "\n\n" + self.note

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a proof. Nothing in it is verified, least of all ``extra``.

        Raises:
            Refused: MALFORMED if it is not a v1 proof.
        """
        head, _, note = text.partition("\n\n")
        lines = head.split("\n")
        if len(text) > _MAX_NOTE_BYTES or lines.pop(0) != _PROOF_HEADER:
            raise Refused(Kind.MALFORMED, "not a log proof")
        extra = _unbase64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else b""
        word, _, number = lines.pop(0).partition(" ") if lines else ("", "", "")
        path = tuple(map(_unbase64, lines))
        if word != "index" or not _NUMBER.fullmatch(number) or len(path) > 63:
            raise Refused(Kind.MALFORMED, "not a log proof")
        if any(len(node) != HASH_BYTES for node in path):
            raise Refused(Kind.MALFORMED, "not a log proof")
        return cls(int(number), path, note, extra)


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Text and signatures; the last blank line parts them (signed-note, Format)."""
    text, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    malformed = Refused(Kind.MALFORMED, "not a signed note")
    if not separator or lines.pop() or not lines or len(lines) > _MAX_SIGNATURES:
        raise malformed
    if len(note) > _MAX_NOTE_BYTES or any(char < " " and char != "\n" for char in note):
        raise malformed
    signatures: list[tuple[str, bytes]] = []
    for line in lines:
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        raw = _unbase64(encoded)
        if dash != "—" or not _NAME.fullmatch(name) or len(raw) < 5:
            raise malformed
        signatures.append((name, raw))
    return text + "\n", signatures


def _unbase64(text: str) -> bytes:
    """RFC 4648 §4, in its one canonical spelling: two texts never mean the same bytes."""
    try:
        raw = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise Refused(Kind.MALFORMED, "not base64") from cause
    if b64encode(raw).decode() != text:
        raise Refused(Kind.MALFORMED, "not base64")
    return raw
