"""Which policies can matter for a request, so that Cedar is asked about those alone.

Cedar evaluates every policy of a set. Most cannot apply, for one of two reasons that are visible
without evaluating them:

1. *scope*: ``action == Action::"pay"``, ``resource == Tool::"bank/transfer"``,
   ``resource in Server::"bank"``, ``principal == Agent::"…"`` do not match;
2. *guard*: the conditions begin with tests that cannot fail to evaluate, and one of them does not
   hold (see ``guards``).

A policy whose conditions are nothing but such tests is *decided* by them: where they hold it is
satisfied, and Cedar need not be asked about it either. Cedar is asked about what is left.

INVARIANT: a policy is left out only if Cedar would find it unsatisfied *and* free of errors, and
decided only if Cedar would find it satisfied, so answer, determining policies and errors equal
those of the whole set (property tests compare). What is not recognised is left to Cedar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cedarpy

from actfor.authorization.model.facts import Request
from actfor.authorization.model.guards import (
    Compared,
    Context,
    Flag,
    Guard,
    Present,
    Text,
    asks_membership,
    guards_of,
    hold,
    reads,
)
from actfor.authorization.model.schema import RequestSchema
from actfor.authorization.model.source import Node, Policy

_MOST_LEAVES = 4096  # per scope; a set that reaches it starts to fill anew


@dataclass(frozen=True, slots=True)
class Leaf:
    """The policies left after scope and guards: those that are decided, and those to ask about."""

    permits: tuple[str, ...]
    """The @ids of satisfied ``permit``s."""
    forbids: tuple[str, ...]
    """The @ids of satisfied ``forbid``s."""
    handle: cedarpy.PolicySet | None
    """The rest, parsed; None where nothing is left."""
    names: tuple[str, ...]
    """The @ids; Cedar calls these policies ``policy0``, ``policy1``, … in this order."""
    reads: tuple[str, ...] | None
    """The facts that these policies read; None where one reads the context as a whole."""
    hierarchy: bool
    """Whether one of them asks if something is ``in`` something."""

    def asks_the_same(self, other: Leaf, changed: str) -> bool:
        """Whether Cedar would be asked about the same policies, which do not read one fact."""
        if self.names != other.names:
            return False
        return self.reads is not None and changed not in self.reads


@dataclass(frozen=True, slots=True)
class _Entry:
    """One policy as the index sees it. None means any."""

    policy: Policy
    actions: frozenset[str] | None
    subject: str | None
    resource: tuple[str, str] | None
    guards: tuple[Guard, ...]
    decided: bool
    """Whether scope and guards are all there is to it."""
    reads: frozenset[str] | None
    hierarchy: bool


@dataclass(slots=True)
class Scope:
    """The policies of one combination of action, tool, server and agent."""

    entries: tuple[_Entry, ...]
    liftable: frozenset[str]
    """The ids of the policies that look at `approved`: no other changes its answer with it."""
    key: Callable[[Context], object]
    leaves: dict[object, Leaf] = field(default_factory=dict)

    def leaf(self, context: Context) -> Leaf:
        """The policies whose guards hold in this context."""
        key = self.key(context)
        leaf = self.leaves.get(key)
        if leaf is None:
            leaf = _leaf([entry for entry in self.entries if hold(entry.guards, context)])
            if len(self.leaves) >= _MOST_LEAVES:
                self.leaves.clear()
            self.leaves[key] = leaf
        return leaf


class Index:
    """Scopes and leaves are made when first asked for and kept: a memo of a pure function."""

    def __init__(self, policies: Iterable[Policy], schema: RequestSchema) -> None:
        self._entries = tuple(_entry(policy, schema) for policy in policies)
        named = {entry.resource for entry in self._entries if entry.resource is not None}
        self._tools = {name for kind, name in named if kind == "Tool"}
        self._servers = {name for kind, name in named if kind == "Server"}
        self._subjects = {e.subject for e in self._entries if e.subject is not None}
        self._by_resource: dict[tuple[str, str] | None, list[_Entry]] = {}
        for entry in self._entries:
            self._by_resource.setdefault(entry.resource, []).append(entry)
        self._scopes: dict[object, Scope] = {}

    def scope(self, request: Request) -> Scope:
        """The policies whose scope can match this request."""
        tool, subject = request.resource, request.subject
        server = server_of(tool)
        key = (
            request.action,
            tool if tool in self._tools else None,
            server if server in self._servers else None,
            subject if subject in self._subjects else None,
        )
        scope = self._scopes.get(key)
        if scope is None:
            if len(self._scopes) >= _MOST_LEAVES:
                self._scopes.clear()
            scope = self._scopes[key] = self._new_scope(*key)
        return scope

    def only(self, policy: Policy) -> Leaf:
        """One policy as a set of its own, for Cedar to answer whatever its guards say."""
        return _asked([entry for entry in self._entries if entry.policy is policy], (), ())

    def _new_scope(
        self, action: str, tool: str | None, server: str | None, subject: str | None
    ) -> Scope:
        keys: list[tuple[str, str] | None] = [None]
        keys += [("Tool", tool)] if tool is not None else []
        keys += [("Server", server)] if server is not None else []
        entries = tuple(
            entry
            for key in keys
            for entry in self._by_resource.get(key, ())
            if (entry.actions is None or action in entry.actions)
            and (entry.subject is None or entry.subject == subject)
        )
        liftable = frozenset(
            entry.policy.id for entry in entries if entry.reads is None or "approved" in entry.reads
        )
        return Scope(entries, liftable, _key(guard for entry in entries for guard in entry.guards))


def server_of(resource: str) -> str | None:
    """The server in ``server/tool``; server names hold no slash, tool names may.

    None for what names no tool: it is in no server (see ``engine``).
    """
    server, _, tool = resource.partition("/")
    return server if tool else None


def _key(guards: Iterable[Guard]) -> Callable[[Context], object]:
    """A function of the context; where it gives the same, the same guards hold."""
    tests = {guard.test: None for guard in guards}  # without repetition, in order
    flags = sorted({test.name for test in tests if isinstance(test, Flag)})
    # One look at a text answers all tests of it: a test for each of many servers is usual.
    texts: dict[str, set[str]] = {}
    for test in tests:
        if isinstance(test, Text):
            texts.setdefault(test.name, set()).add(test.value)
    named = tuple(texts.items())
    # A flag's value says also whether it is there.
    present = sorted({test.name for test in tests if isinstance(test, Present)} - set(flags))
    # Most facts that are compared are often absent: then there is nothing to compare.
    compared = tuple((test.name, test.test) for test in tests if isinstance(test, Compared))

    def key(context: Context) -> object:
        get = context.get
        return (
            tuple(map(get, flags)),
            tuple([value if (value := get(name)) in among else None for name, among in named]),
            tuple(map(context.__contains__, present)),
            tuple([name in context and test(context) for name, test in compared]),
        )

    return key


def _leaf(entries: list[_Entry]) -> Leaf:
    decided = [entry.policy for entry in entries if entry.decided]
    return _asked(
        [entry for entry in entries if not entry.decided],
        tuple(policy.id for policy in decided if policy.effect == "permit"),
        tuple(policy.id for policy in decided if policy.effect == "forbid"),
    )


def _asked(entries: list[_Entry], permits: tuple[str, ...], forbids: tuple[str, ...]) -> Leaf:
    if not entries:
        return Leaf(permits, forbids, None, (), (), hierarchy=False)
    read = [entry.reads for entry in entries]
    return Leaf(
        permits,
        forbids,
        # The statements themselves, as they were validated; nothing is rebuilt from a tree.
        cedarpy.PolicySet.from_str("\n".join(entry.policy.text for entry in entries)),
        tuple(entry.policy.id for entry in entries),
        None if None in read else tuple(sorted(frozenset[str]().union(*filter(None, read)))),
        hierarchy=any(entry.hierarchy for entry in entries),
    )


def _entry(policy: Policy, schema: RequestSchema) -> _Entry:
    body = policy.body
    conditions = [condition["body"] for condition in body["conditions"]]
    principal, resource = _named(body["principal"]), _named(body["resource"])
    actions, subject = _actions(body["action"]), None
    if principal and principal[0] == "Agent":
        subject = principal[1]
    kept = resource if resource and resource[0] in {"Tool", "Server"} else None
    guards, whole = guards_of(body["conditions"], schema)
    recognised = (
        (actions is not None or body["action"]["op"] == "All")
        and (subject is not None or principal is None)
        and (kept is not None or resource is None)
    )
    return _Entry(
        policy,
        actions,
        subject,
        kept,
        guards,
        whole and recognised,
        reads(conditions),
        body["resource"]["op"] == "in" or "in" in body["resource"] or asks_membership(conditions),
    )


def _actions(scope: Node) -> frozenset[str] | None:
    # The schema has no action groups, so `in` a list means equal to one of its members.
    entities = scope.get("entities") or ([scope["entity"]] if "entity" in scope else [])
    if scope["op"] not in {"==", "in"} or any(entity["type"] != "Action" for entity in entities):
        return None
    return frozenset(entity["id"] for entity in entities)


def _named(scope: Node) -> tuple[str, str] | None:
    """The entity a scope names: by ``==``, by ``in``, or by ``is … in``.

    Agents and tools have no members, so to be in one is to be it. ``is`` alone names none, and
    says what the schema makes certain.
    """
    entity = scope.get("entity") or scope.get("in", {}).get("entity")
    return (entity["type"], entity["id"]) if entity else None
