"""RFC 4648 §4, in its one canonical spelling: two texts never mean the same bytes."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode

from actfor.errors import Kind, Refused


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
