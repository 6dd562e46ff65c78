"""RFC 4648 §4 and §5, each in its one canonical spelling: two texts never mean the same bytes."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Final

from actfor.errors import Kind, Refused

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")


def base64url(raw: bytes) -> str:
    """The text of some bytes in base64url without padding (RFC 4648 §5, RFC 7515 §2)."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL, b"=").decode()


def unbase64url(text: str) -> bytes:
    """Undo ``base64url``.

    Raises:
        Refused: MALFORMED for what is no base64url, or is not spelled as we would.
    """
    try:
        raw = binascii.a2b_base64(text.encode().translate(_FROM_URL) + b"=" * (-len(text) % 4))
    except ValueError as cause:  # binascii.Error and UnicodeEncodeError are
        raise Refused(Kind.MALFORMED, "not base64url") from cause
    if base64url(raw) != text:
        raise Refused(Kind.MALFORMED, "not canonical base64url")
    return raw


def unbase64(text: str) -> bytes:
    """The bytes.

    Raises:
        Refused: MALFORMED for what is no base64, or is not spelled as we would.
    """
    try:
        raw = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise Refused(Kind.MALFORMED, "not base64") from cause
    if b64encode(raw).decode() != text:
        raise Refused(Kind.MALFORMED, "not base64")
    return raw
