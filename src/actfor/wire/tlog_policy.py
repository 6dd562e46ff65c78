"""C2SP tlog-policy: which logs are believed, and whose cosignatures a checkpoint needs.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <name>…
    quorum <name>|none

A checkpoint is valid if one of the logs signed it and the quorum cosigned it. That is what keeps
an operator from showing two histories: a witness cosigns only what continues the last one it saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from actfor.errors import Kind, Refused
from actfor.wire.checkpoint import Checkpoint
from actfor.wire.note import Note, NoteVerifier, SignatureType

MAX_LINES = 512
MAX_BYTES = 256 * 1024
_BLANKS = re.compile(r"[ \t]+")
_DECIMAL = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_NONE = "none"
_LOG_TYPES = {SignatureType.ED25519, SignatureType.COSIGNATURE_ML_DSA_44}
_WITNESS_TYPES = {SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_ML_DSA_44}


@dataclass(frozen=True, slots=True)
class WitnessLine:
    """A witness: its name within the policy, its key, and where to reach it."""

    name: str
    key: NoteVerifier
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint that satisfies a policy, and who cosigned it when (seconds, by policy name)."""

    checkpoint: Checkpoint
    cosigned: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as read. ``groups`` maps a group's name to its threshold and members."""

    logs: tuple[NoteVerifier, ...]
    witnesses: tuple[WitnessLine, ...] = ()
    groups: Mapping[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    quorum: str = _NONE

    @classmethod
    def of_keys(cls, text: str) -> Self:
        """What a bare key (or several, a line each) means: these sign for the log, no quorum.

        Raises:
            Refused: MALFORMED if a line is not a verifier key of a log, or the keys differ in name.
        """
        logs = tuple(NoteVerifier.parse(line) for line in text.splitlines() if line.strip())
        if not logs or len({key.name for key in logs}) != 1:
            raise Refused(Kind.MALFORMED, "not a verifier key")
        if any(key.type not in _LOG_TYPES for key in logs):
            raise Refused(Kind.MALFORMED, "not a log's verifier key, but a witness's")
        return cls(logs)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a policy file.

        Raises:
            Refused: MALFORMED, naming the line.
        """
        reader = _Reader()
        lines = text.split("\n")
        if len(text) > MAX_BYTES or len(lines) > MAX_LINES:
            raise Refused(Kind.MALFORMED, "the policy is too large")
        for number, line in enumerate(lines, 1):
            try:
                reader.line(line)
            except Refused as refused:
                raise Refused(
                    Kind.MALFORMED, f"policy line {number}: {refused.detail}"
                ) from refused
        if reader.quorum is None:
            raise Refused(Kind.MALFORMED, "the policy has no quorum line")
        return cls(tuple(reader.logs), tuple(reader.witnesses), reader.groups, reader.quorum)

    @classmethod
    def read(cls, text: str) -> Self:
        """A policy file, or bare keys: whichever the text is; raises MALFORMED if neither."""
        words = {_BLANKS.split(line.strip(" \t"))[0] for line in text.split("\n")}
        if words & {"quorum", "log", "witness", "group"}:
            return cls.parse(text)
        return cls.of_keys(text)

    def text(self) -> str:
        """The policy file; witnesses' URLs are left out, for those are the log's own affair."""
        lines = [f"log {key}" for key in self.logs]
        lines += [f"witness {line.name} {line.key}" for line in self.witnesses]
        lines += [
            f"group {name} {threshold} {' '.join(members)}"
            for name, (threshold, members) in self.groups.items()
        ]
        return "\n".join([*lines, f"quorum {self.quorum}"]) + "\n"

    def with_logs(self, keys: Iterable[NoteVerifier]) -> Self:
        """The same witnesses and quorum, for these logs."""
        return type(self)(tuple(keys), self.witnesses, self.groups, self.quorum)

    def verify(self, note: str) -> Witnessed:
        """The checkpoint in this note, if a log signed it and the quorum cosigned it.

        Raises:
            Refused: MALFORMED if it is not a checkpoint's note; DENIED otherwise, saying who is
                missing.
        """
        taken = Note.parse(note)
        # A bad signature of any known key refuses the note, whoever else signed (signed-note).
        signed = [key for key in self.logs if key.signed_at(taken) is not None]
        if not signed:
            raise Refused(Kind.DENIED, "the checkpoint is not signed by the trusted key")
        checkpoint = Checkpoint.parse(taken.text)
        if all(key.name != checkpoint.origin for key in signed):
            raise Refused(Kind.DENIED, "the checkpoint is of another log")
        cosigned = self.cosigned(taken)
        if not self.satisfied(cosigned):
            have = ", ".join(sorted(cosigned)) or "nobody"
            raise Refused(
                Kind.DENIED, f"the quorum `{self.quorum}` did not cosign the checkpoint; {have} did"
            )
        return Witnessed(checkpoint, cosigned)

    def cosigned(self, note: Note) -> dict[str, int]:
        """Which witnesses cosigned, and when; raises DENIED for a bad cosignature of a known one.

        A cosignature without a time says less than we ask of a witness and does not count.
        """
        found = {line.name: line.key.signed_at(note) for line in self.witnesses}
        return {name: at for name, at in found.items() if at}

    def satisfied(self, cosigned: Iterable[str]) -> bool:
        """Whether these witnesses are the quorum."""
        holds = set(cosigned)
        # In order of definition: members stand on earlier lines.
        for name, (threshold, members) in self.groups.items():
            if sum(member in holds for member in members) >= threshold:
                holds.add(name)
        return self.quorum == _NONE or self.quorum in holds


class _Reader:
    """Line by line; a line refers only to names of earlier lines, so there are no cycles."""

    def __init__(self) -> None:
        self.logs: list[NoteVerifier] = []
        self.witnesses: list[WitnessLine] = []
        self.groups: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()
        self._keys: set[tuple[bool, bytes]] = set()

    def line(self, line: str) -> None:
        if any((char < " " and char != "\t") or char == "\x7f" for char in line):
            raise _wrong("only tab and newline are allowed as control characters")
        line = line.strip(" \t")
        if not line or line.startswith("#"):
            return
        word, *rest = _BLANKS.split(line)
        if word == "log" and len(rest) in {1, 2}:
            self._log(NoteVerifier.parse(rest[0]))
        elif word == "witness" and len(rest) in {2, 3}:
            self._witness(*rest)
        elif word == "group" and len(rest) >= 3:
            self._group(rest[0], rest[1], tuple(rest[2:]))
        elif word == "quorum" and len(rest) == 1:
            self._quorum(rest[0])
        else:
            raise _wrong(f"`{line[:80]}` is not a log, witness, group or quorum line")

    def _log(self, key: NoteVerifier) -> None:
        if key.type not in _LOG_TYPES:
            raise _wrong("a log's key has type 0x01 or 0x06")
        self._once(log=True, key=key)
        self.logs.append(key)

    def _witness(self, name: str, vkey: str, url: str | None = None) -> None:
        key = NoteVerifier.parse(vkey)
        if key.type not in _WITNESS_TYPES:
            raise _wrong("a witness's key has type 0x04 or 0x06")
        self._new_name(name)
        self._once(log=False, key=key)
        self.witnesses.append(WitnessLine(name, key, url))

    def _group(self, name: str, threshold: str, members: tuple[str, ...]) -> None:
        self._new_name(name)
        for member in members:
            self._known(member)
            if member in self._members:
                raise _wrong(f"`{member[:80]}` is a member already")
            self._members.add(member)
        words = {"all": len(members), "any": 1}
        if threshold not in words and not _DECIMAL.fullmatch(threshold):
            raise _wrong("a group needs `all`, `any` or a number")
        needed = words.get(threshold) or int(threshold)
        if needed > len(members):
            raise _wrong(f"{needed} of {len(members)} members can never cosign")
        self.groups[name] = (needed, members)

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise _wrong("there is a quorum line already")
        if name != _NONE:
            self._known(name)
        self.quorum = name

    def _new_name(self, name: str) -> None:
        if name == _NONE or name in self._names():
            raise _wrong(f"the name `{name[:80]}` is taken")

    def _known(self, name: str) -> None:
        if name not in self._names():
            raise _wrong(f"`{name[:80]}` is not defined above")

    def _names(self) -> set[str]:
        return {line.name for line in self.witnesses} | self.groups.keys()

    def _once(self, *, log: bool, key: NoteVerifier) -> None:
        if (log, key.public) in self._keys:
            raise _wrong("this key stands on another line already")
        self._keys.add((log, key.public))


def _wrong(detail: str) -> Refused:
    return Refused(Kind.MALFORMED, detail)
