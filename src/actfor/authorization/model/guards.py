"""The tests at the head of a policy's conditions that cannot fail to evaluate.

Cedar evaluates a policy's conditions from left to right and stops at the first that is false. As
long as each is a test of facts that are certain to be there with the right type, its value can be
told without Cedar, and a policy whose test is false is unsatisfied *without error*. The first
test that might fail (arithmetic may overflow), or that is not recognised, ends the head. Where the
head is all there is, the policy is satisfied exactly if every test of it holds.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from actfor.authorization.model.facts import Fact
from actfor.authorization.model.schema import RequestSchema
from actfor.authorization.model.source import Node

Context: TypeAlias = Mapping[str, Fact]

_CONTEXT = {"Var": "context"}
_ORDER: Mapping[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Flag:
    """``context.name`` for a Bool that is certain to be there."""

    name: str

    def test(self, context: Context) -> bool:
        """The fact itself; False while it is absent, where nobody asks."""
        return context.get(self.name) is True


@dataclass(frozen=True, slots=True)
class Text:
    """``context.name == "value"`` for a String that is certain to be there."""

    name: str
    value: str

    def test(self, context: Context) -> bool:
        """Whether it is that text; False while it is absent, where nobody asks."""
        return context.get(self.name) == self.value


@dataclass(frozen=True, slots=True)
class Present:
    """``context has name``."""

    name: str

    def test(self, context: Context) -> bool:
        """Whether the fact is known."""
        return self.name in context


@dataclass(frozen=True, slots=True)
class Compared:
    """``context.a < 5``, ``context.a > context.b``: names or numbers, each certain to be there.

    At least one of them is a name.
    """

    left: str | int
    order: str
    right: str | int

    @property
    def name(self) -> str:
        """One of the facts without which the order does not hold."""
        name = self.left if isinstance(self.left, str) else self.right
        assert isinstance(name, str)  # noqa: S101 - `_comparison` makes no other
        return name

    def test(self, context: Context) -> bool:
        """Whether the order holds; False while a fact is absent, where nobody asks."""
        left = context.get(self.left) if isinstance(self.left, str) else self.left
        right = context.get(self.right) if isinstance(self.right, str) else self.right
        if left is None or right is None:
            return False
        return _ORDER[self.order](cast("int", left), cast("int", right))


Test: TypeAlias = Flag | Text | Present | Compared


@dataclass(frozen=True, slots=True)
class Guard:
    """A test, and the answer without which the policy is unsatisfied."""

    test: Test
    wanted: bool


def hold(guards: Iterable[Guard], context: Context) -> bool:
    """Whether all hold, tested in order: a later test may rest on an earlier one."""
    return all(guard.test.test(context) is guard.wanted for guard in guards)


def guards_of(conditions: Iterable[Node], schema: RequestSchema) -> tuple[tuple[Guard, ...], bool]:
    """The head of a policy's conditions in Cedar's order, and whether it is all of them."""
    certain = dict(schema.required)
    guards: list[Guard] = []
    for atom, wanted in conjuncts_of(conditions):
        guard = _guard(atom, certain, schema, wanted=wanted)
        if guard is None:
            return tuple(guards), False
        if isinstance(guard.test, Present) and guard.wanted:
            certain[guard.test.name] = schema.optional[guard.test.name]
        guards.append(guard)
    return tuple(guards), True


def conjuncts_of(conditions: Iterable[Node]) -> Iterator[tuple[Node, bool]]:
    """What all of the conditions demand together, and whether each is wanted true or false."""
    for condition in conditions:
        yield from _conjuncts(condition["body"], wanted=condition["kind"] == "when")


def _conjuncts(node: Node, *, wanted: bool) -> Iterator[tuple[Node, bool]]:
    """``a && b`` wanted true, and ``a || b`` wanted false, are two demands, the left one first."""
    joint = node.get("&&" if wanted else "||")
    if joint is not None:
        yield from _conjuncts(joint["left"], wanted=wanted)
        yield from _conjuncts(joint["right"], wanted=wanted)
    elif "!" in node:
        yield from _conjuncts(node["!"]["arg"], wanted=not wanted)
    else:
        yield node, wanted


def _guard(
    atom: Node, certain: Mapping[str, type], schema: RequestSchema, *, wanted: bool
) -> Guard | None:
    name = fact_in(atom, ".")
    if name is not None:
        return Guard(Flag(name), wanted) if certain.get(name) is bool else None
    name = fact_in(atom, "has")
    if name is not None:
        return Guard(Present(name), wanted) if name in schema.optional else None
    if (compared := _comparison(atom, certain)) is not None:
        return Guard(compared, wanted)
    if (text := _equality(atom, "==", certain)) is not None:
        return Guard(text, wanted)
    text = _equality(atom, "!=", certain)
    return None if text is None else Guard(text, wanted=not wanted)


def _equality(atom: Node, operation: str, certain: Mapping[str, type]) -> Test | None:
    sides = atom.get(operation)
    if not isinstance(sides, dict):
        return None
    name, literal = fact_in(sides["left"], "."), sides["right"].get("Value")
    if name is not None and certain.get(name) is str and isinstance(literal, str):
        return Text(name, literal)
    return None


def _comparison(atom: Node, certain: Mapping[str, type]) -> Test | None:
    order = next((each for each in _ORDER if each in atom), None)
    if order is None:
        return None
    left, right = (_number(atom[order][side], certain) for side in ("left", "right"))
    if left is None or right is None or (isinstance(left, int) and isinstance(right, int)):
        return None
    return Compared(left, order, right)


def _number(node: Node, certain: Mapping[str, type]) -> str | int | None:
    name, literal = fact_in(node, "."), node.get("Value")
    if name is not None:
        return name if certain.get(name) is int else None
    return literal if type(literal) is int else None


def fact_in(node: Node, access: str) -> str | None:
    """The name in ``context.name`` (access ``.``) or ``context has name`` (access ``has``)."""
    found = node.get(access)
    if isinstance(found, dict) and found.get("left") == _CONTEXT:
        name = found.get("attr")
        return name if isinstance(name, str) else None
    return None


def reads(conditions: Iterable[Node]) -> frozenset[str] | None:
    """The facts named anywhere in the conditions; None if the context is used in another way."""
    names: set[str] = set()
    for node in _nodes(conditions, skip=lambda node: _accessed(node) is not None):
        if node == _CONTEXT:
            return None
        if (name := _accessed(node)) is not None:
            names.add(name)
    return frozenset(names)


def numbers_beside(conditions: Iterable[Node], name: str) -> frozenset[int]:
    """The numbers that a fact is compared with, wherever in the conditions."""
    found: set[int] = set()
    for node in _nodes(conditions):
        for order in (*_ORDER, "==", "!="):
            sides = node.get(order)
            if isinstance(sides, dict) and name in (
                fact_in(sides["left"], "."),
                fact_in(sides["right"], "."),
            ):
                values = (sides["left"].get("Value"), sides["right"].get("Value"))
                found |= {value for value in values if type(value) is int}
    return frozenset(found)


def asks_membership(conditions: Iterable[Node]) -> bool:
    """Whether ``in`` stands anywhere in the conditions."""
    return any("in" in node for node in _nodes(conditions))


def _accessed(node: Node) -> str | None:
    return fact_in(node, ".") or fact_in(node, "has")


def _nodes(
    conditions: Iterable[Node], skip: Callable[[Node], bool] = lambda node: False
) -> Iterator[Node]:
    """Every object of Cedar's JSON form; what stands below one to skip is left out."""
    left: list[Any] = list(conditions)  # Any: JSON
    while left:
        node = left.pop()
        if isinstance(node, dict):
            yield node
            if not skip(node):
                left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)
