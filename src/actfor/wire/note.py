"""C2SP signed notes: a text and the signature lines below it, and the three kinds of key we know.

    <text, ending in a newline>

    — <key name> <base64(key id || signature)>

    0x01  Ed25519 over the text                                       (signed-note)
    0x04  Ed25519, timestamped, over `cosignature/v1` and the text    (tlog-cosignature)
    0x06  ML-DSA-44, timestamped, over origin, size and root          (tlog-cosignature)

Name and key id together say which key signed. Lines of unknown keys are ignored; a bad signature
under a known key refuses the whole note. 0x04 and 0x06 sign checkpoints only; a log may sign its
own checkpoint with 0x06 beside 0x01 (tlog-checkpoint, Signatures).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from actfor.errors import Kind, Refused
from actfor.wire.base64_text import unbase64
from actfor.wire.checkpoint import MAX_NOTE_BYTES, Checkpoint

MAX_SIGNATURES = 64
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")
_PRIVATE = "PRIVATE+KEY+"
_TIME_BYTES = 8


class SignatureType(IntEnum):
    """The type byte in a key's text form and id."""

    ED25519 = 0x01
    COSIGNATURE_ED25519 = 0x04
    COSIGNATURE_ML_DSA_44 = 0x06


_KEY_BYTES = {
    SignatureType.ED25519: 32,
    SignatureType.COSIGNATURE_ED25519: 32,
    SignatureType.COSIGNATURE_ML_DSA_44: 1312,
}


@dataclass(frozen=True, slots=True)
class Note:
    """A note taken apart. Nothing in it may be believed before a key has verified it."""

    text: str
    signatures: tuple[tuple[str, bytes], ...]
    lines: tuple[str, ...]

    @classmethod
    def parse(cls, note: str) -> Self:
        """Take it apart; the last blank line parts text and signatures (signed-note, Format).

        Raises:
            Refused: MALFORMED if it is not a note.
        """
        if len(note) > MAX_NOTE_BYTES:
            raise _malformed()
        text, separator, tail = note.rpartition("\n\n")
        if not separator or any(char < " " and char != "\n" for char in note):
            raise _malformed()
        return cls(text + "\n", *_lines(tail))

    @classmethod
    def of(cls, text: str, tail: str) -> Self:
        """This text with these signature lines, as a witness answers them; raises MALFORMED."""
        return cls(text, *_lines(tail))

    def __str__(self) -> str:
        """The note's own text form."""
        return self.text + "\n" + "".join(line + "\n" for line in self.lines)


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A public key with its name. Text form: ``<name>+<key id in hex>+<base64(type || key)>``."""

    name: str
    public: bytes
    type: SignatureType = SignatureType.ED25519

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a verifier key.

        Raises:
            Refused: MALFORMED if it is not one, its id does not belong to its key, or its type is
                unknown.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        if not _NAME.fullmatch(name):
            raise Refused(Kind.MALFORMED, "not a verifier key")
        type_, public = _typed(unbase64(encoded))
        if len(public) != _KEY_BYTES[type_]:
            raise Refused(Kind.MALFORMED, "not a verifier key")
        verifier = cls(name, public, type_)
        if key_id != verifier.key_id.hex():
            raise Refused(Kind.MALFORMED, "the verifier key's id does not belong to its key")
        return verifier

    @property
    def key_id(self) -> bytes:
        """signed-note: the first four bytes of SHA-256(name || LF || type || key)."""
        return sha256(f"{self.name}\n".encode() + bytes([self.type]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """The text form, to be handed to whoever will verify."""
        key = b64encode(bytes([self.type]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    def verify(self, note: str) -> str:
        """The text of a note that this key signed. Nothing else in the note may be believed.

        Raises:
            Refused: MALFORMED if it is not a note; DENIED if this key did not sign this text.
        """
        taken = Note.parse(note)
        if self.signed_at(taken) is None:
            raise Refused(Kind.DENIED, "the checkpoint is not signed by the trusted key")
        return taken.text

    def signed_at(self, note: Note) -> int | None:
        """When this key signed (seconds; 0 for a type without a time), or None if it did not.

        Raises:
            Refused: DENIED if a signature of this key does not verify.
        """
        times = [self._time(note.text, raw) for raw in self._own(note)]
        return max(times, default=None)

    def lines_of(self, note: Note) -> list[str]:
        """The signature lines that bear this key's name and id. Not verified."""
        ids = (self.name, self.key_id)
        pairs = zip(note.lines, note.signatures, strict=True)
        return [line for line, (name, raw) in pairs if (name, raw[:4]) == ids]

    def _own(self, note: Note) -> Iterator[bytes]:
        ids = (self.name, self.key_id)
        return (raw[4:] for name, raw in note.signatures if (name, raw[:4]) == ids)

    def _time(self, text: str, signature: bytes) -> int:
        try:
            if self.type is SignatureType.ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
                return 0
            at = int.from_bytes(signature[:_TIME_BYTES], "big")
            message = cosigned_message(self.type, self.name, text, at)
            if self.type is SignatureType.COSIGNATURE_ED25519:
                key = Ed25519PublicKey.from_public_bytes(self.public)
                key.verify(signature[_TIME_BYTES:], message)
            else:
                MLDSA44PublicKey.from_public_bytes(self.public).verify(
                    signature[_TIME_BYTES:], message
                )
        except (InvalidSignature, ValueError) as cause:
            raise Refused(Kind.DENIED, "the checkpoint's signature does not verify") from cause
        if at >= 1 << 63:  # tlog-cosignature, Format: MUST NOT exceed 2^63 - 1
            raise Refused(Kind.DENIED, "the cosignature's time is out of range")
        return at


