"""What the audit log takes and gives back. Pure values.

An ``Event`` becomes a leaf (see ``wire.log_entry``): its *facts* stand in clear for ever
and must not be personal; its *private* members become salted commitments, and their
plaintext is kept beside the log, from where it can be erased.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from json import dumps
from typing import Self

from actfor.wire.canonical import MAX_DEPTH, JsonObject, JsonValue
from actfor.wire.checkpoint import LogProof
from actfor.wire.log_entry import LogEntry, Opening, Revocable
from actfor.wire.strict_json import load_object
from actfor.wire.timestamps import from_ms, rfc3339

_ID = re.compile(r"[a-z]{2,4}_[a-z2-7]{26}")


class EventType(StrEnum):
    """What happened. Values are stable: they stand in leaves."""

    ADMIN = "admin"
    AGENT = "agent"
    ATTEST = "attest"
    MANDATE = "mandate"
    DELEGATE = "delegate"
    DECIDE = "decide"
    APPROVAL_REQUEST = "approval-request"
    APPROVE = "approve"
    DENY = "deny"
    REVOKE = "revoke"
    OUTCOME = "outcome"
    POLICY = "policy"
    TOOL = "tool"
    KEY = "key"
    SESSION = "session"
    PRUNE = "prune"
    RECOVER = "recover"
    ERASE = "erase"


UNREFERENCED = frozenset({EventType.DECIDE.value, EventType.OUTCOME.value})
"""Calls and their outcomes are many; what they refer to is found from them, not they from it."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. ``trace`` is shared by all events of one call or one thing."""

    type: EventType
    trace: str
    facts: Mapping[str, JsonValue]
    private: Mapping[str, JsonValue] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)

    def owners(self) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
        """Private members by the person they concern, whose data key seals them: the ``person``
        among them (the installation where there is none), and the ``others`` by their ids.
        """
        if self.private:
            person = self.private.get("person")
            yield (person if isinstance(person, str) else ""), self.private
        for owner, members in self.others.items():
            if members:
                yield owner, members

    @classmethod
    def revoked(
        cls,
        kind: Revocable,
        id_: str,
        epoch: int,
        *,
        trace: str,
        facts: Mapping[str, JsonValue],
        private: Mapping[str, JsonValue] | None = None,
    ) -> Self:
        """From this leaf on, nothing may be permitted under ``id_`` with an epoch below ``epoch``.

        To be appended in the unit that takes the authority away. What permits something names what
        it depends on in the fact ``epochs`` (same shape as ``revoked`` here), so that whoever reads
        the log can prove that no permit follows its revocation (``sdk.walk``).
        """
        taken: dict[str, JsonValue] = {"revoked": {kind.value: {id_: epoch}}}
        return cls(EventType.REVOKE, trace, {**facts, **taken}, private or {})

    @property
    def agent(self) -> str | None:
        """The agent it concerns, by the fact of that name."""
        agent = self.facts.get("agent")
        return agent if isinstance(agent, str) else None


def told(event: Event) -> Iterator[tuple[str, str]]:
    """What other nodes must hear of when this is logged: topic and key (``store.feed``).

    Only what is rare: what ends an authority, and what nodes keep in memory.
    """
    match event.type:
        case EventType.DECIDE | EventType.OUTCOME:
            return  # first, for these are nearly all there are
        case EventType.REVOKE:
            taken = event.facts.get("revoked")
            for kind, ids in taken.items() if isinstance(taken, dict) else ():
                for id_ in ids if isinstance(ids, dict) else ():
                    yield kind, id_
        case EventType.POLICY:
            yield "policy", ""
        case EventType.KEY:
            yield "key", ""
        case EventType.APPROVE | EventType.DENY:
            approval = event.facts.get("approval")
            if isinstance(approval, str):
                yield "approval", approval
        case EventType.TOOL | EventType.ADMIN:
            server = event.facts.get("server")
            if isinstance(server, str):
                yield "catalog", server
        case _:
            pass


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as the log holds it, with what can be opened of its private members."""

    index: int
    id: str
    type: str
    at: datetime
    trace: str
    facts: JsonObject
    private: JsonObject
    erased: tuple[str, ...]  # private members whose plaintext is gone; their commitments stand
    erased_by: tuple[int, ...] = ()  # the leaves that say so

    @classmethod
    def of(
        cls, entry: LogEntry, openings: Mapping[str, Opening], erased_by: tuple[int, ...] = ()
    ) -> LoggedEvent:
        """Join an entry with the plaintext kept beside it."""
        return cls(
            entry.seq,
            entry.id,
            entry.type,
            from_ms(entry.at),
            entry.trace,
            entry.facts,
            {name: opening.value for name, opening in openings.items()},
            tuple(sorted(entry.commitments.keys() - openings.keys())),
            erased_by,
        )

    def to_json(self) -> JsonObject:
        """For the management API and the console."""
        return {
            "index": self.index,
            "id": self.id,
            "type": self.type,
            "at": rfc3339(self.at),
            "trace": self.trace,
            "agent": self.facts.get("agent"),
            "facts": self.facts,
            "private": self.private,
            "erased": self.erased,
            "erased_by": self.erased_by,
        }


@dataclass(frozen=True, slots=True)
class Head:
    """How large the log is now, committed but perhaps not yet under a checkpoint."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """All that is needed to check one event offline (read by ``sdk.receipt``)."""

    leaf: bytes
    openings: Mapping[str, Opening]
    proof: LogProof

    def text(self) -> str:
        """One JSON document: the leaf in clear, the openings, the C2SP log proof verbatim."""
        return dumps(
            {
                "receipt": "actfor/v1",
                "leaf": load_object(self.leaf, max_depth=MAX_DEPTH),
                "openings": {name: made.to_json() for name, made in self.openings.items()},
                "proof": self.proof.text(),
            },
            indent=2,
            ensure_ascii=False,
        )


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What recomputing the whole log found. ``problems`` is empty if all of it holds.

    ``erasures`` counts, for each leaf that tells of an erasure, the entries it erased something of.
    """

    size: int
    checkpoint_size: int
    opened: int
    erased: int
    problems: tuple[str, ...]
    erasures: Mapping[int, int] = field(default_factory=dict)
    permits: int = 0
    revoked: int = 0
    pruned: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def references(facts: Mapping[str, JsonValue]) -> Iterator[str]:
    """The ids of other things (mandate, grant, approval, …) that an event's facts name."""
    for value in facts.values():
        if isinstance(value, str) and _ID.fullmatch(value):
            yield value
