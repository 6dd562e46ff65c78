"""That nothing revoked was permitted afterwards: read from the log alone, in one pass.

    a revocation   fact `revoked`   {kind: {id: epoch}}   nothing older than `epoch` from here on
    a permit       fact `epochs`    {kind: {id: epoch}}   all it depends on, as it was decided

A permit is a `decide` or `delegate` entry that did not deny. INVARIANT: no permit names an epoch
below the one that an earlier entry took its thing to; and it leaves out none of the things that it
names otherwise, so that a forger cannot hide the dependence by not stating it.

What stays in memory is one number for each thing that was ever revoked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.log_entry import Revocable

_NAMED: Final = (
    (Revocable.AGENT.value, "agent"),
    (Revocable.MANDATE.value, "mandate"),
    (Revocable.GRANT.value, "grant"),
    (Revocable.APPROVAL.value, "approval"),
)
_PERSON: Final = Revocable.PERSON.value
_TOOL: Final = Revocable.TOOL.value
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
        if type(revoked) is not dict:
            yield f"entry {index} does not say what it revokes"
            return
        for kind, things in revoked.items():
            for id_, epoch in things.items() if type(things) is dict else ():
                if type(epoch) is not int:
                    yield f"entry {index} revokes {kind} `{id_}` without an epoch"
                    continue
                self.revoked += 1
                known = self._floor.get((kind, id_))
                if known is None or known[0] < epoch:
                    self._floor[kind, id_] = (epoch, index)

    def _permit(self, index: int, facts: JsonObject) -> Iterator[str]:
        epochs = facts.get("epochs")
        if type(epochs) is not dict:
            if facts.get("via") != _FOREIGN:
                yield f"entry {index} permits without saying under which epochs"
            return
        for kind, things in epochs.items():
            for id_, epoch in things.items() if type(things) is dict else ():
                floor = self._floor.get((kind, id_))
                if floor is not None and (type(epoch) is not int or epoch < floor[0]):
                    yield (
                        f"entry {index} permits under {kind} `{id_}` of epoch {epoch}, which entry"
                        f" {floor[1]} revoked"
                    )
        for kind, id_ in _named(facts):
            stated = epochs.get(kind)
            if type(stated) is not dict or type(stated.get(id_)) is not int:
                yield f"entry {index} permits under {kind} `{id_}` without saying its epoch"
        if "mandate" in facts and not epochs.get(_PERSON):
            yield f"entry {index} permits for a person without saying their epoch"


def _named(facts: JsonObject) -> list[tuple[str, str]]:
    named = [(kind, id_) for kind, fact in _NAMED if type(id_ := facts.get(fact)) is str]
    if facts.get("action") == "subject-token":
        # It names the agent that may use it later; the exchange states that one's epoch.
        named = [(kind, id_) for kind, id_ in named if kind != Revocable.AGENT]
    # Whoever passed the mandate on stands in the chain: the permit rests on them as well.
    acting = {(Revocable.AGENT.value, agent) for agent in _agents(facts.get("chain"))}
    named += sorted(acting.difference(named))
    server, tool = facts.get("server"), facts.get("tool")
    if type(server) is str and type(tool) is str:
        named.append((_TOOL, f"{server}/{tool}"))
    return named


def _agents(chain: JsonValue) -> Iterator[str]:
    """The agents whose instances act in a chain (``spiffe://…/agent/NAME/i/ID``)."""
    for actor in chain if isinstance(chain, list | tuple) else ():
        if type(actor) is str:
            yield actor.partition("/i/")[0]


def _permits(type_: JsonValue, facts: JsonObject) -> bool:
    decision = facts.get("decision")
    return decision == "permit" if type_ == "decide" else decision != "deny"