class NoteSigner:
    """The log's private key. Keep its text form as secret as the log is to be believed."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        _require_name(name)
        self._private = private
        self.verifier = NoteVerifier(name, private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new key with this name, which should be the log's origin."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what ``to_text`` wrote; raises MALFORMED, without showing any of it."""
        name, type_, seed = _read_private(text)
        if type_ is not SignatureType.ED25519:
            raise Refused(Kind.MALFORMED, "not an Ed25519 signer key")
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(seed))
        _require_id(text, signer.verifier)
        return signer

    def to_text(self) -> str:
        """``PRIVATE+KEY+<name>+<id>+<base64>``, the note package's form."""
        return _private_text(self.verifier, self._private.private_bytes_raw())

    def sign(self, text: str) -> str:
        """The note: text, a blank line, our signature line."""
        return f"{text}\n{_line(self.verifier, self._private.sign(text.encode()))}\n"


class Cosigner:
    """A key that states, with a time, that it saw a log grow consistently up to a checkpoint.

    A witness's key; or the log's own ML-DSA-44 key, beside its Ed25519 one. The caller has checked
    consistency: this only signs.
    """

    def __init__(self, name: str, private: Ed25519PrivateKey | MLDSA44PrivateKey) -> None:
        _require_name(name)
        if len(name.encode()) > 255:
            raise Refused(Kind.MALFORMED, "a cosigner's name has at most 255 bytes")
        self._private = private
        type_ = (
            SignatureType.COSIGNATURE_ED25519
            if isinstance(private, Ed25519PrivateKey)
            else SignatureType.COSIGNATURE_ML_DSA_44
        )
        self.verifier = NoteVerifier(name, private.public_key().public_bytes_raw(), type_)

    @classmethod
    def generate(cls, name: str, *, post_quantum: bool = False) -> Self:
        """A new key: Ed25519, or ML-DSA-44."""
        return cls(name, MLDSA44PrivateKey.generate() if post_quantum else _new_ed25519())

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what ``to_text`` wrote; raises MALFORMED, without showing any of it."""
        name, type_, seed = _read_private(text)
        if type_ is SignatureType.ED25519:
            raise Refused(Kind.MALFORMED, "not a cosigner's key")
        private: Ed25519PrivateKey | MLDSA44PrivateKey
        if type_ is SignatureType.COSIGNATURE_ED25519:
            private = Ed25519PrivateKey.from_private_bytes(seed)
        else:
            private = MLDSA44PrivateKey.from_seed_bytes(seed)
        cosigner = cls(name, private)
        _require_id(text, cosigner.verifier)
        return cosigner

    def to_text(self) -> str:
        """``PRIVATE+KEY+<name>+<id>+<base64(type || seed)>``."""
        return _private_text(self.verifier, self._private.private_bytes_raw())

    def cosign(self, text: str, at: int) -> str:
        """The signature line, with its newline, for a checkpoint's text; ``at`` in seconds."""
        message = cosigned_message(self.verifier.type, self.verifier.name, text, at)
        signature = at.to_bytes(_TIME_BYTES, "big") + self._private.sign(message)
        return _line(self.verifier, signature) + "\n"


