"""What is different between two policy sets: policy by policy, and line by line.

A policy is known by its @id. It has changed if what Cedar evaluates has; a remark, a space or the
order of two policies changes nothing and is left to the unified text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from enum import StrEnum

from actfor.authorization.model.caps import uncapped
from actfor.authorization.model.guards import conjuncts_of
from actfor.authorization.model.policyset import PolicySet
from actfor.authorization.model.source import Node, Policy
from actfor.wire.canonical import JsonValue


class Kind(StrEnum):
    """What happened to one policy."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    REWORDED = "reworded"
    """Only its annotations: it decides as before, but says something else."""


class Direction(StrEnum):
    """What the change of one policy can do to the answers, whatever the request."""

    LOOSER = "may permit more"
    TIGHTER = "may permit less"
    EITHER = "may permit more or less"
    NONE = "decides alike"


@dataclass(frozen=True, slots=True)
class Change:
    """One policy that is not as it was. A text is None where the policy is not there."""

    id: str
    kind: Kind
    direction: Direction
    before: str | None
    after: str | None
    uncapped: str | None
    """Why the policy as it is now need not repeat the caps; None where it does."""


@dataclass(frozen=True, slots=True)
class Diff:
    """Two versions beside each other."""

    before: str
    after: str
    changes: tuple[Change, ...]
    unified: str

    @property
    def counts(self) -> dict[str, JsonValue]:
        """How many policies were added, removed, changed, reworded; zeros left out."""
        return {
            kind.value: count
            for kind in Kind
            if (count := sum(change.kind is kind for change in self.changes))
        }


def difference(before: PolicySet | None, after: PolicySet) -> Diff:
    """From ``before`` (nothing, where it is None) to ``after``, in the order of their texts."""
    old = {policy.id: policy for policy in before.policies} if before else {}
    new = {policy.id: policy for policy in after.policies}
    changes = [change for name, was in old.items() if (change := _change(name, was, new.get(name)))]
    changes += [_added(policy) for name, policy in new.items() if name not in old]
    return Diff(
        before.version if before else "",
        after.version,
        tuple(changes),
        unified(before.source if before else "", after.source),
    )


def unified(before: str, after: str) -> str:
    """The texts' difference as `diff -u` writes it, with three lines around each change."""
    lines = unified_diff(
        before.splitlines(), after.splitlines(), "in force", "candidate", lineterm=""
    )
    return "\n".join(lines)


def _added(policy: Policy) -> Change:
    looser = policy.effect == "permit"
    direction = Direction.LOOSER if looser else Direction.TIGHTER
    return Change(policy.id, Kind.ADDED, direction, None, policy.text, uncapped(policy))


def _change(name: str, was: Policy, now: Policy | None) -> Change | None:
    if now is None:
        looser = was.effect == "forbid"
        direction = Direction.LOOSER if looser else Direction.TIGHTER
        return Change(name, Kind.REMOVED, direction, was.text, None, None)
    if _core(was) != _core(now):
        return Change(name, Kind.CHANGED, _direction(was, now), was.text, now.text, uncapped(now))
    if was.body.get("annotations") != now.body.get("annotations"):
        return Change(name, Kind.REWORDED, Direction.NONE, was.text, now.text, uncapped(now))
    return None


def _direction(was: Policy, now: Policy) -> Direction:
    """Certain only where the conditions were added to or taken from, and nothing else changed."""
    if was.effect != now.effect:
        return Direction.LOOSER if now.effect == "permit" else Direction.TIGHTER
    if any(was.body[part] != now.body[part] for part in ("principal", "action", "resource")):
        return Direction.EITHER
    had, has = _conditions(was.body), _conditions(now.body)
    if had.keys() <= has.keys():
        return Direction.TIGHTER if now.effect == "permit" else Direction.LOOSER
    if has.keys() <= had.keys():
        return Direction.LOOSER if now.effect == "permit" else Direction.TIGHTER
    return Direction.EITHER


def _conditions(body: Node) -> Mapping[str, None]:
    found = conjuncts_of(body["conditions"])
    # Not canonical JSON: a policy may be nested deeper than that allows.
    return {f"{wanted} {json.dumps(atom, sort_keys=True)}": None for atom, wanted in found}


def _core(policy: Policy) -> Node:
    return {name: part for name, part in policy.body.items() if name != "annotations"}
