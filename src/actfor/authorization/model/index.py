"""Which policies can matter for a request, so that Cedar is asked about those alone.

Cedar evaluates every policy of a set. Most cannot apply, for one of two reasons that are visible
without evaluating them:

1. *scope*: ``action == Action::"pay"``, ``resource == Tool::"bank/transfer"``,
   ``resource in Server::"bank"``, ``principal == Agent::"…"`` do not match;
2. *guard*: the conditions begin with tests that cannot fail to evaluate (a required Bool, a
   required String against a literal, ``context has …``) and one of them does not hold.

INVARIANT: a policy is left out only if Cedar would find it unsatisfied *and* free of errors, so
answer, determining policies and errors equal those of the whole set (a property test compares).
What is not recognised is never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, TypeAlias

import cedarpy

from actfor.authorization.model.facts import Fact, Request
from actfor.authorization.model.schema import RequestSchema
from actfor.authorization.model.source import Node, Policy

Guard: TypeAlias = tuple[str, Fact | None]
"""A fact and the value it must have; the value None asks for the fact's presence."""

_MOST_LEAVES = 4096  # per scope; a set that reaches it starts to fill anew
_CONTEXT = {"Var": "context"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """The policies left after scope and guards, parsed, and what evaluating them needs."""

    handle: cedarpy.PolicySet
    names: tuple[str, ...]
    """The @ids; Cedar calls these policies ``policy0``, ``policy1``, … in this order."""
    reads: tuple[str, ...] | None
    """The facts that these policies read; None where one reads the context as a whole."""
    hierarchy: bool
    """Whether one of them asks if something is ``in`` something."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One policy as the index sees it. None means any."""

    policy: Policy
    actions: frozenset[str] | None
    subject: str | None
    resource: tuple[str, str] | None
    guards: tuple[Guard, ...]
    reads: frozenset[str] | None
    hierarchy: bool


@dataclass(slots=True)
class Scope:
    """The policies of one combination of action, tool, server and agent."""

    entries: tuple[_Entry, ...]
    liftable: frozenset[str]
    """The ids of the policies that look at `approved`: no other changes its answer with it."""
    key: Callable[[Mapping[str, Fact]], object]
    leaves: dict[object, Leaf] = field(default_factory=dict)

    def leaf(self, context: Mapping[str, Fact]) -> Leaf:
        """The policies whose guards hold in this context."""
        key = self.key(context)
        leaf = self.leaves.get(key)
        if leaf is None:
            leaf = _leaf([entry for entry in self.entries if _holds(entry.guards, context)])
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
        """One policy as a set of its own."""
        return _leaf([entry for entry in self._entries if entry.policy is policy])

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


def server_of(resource: str) -> str:
    """The server in ``server/tool``; server names hold no slash, tool names may."""
    return resource.partition("/")[0]


def _key(guards: Iterable[Guard]) -> Callable[[Mapping[str, Fact]], object]:
    """A function of the context that is equal for two contexts iff the same guards hold."""
    present: set[str] = set()
    flags: set[str] = set()
    named: dict[str, set[Fact]] = {}
    for name, value in guards:
        if value is None:
            present.add(name)
        elif isinstance(value, bool):
            flags.add(name)
        else:
            named.setdefault(name, set()).add(value)
    pick = itemgetter(*sorted(flags)) if flags else None
    texts, optional = tuple(named.items()), tuple(sorted(present))

    def key(context: Mapping[str, Fact]) -> object:
        return (
            pick(context) if pick else None,
            tuple([value if (value := context[name]) in among else None for name, among in texts]),
            tuple([name in context for name in optional]),
        )

    return key


def _holds(guards: tuple[Guard, ...], context: Mapping[str, Fact]) -> bool:
    return all(
        name in context if value is None else context[name] == value for name, value in guards
    )


def _leaf(entries: list[_Entry]) -> Leaf:
    reads = [entry.reads for entry in entries]
    return Leaf(
        # The statements themselves, as they were validated; nothing is rebuilt from a tree.
        cedarpy.PolicySet.from_str("\n".join(entry.policy.text for entry in entries)),
        tuple(entry.policy.id for entry in entries),
        None if None in reads else tuple(sorted(frozenset[str]().union(*(r for r in reads if r)))),
        any(entry.hierarchy for entry in entries),
    )


def _entry(policy: Policy, schema: RequestSchema) -> _Entry:
    body = policy.body
    conditions = [condition["body"] for condition in body["conditions"]]
    principal, resource = _named(body["principal"]), _named(body["resource"])
    return _Entry(
        policy,
        _actions(body["action"]),
        principal[1] if principal and principal[0] == "Agent" else None,
        resource if resource and resource[0] in {"Tool", "Server"} else None,
        tuple(_guards(body["conditions"], schema)),
        _reads(conditions),
        body["resource"]["op"] == "in" or "in" in body["resource"] or _mentions(conditions, "in"),
    )


def _actions(scope: Node) -> frozenset[str] | None:
    # The schema has no action groups, so `in` a list means equal to one of its members.
    entities = scope.get("entities") or ([scope["entity"]] if "entity" in scope else [])
    if scope["op"] not in {"==", "in"} or any(entity["type"] != "Action" for entity in entities):
        return None
    return frozenset(entity["id"] for entity in entities)


def _named(scope: Node) -> tuple[str, str] | None:
    """The entity a scope names: by ``==``, by ``in``, or by ``is … in``.

    Agents and tools have no members, so to be in one is to be it.
    """
    entity = scope.get("entity") or scope.get("in", {}).get("entity")
    return (entity["type"], entity["id"]) if entity else None


def _guards(conditions: Iterable[Node], schema: RequestSchema) -> Iterator[Guard]:
    """The leading tests of a policy's conditions that cannot fail to evaluate.

    Stops at the first other test: it may fail, and a later guard must not hide its error.
    """
    for condition in conditions:
        for atom, wanted in _conjuncts(condition["body"], wanted=condition["kind"] == "when"):
            guard = _guard(atom, schema, wanted=wanted)
            if guard is None:
                return
            yield guard


def _conjuncts(node: Node, *, wanted: bool) -> Iterator[tuple[Node, bool]]:
    """``a && b`` wanted true, and ``a || b`` wanted false, in the order Cedar evaluates them."""
    joint = node.get("&&" if wanted else "||")
    if joint is not None:
        yield from _conjuncts(joint["left"], wanted=wanted)
        yield from _conjuncts(joint["right"], wanted=wanted)
    elif "!" in node:
        yield from _conjuncts(node["!"]["arg"], wanted=not wanted)
    else:
        yield node, wanted


def _guard(atom: Node, schema: RequestSchema, *, wanted: bool) -> Guard | None:
    if (name := _fact(atom, ".")) is not None:
        return (name, wanted) if schema.required.get(name) is bool else None
    if (name := _fact(atom, "has")) is not None:
        return (name, None) if wanted and name in schema.optional else None
    if wanted and "==" in atom:
        left, right = atom["=="]["left"], atom["=="]["right"]
        name, literal = _fact(left, "."), right.get("Value")
        if name is not None and type(literal) is schema.required.get(name) is str:
            return name, literal
    return None


def _fact(node: Node, operator: str) -> str | None:
    """The name in ``context.name`` or ``context has name``."""
    access = node.get(operator)
    if isinstance(access, dict) and access.get("left") == _CONTEXT:
        name = access.get("attr")
        return name if isinstance(name, str) else None
    return None


def _reads(conditions: Iterable[Node]) -> frozenset[str] | None:
    """The facts named in the conditions; None if the context is used in any other way."""
    names: set[str] = set()
    nodes: list[Any] = list(conditions)
    while nodes:
        node = nodes.pop()
        if node == _CONTEXT:
            return None
        if isinstance(node, dict):
            if (name := _fact(node, ".") or _fact(node, "has")) is not None:
                names.add(name)
            else:
                nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)
    return frozenset(names)


def _mentions(conditions: Iterable[Node], operator: str) -> bool:
    nodes: list[Any] = list(conditions)
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if operator in node:
                return True
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)
    return False