def cosigned_message(type_: SignatureType, name: str, text: str, at: int) -> bytes:
    """The bytes that a cosigner signs (tlog-cosignature, both `signed message` sections).

    Raises:
        Refused: MALFORMED if the text is not a checkpoint.
    """
    checkpoint = Checkpoint.parse(text)
    if type_ is SignatureType.COSIGNATURE_ED25519:
        return f"cosignature/v1\ntime {at}\n{text}".encode()
    # ML-DSA-44 commits to names, size and root, not to extension lines.
    origin = checkpoint.origin.encode()
    if len(origin) > 255:
        raise Refused(Kind.MALFORMED, "the origin has more than 255 bytes")
    return b"".join(
        (
            b"subtree/v1\n\x00",
            _vector(name.encode()),
            at.to_bytes(_TIME_BYTES, "big"),
            _vector(origin),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _vector(data: bytes) -> bytes:
    """RFC 8446 §3.4: opaque <1..2^8-1>."""
    return len(data).to_bytes(1, "big") + data


def _lines(tail: str) -> tuple[tuple[tuple[str, bytes], ...], tuple[str, ...]]:
    lines = tail.split("\n")
    if lines.pop() or not lines or len(lines) > MAX_SIGNATURES or len(tail) > MAX_NOTE_BYTES:
        raise _malformed()
    signatures: list[tuple[str, bytes]] = []
    for line in lines:
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        raw = unbase64(encoded)
        if dash != "—" or not _NAME.fullmatch(name) or len(raw) < 5:
            raise _malformed()
        signatures.append((name, raw))
    return tuple(signatures), tuple(lines)


def _line(verifier: NoteVerifier, signature: bytes) -> str:
    return f"— {verifier.name} {b64encode(verifier.key_id + signature).decode()}"


def _typed(raw: bytes) -> tuple[SignatureType, bytes]:
    try:
        return SignatureType(raw[0]), raw[1:]
    except (IndexError, ValueError):
        raise Refused(Kind.MALFORMED, "not a key of a type we know") from None


def _read_private(text: str) -> tuple[str, SignatureType, bytes]:
    name, _, rest = text.strip().removeprefix(_PRIVATE).partition("+")
    _, _, encoded = rest.partition("+")
    type_, seed = _typed(unbase64(encoded))
    if not text.startswith(_PRIVATE) or len(seed) != 32:
        raise Refused(Kind.MALFORMED, "not a signer key")
    return name, type_, seed


def _require_id(text: str, verifier: NoteVerifier) -> None:
    if text.strip().removeprefix(_PRIVATE).split("+")[1] != verifier.key_id.hex():
        raise Refused(Kind.MALFORMED, "the signer key's id does not belong to its key")


def _private_text(verifier: NoteVerifier, seed: bytes) -> str:
    key = b64encode(bytes([verifier.type]) + seed).decode()
    return f"{_PRIVATE}{verifier.name}+{verifier.key_id.hex()}+{key}\n"


def _new_ed25519() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Refused(Kind.MALFORMED, "a key name must not have spaces, `+` or controls")


def _malformed() -> Refused:
    return Refused(Kind.MALFORMED, "not a signed note")
