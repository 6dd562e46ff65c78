"""The least of a mandate that the calls made under it needed. Pure.

``Uses`` takes the calls in any order and keeps none of them: for each grant what was used of it,
for each argument what its values have in common. Every step of ``suggestion`` narrows the mandate
(proved by ``narrows``) and, by how it is made, still covers every call that was let through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeAlias

from actfor.delegation.common_values import CommonValues
from actfor.delegation.rehearsing import UsedCall
from actfor.errors import Refused
from actfor.wire.canonical import JsonObject
from actfor.wire.rar import (
    ANY_TOOL,
    Authority,
    Call,
    Constraint,
    Grant,
    Money,
    member_pointer,
    narrows,
)

ENOUGH = 3
"""So many calls before what their arguments have in common is taken for a rule."""

ROOM = 2
"""A limit that is proposed is so many times what was used."""

FAR = 4
"""A budget is called far above its use from so many times on."""

_MOST_POINTERS = 32
_MOST_FIRST = 256


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wider than its use, in words."""

    what: str
    words: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A narrower authority that covers all that was let through, and why each part is narrower."""

    authority: Authority
    findings: tuple[Finding, ...]
    calls: int


Change: TypeAlias = Callable[[Authority], Authority]
Step: TypeAlias = tuple[Change, Finding]


@dataclass(slots=True)
class _Paid:
    """What some calls spent. ``unknown``: one of them paid, and nobody knows how much."""

    most: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    currencies: set[str] = field(default_factory=set)
    unknown: bool = False

    def add(self, call: Call) -> None:
        if call.amount is None:
            self.unknown |= call.effect == "pay"
            return
        self.currencies.add(call.amount.currency)
        self.most = max(self.most, call.amount.value)
        self.total += call.amount.value

    @property
    def currency(self) -> str | None:
        """The one currency of a sum that can be limited; None if there is none."""
        return (
            next(iter(self.currencies)) if len(self.currencies) == 1 and not self.unknown else None
        )


@dataclass(slots=True)
class _Used:
    """What was used of one grant."""

    calls: int = 0
    tools: set[str] = field(default_factory=set)
    effects: set[str] = field(default_factory=set)
    paid: _Paid = field(default_factory=_Paid)
    arguments: dict[str, CommonValues] = field(default_factory=dict)

    def add(self, call: Call) -> None:
        self.calls += 1
        self.tools.add(call.tool)
        self.effects.add(call.effect)
        self.paid.add(call)
        here = dict(_scalars(call.arguments, ""))
        if self.calls == 1:
            self.arguments = {name: CommonValues() for name in sorted(here)[:_MOST_FIRST]}
        # A limit on an argument that is absent would refuse the call: only those that all have.
        self.arguments = {n: known for n, known in self.arguments.items() if n in here}
        for name, known in self.arguments.items():
            known.add(here[name])


class Uses:
    """What was used of a mandate, call by call."""

    def __init__(self, mandate: Authority) -> None:
        self._mandate = mandate
        self._calls = 0
        self._paid = _Paid()
        self._of: dict[int, _Used] = {}

    def take(self, calls: Iterable[UsedCall]) -> None:
        """Count those that were let through."""
        for used in calls:
            if used.passed:
                self._calls += 1
                self._paid.add(used.call)
                for index in self._grants(used.call):
                    self._of.setdefault(index, _Used()).add(used.call)

    def suggestion(self) -> Suggestion:
        """The least of the mandate that these calls needed. Does not know what else is planned."""
        made, findings = self._mandate, list[Finding]()
        for change, finding in self._steps():
            try:
                candidate = change(made)
            except Refused:
                continue  # no such limit can be written down, or no more of them
            if candidate != made and _narrower(candidate, made, self._mandate):
                made = candidate
                findings.append(finding)
        return Suggestion(made, tuple(findings), self._calls)

    def _steps(self) -> Iterator[Step]:
        grants = [(i, self._mandate.grants[i], used) for i, used in sorted(self._of.items())]
        for index, grant, used in grants:
            yield from _names(index, grant, used)
        for index, grant, used in grants:
            yield from _arguments(index, grant, used)
        for index, grant, used in grants:
            yield from _amount(index, grant, used.paid)
        yield from self._budget()
        yield from self._unused()  # last: until then grants keep their numbers

    def _grants(self, call: Call) -> list[int]:
        """The grant that covers a call. Where a limit on where a value came from is in the way,
        which the record does not tell, every grant that may have.
        """
        coverage = self._mandate.covers(call)
        if coverage.covered:
            return [coverage.grant_index]
        return [i for i, grant in enumerate(self._mandate.grants) if _may_cover(grant, call)]

    def _unused(self) -> Iterator[Step]:
        never = [i for i in range(len(self._mandate.grants)) if i not in self._of]
        if not self._of:
            return  # nothing is known, rather than that all of it is too much
        for index in reversed(never):
            grant = self._mandate.grants[index]
            named = f"{grant.server}: {', '.join(grant.tools)} ({', '.join(grant.effects)})"
            yield _without(index), Finding("grant", f"never used: {named}")

    def _budget(self) -> Iterator[Step]:
        budget, count = self._mandate.budget, self._calls
        if count and (budget.calls is None or budget.calls >= count * FAR):
            was = "unlimited" if budget.calls is None else str(budget.calls)
            words = f"{count} calls were made, {was} may be"

            def counted(authority: Authority) -> Authority:
                return replace(authority, budget=replace(authority.budget, calls=count * ROOM))

            yield counted, Finding("calls", words)
        total, currency = self._paid.total, self._paid.currency
        if currency and total and (budget.amount is None or budget.amount.value >= total * FAR):
            was = "no limit" if budget.amount is None else str(budget.amount)
            words = f"{Money(total, currency)} was spent, {was} may be"

            def limited(authority: Authority) -> Authority:
                limit = Money(total * ROOM, currency)
                return replace(authority, budget=replace(authority.budget, amount=limit))

            yield limited, Finding("amount", words)


def suggest(calls: Iterable[UsedCall], mandate: Authority) -> Suggestion:
    """The least of the mandate that some calls needed."""
    uses = Uses(mandate)
    uses.take(calls)
    return uses.suggestion()


def _narrower(candidate: Authority, made: Authority, mandate: Authority) -> bool:
    return narrows(candidate, made) is None and narrows(candidate, mandate) is None


def _names(index: int, grant: Grant, used: _Used) -> Iterator[Step]:
    tools, effects = tuple(sorted(used.tools)), tuple(sorted(used.effects))
    if tools != grant.tools:
        was = "any tool" if grant.tools == (ANY_TOOL,) else ", ".join(grant.tools)
        words = f"{grant.server}: only {', '.join(tools)} of {was} used"
        yield _with(index, lambda one: replace(one, tools=tools)), Finding("tools", words)
    if effects != grant.effects:
        never = ", ".join(sorted(set(grant.effects) - set(effects)))
        words = f"{grant.server}: never used to {never}"
        yield _with(index, lambda one: replace(one, effects=effects)), Finding("effects", words)


def _arguments(index: int, grant: Grant, used: _Used) -> Iterator[Step]:
    if used.calls < ENOUGH:
        return
    for pointer in sorted(used.arguments)[:_MOST_POINTERS]:
        found = None if pointer in grant.args else used.arguments[pointer].limit()
        if found is not None:
            limit, common = found

            def limited(one: Grant, at: str = pointer, to: Constraint = limit) -> Grant:
                return replace(one, args={**one.args, at: to})

            words = f"{grant.server}: `{pointer}` was {common}"
            yield _with(index, limited), Finding("argument", words)


def _amount(index: int, grant: Grant, paid: _Paid) -> Iterator[Step]:
    currency = paid.currency
    if currency and (grant.amount is None or grant.amount.value >= paid.most * FAR):

        def limited(one: Grant) -> Grant:
            return replace(one, amount=Money(paid.most * ROOM, currency))

        words = f"{grant.server}: no call spent more than {Money(paid.most, currency)}"
        yield _with(index, limited), Finding("amount", words)


def _may_cover(grant: Grant, call: Call) -> bool:
    named = grant.tools == (ANY_TOOL,) or call.tool in grant.tools
    return grant.server == call.server and named and call.effect in grant.effects


def _with(index: int, change: Callable[[Grant], Grant]) -> Change:
    def changed(authority: Authority) -> Authority:
        grants = list(authority.grants)
        grants[index] = change(grants[index])
        return replace(authority, grants=tuple(grants))

    return changed


def _without(index: int) -> Change:
    def changed(authority: Authority) -> Authority:
        grants = authority.grants
        return replace(authority, grants=(*grants[:index], *grants[index + 1 :]))

    return changed


def _scalars(arguments: JsonObject, prefix: str) -> Iterator[tuple[str, str | int | float]]:
    for name, value in arguments.items():
        pointer = member_pointer(prefix, name)
        if isinstance(value, Mapping):
            yield from _scalars(value, pointer)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield pointer, value
