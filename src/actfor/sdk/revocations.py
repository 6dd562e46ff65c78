"""That nothing revoked was permitted afterwards: read from the log alone, in one pass.

    a revocation   fact `revoked`   {kind: {id: epoch}}   nothing older than `epoch` from here on
    a permit       fact `epochs`    {kind: {id: epoch}}   all it depends on, as it was decided

A permit is a `decide` or `delegate` entry that did not deny. INVARIANT: no permit names an epoch
below the one that an earlier entry took its thing to; and it leaves out none of the things that it
names otherwise, so that a forger cannot hide the dependence by not stating it.

What stays in memory is one number for each thing that was ever revoked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.log_entry import Revocable

_NAMED: Final = (
    (Revocable.AGENT.value, "agent"),
    (Revocable.MANDATE.value, "mandate"),
    (Revocable.GRANT.value, "grant"),
    (Revocable.APPROVAL.value, "approval"),
)
_FOREIGN: Final = "authzen"
"""Answers to other enforcement points: they rest on that point's own word about its subject."""


class Revocations:
    """Feed it every entry, in order."""

    def __init__(self) -> None:
        self.permits = 0
        self.revoked = 0
        # For each revoked thing: the epoch below which it is dead, and the entry that says so.
        self._floor: dict[tuple[str, str], tuple[int, int]] = {}

    def see(self, index: int, type_: JsonValue, facts: JsonObject) -> Iterator[str]:
        """What is wrong with this entry, given those before."""
        if "revoked" in facts:
            yield from self._revoke(index, facts["revoked"])
        if type_ in {"decide", "delegate"} and _permits(type_, facts):
            self.permits += 1
            yield from self._permit(index, facts)

    def _revoke(self, index: int, revoked: JsonValue) -> Iterator[str]:
        if not isinstance(revoked, Mapping):
            yield f"entry {index} does not say what it revokes"
            return
        for kind, things in revoked.items():
            for id_, epoch in things.items() if isinstance(things, Mapping) else ():
                if type(epoch) is not int:
                    yield f"entry {index} revokes {kind} `{id_}` without an epoch"
                    continue
                self.revoked += 1
                known = self._floor.get((kind, id_))
                if known is None or known[0] < epoch:
                    self._floor[kind, id_] = (epoch, index)

    def _permit(self, index: int, facts: JsonObject) -> Iterator[str]:
        epochs = facts.get("epochs")
        if not isinstance(epochs, Mapping):
            if facts.get("via") != _FOREIGN:
                yield f"entry {index} permits without saying under which epochs"
            return
        for kind, things in epochs.items():
            for id_, epoch in things.items() if isinstance(things, Mapping) else ():
                floor = self._floor.get((kind, id_))
                if floor is not None and (type(epoch) is not int or epoch < floor[0]):
                    yield (
                        f"entry {index} permits under {kind} `{id_}` of epoch {epoch}, which entry"
                        f" {floor[1]} revoked"
                    )
        for kind, id_ in _named(facts):
            if not _states(epochs, kind, id_):
                yield f"entry {index} permits under {kind} `{id_}` without saying its epoch"
        if "mandate" in facts and not epochs.get(Revocable.PERSON.value):
            yield f"entry {index} permits for a person without saying their epoch"


def _named(facts: JsonObject) -> Iterator[tuple[str, str]]:
    for kind, fact in _NAMED:
        id_ = facts.get(fact)
        # A subject token names the agent that may use it later; the exchange states its epoch.
        if isinstance(id_, str) and (fact, facts.get("action")) != ("agent", "subject-token"):
            yield kind, id_
    if isinstance(facts.get("server"), str) and isinstance(facts.get("tool"), str):
        yield Revocable.TOOL.value, f"{facts['server']}/{facts['tool']}"


def _permits(type_: JsonValue, facts: JsonObject) -> bool:
    decision = facts.get("decision")
    return decision == "permit" if type_ == "decide" else decision != "deny"


def _states(epochs: Mapping[str, JsonValue], kind: str, id_: str) -> bool:
    things = epochs.get(kind)
    return isinstance(things, Mapping) and type(things.get(id_)) is int
