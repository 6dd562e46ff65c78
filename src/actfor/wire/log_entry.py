"""One entry of the log, and the commitments that keep personal data out of it.

    {"at":ms,"commitments":{…},"facts":{…},"id":"evt_…","seq":n,"trace":"…","type":"…","v":1}

in RFC 8785 bytes; these bytes are the leaf. ``facts`` stand in clear and for ever. Each
member of ``commitments`` is HMAC-SHA256(salt, JCS(value)): whoever is given salt and value
(an *opening*) can check them; once the salt is erased, the value cannot be guessed, and the
proofs still hold.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, Self, TypeAlias, cast

from actfor.errors import Kind, Refused
from actfor.wire.base64_text import base64url, unbase64url
from actfor.wire.canonical import MAX_DEPTH, JsonObject, JsonValue, canonical
from actfor.wire.quick_json import sorted_object
from actfor.wire.strict_json import load_object

MAX_LEAF_BYTES: Final = 4096
SALT_BYTES: Final = 32
_MEMBERS: Final = {"v", "seq", "id", "type", "at", "trace", "facts", "commitments"}


Epochs: TypeAlias = Mapping[str, Mapping[str, int]]
"""For each kind of thing, for each thing of that kind by its id in the log, a number that rises
whenever authority is taken from it."""


class Revocable(StrEnum):
    """What authority can be taken from. Values are stable: they stand in leaves.

    The id of each in the log: an agent's SPIFFE id, ``pseudonym`` of a person, a mandate's,
    grant's, approval's or endorsement's id, ``<server>/<tool>``, a signing key's ``kid``;
    ``EVERYTHING`` has the id `*`.
    """

    AGENT = "agent"
    PERSON = "person"
    MANDATE = "mandate"
    GRANT = "grant"
    TOOL = "tool"
    KEY = "key"
    APPROVAL = "approval"
    ENDORSEMENT = "endorsement"
    EVERYTHING = "everything"


class LogEntry(NamedTuple):
    """An entry as it stands in the log. ``at`` is milliseconds since the epoch, ours."""

    seq: int
    id: str
    type: str
    at: int
    trace: str
    facts: JsonObject
    commitments: Mapping[str, str]

    def encode(self) -> bytes:
        """The leaf.

        Raises:
            Refused: MALFORMED if it is larger than ``MAX_LEAF_BYTES``. Nothing is cut off: what
                cannot be recorded whole does not happen. (A bundle could hold 65,535 bytes.)
        """
        leaf = canonical(
            {
                "v": 1,
                "seq": self.seq,
                "id": self.id,
                "type": self.type,
                "at": self.at,
                "trace": self.trace,
                "facts": self.facts,
                "commitments": self.commitments,
            }
        )
        if len(leaf) > MAX_LEAF_BYTES:
            raise Refused(
                Kind.MALFORMED,
                f"the `{self.type}` record of this has {len(leaf)} bytes; {MAX_LEAF_BYTES} allowed",
            )
        return leaf

    @classmethod
    def decode(cls, leaf: bytes) -> Self:
        """Read a leaf. Whether the log holds it is another question.

        Raises:
            Refused: MALFORMED if it is not a version 1 entry in canonical bytes.
        """
        value = members(leaf)
        return cls(
            cast("int", value["seq"]),
            cast("str", value["id"]),
            cast("str", value["type"]),
            cast("int", value["at"]),
            cast("str", value["trace"]),
            cast("JsonObject", value["facts"]),
            cast("dict[str, str]", value["commitments"]),
        )


def members(leaf: bytes) -> JsonObject:
    """The members of a leaf as they stand in it: what ``LogEntry.decode`` checks, without the
    object, for whoever reads a million of them.

    Raises:
        Refused: as ``LogEntry.decode``.
    """
    value = sorted_object(leaf)
    if value is None:
        value = load_object(leaf, max_depth=MAX_DEPTH)
        if canonical(value) != leaf:
            raise Refused(Kind.MALFORMED, "not a log entry")
    if value.keys() != _MEMBERS or value["v"] != 1:
        raise Refused(Kind.MALFORMED, "not a log entry")
    commitments = value["commitments"]
    if (
        not isinstance(value["facts"], dict)
        or not isinstance(commitments, dict)
        or type(value["seq"]) is not int
        or type(value["at"]) is not int
        or not isinstance(value["id"], str)
        or not isinstance(value["type"], str)
        or not isinstance(value["trace"], str)
        or not all(isinstance(text, str) for text in commitments.values())
    ):
        raise Refused(Kind.MALFORMED, "not a log entry")
    return value


@dataclass(frozen=True, slots=True)
class Opening:
    """What turns a commitment back into its value."""

    salt: bytes
    value: JsonValue

    def commitment(self) -> str:
        """base64url(HMAC-SHA256(salt, JCS(value))), without padding."""
        return _commitment(self.salt, canonical(self.value))

    def to_json(self) -> JsonObject:
        """The form in a receipt."""
        return {"salt": base64url(self.salt), "value": self.value}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Read ``to_json``'s form; raises MALFORMED for anything else."""
        if isinstance(value, dict) and value.keys() == {"salt", "value"}:
            text = value["salt"]
            if isinstance(text, str) and len(text) == 43:
                with suppress(Refused):  # not base64url: said below
                    return cls(unbase64url(text), value["value"])
        raise Refused(Kind.MALFORMED, "not an opening of a commitment")


def member_salt(event_salt: bytes, name: str) -> bytes:
    """The salt of one member, from the event's: showing one opening does not open the others."""
    return hmac.digest(event_salt, name.encode(), "sha256")


def pseudonym(person_id: str) -> str:
    """A person in the log: tells their events together, but not who it is.

    A person's id has 130 random bits, so nobody finds it from this; once the account is erased,
    nobody can.
    """
    return "sub_" + base64url(sha256(b"actfor/subject\x00" + person_id.encode()).digest()[:18])


def seal(private: JsonObject, event_salt: bytes) -> tuple[dict[str, str], bytes]:
    """The commitments of an event's private members, and their plaintext as one JSON object."""
    commitments: dict[str, str] = {}
    parts: list[bytes] = []
    for name, value in private.items():
        encoded = canonical(value)
        commitments[name] = _commitment(member_salt(event_salt, name), encoded)
        parts.append(_member(name) + encoded)
    return commitments, b"{" + b",".join(parts) + b"}"


@lru_cache(maxsize=256)
def _member(name: str) -> bytes:
    return canonical(name) + b":"


def _commitment(salt: bytes, encoded: bytes) -> str:
    return base64url(hmac.digest(salt, encoded, "sha256"))
