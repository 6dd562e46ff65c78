"""What a mandate was used for, and what another authority would have made of it. Pure.

``simulate`` asks a draft about recorded calls. ``suggest`` proposes the draft that these calls
needed, and nothing more: every step of it narrows the mandate and still covers every call that was
let through, or it is not taken.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import cast

from actfor.errors import Refused
from actfor.wire.canonical import JsonObject, JsonValue
from actfor.wire.rar import (
    ABSENT,
    ANY_TOOL,
    Authority,
    Call,
    Constraint,
    Coverage,
    Grant,
    Money,
    constraint_from_json,
    host_of,
    member_pointer,
    narrows,
    resolve,
)

ENOUGH = 3
"""So many calls before what their arguments have in common is taken for a rule."""

ROOM = 2
"""A limit that is proposed is so many times what was used."""

FAR = 4
"""A budget is called far above its use from so many times on."""

_MOST_VALUES = 5
_MOST_POINTERS = 32


@dataclass(frozen=True, slots=True)
class UsedCall:
    """One recorded call. ``passed``: permitted, or let through by a person in the end."""

    trace: str
    at: datetime
    call: Call
    covered: bool
    asked: bool
    passed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the draft makes of one call that it would treat otherwise."""

    used: UsedCall
    covered: bool
    asks: bool
    reason: str


@dataclass(slots=True)
class Rehearsed:
    """A draft against recorded calls, oldest first.

    ``lost`` were covered and are not any more, ``gained`` the reverse, ``asked`` would be asked
    about and were not. ``unknown`` cannot be told: where a value came from is not in the record.
    ``spent_at`` is the call at which the draft's budget would have been used up.
    """

    calls: int = 0
    covered_before: int = 0
    covered_after: int = 0
    lost: list[Verdict] = field(default_factory=list)
    gained: list[Verdict] = field(default_factory=list)
    asked: list[Verdict] = field(default_factory=list)
    unknown: int = 0
    spent_at: UsedCall | None = None
    spent_why: str = ""


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


# -- simulate -----------------------------------------------------------------------------------


def simulate(calls: Iterable[UsedCall], draft: Authority) -> Rehearsed:
    """Ask the draft about each call."""
    found = Rehearsed()
    spent_calls, spent = 0, Decimal(0)
    for used in sorted(calls, key=lambda each: each.at):
        coverage = draft.covers(used.call)
        found.calls += 1
        found.covered_before += used.covered
        if not coverage.covered and used.covered and _rests_on_origin(coverage, draft):
            found.unknown += 1
            continue
        found.covered_after += coverage.covered
        _note(found, used, coverage)
        if coverage.covered and used.passed and found.spent_at is None:
            spent_calls += 1
            spent += used.call.amount.value if used.call.amount is not None else 0
            found.spent_why = _over(draft, spent_calls, spent)
            found.spent_at = used if found.spent_why else None
    return found


def _note(found: Rehearsed, used: UsedCall, coverage: Coverage) -> None:
    verdict = Verdict(used, coverage.covered, coverage.asks, coverage.reason)
    if used.covered and not coverage.covered:
        found.lost.append(verdict)
    elif coverage.covered and not used.covered:
        found.gained.append(verdict)
    elif coverage.covered and coverage.asks and not used.asked:
        found.asked.append(verdict)


def _over(draft: Authority, calls: int, spent: Decimal) -> str:
    budget = draft.budget
    if budget.calls is not None and calls > budget.calls:
        return f"the budget of {budget.calls} calls"
    if budget.amount is not None and spent > budget.amount.value:
        return f"the budget of {budget.amount}"
    return ""


def _rests_on_origin(coverage: Coverage, draft: Authority) -> bool:
    """Whether the limit that failed asks where a value came from."""
    limits = (grant.args.get(coverage.argument) for grant in draft.grants)
    return any(limit is not None and _asks_origin(limit.to_json()) for limit in limits)


def _asks_origin(form: JsonValue) -> bool:
    if isinstance(form, Mapping):
        return "from" in form or any(_asks_origin(inner) for inner in form.values())
    return isinstance(form, list | tuple) and any(_asks_origin(inner) for inner in form)


# -- suggest ------------------------------------------------------------------------------------


def suggest(calls: Sequence[UsedCall], mandate: Authority) -> Suggestion:
    """The least of the mandate that these calls needed. Does not know what else is planned."""
    used = [each.call for each in calls if each.passed]
    made, findings = mandate, list[Finding]()
    for step in (_drop_unused, _narrow_grants, _narrow_arguments, _narrow_amounts, _narrow_budget):
        for candidate, finding in step(made, used):
            if _is_better(candidate, made, mandate, used):
                made = candidate
                findings.append(finding)
    return Suggestion(made, tuple(findings), len(used))


def _is_better(
    candidate: Authority, made: Authority, mandate: Authority, used: Sequence[Call]
) -> bool:
    """Whether it is narrower, and covers what was covered: proved, not believed."""
    return (
        candidate != made
        and narrows(candidate, made) is None
        and narrows(candidate, mandate) is None
        and all(candidate.covers(call).covered for call in used if made.covers(call).covered)
    )


Step = Iterator[tuple[Authority, Finding]]


def _grant_of(authority: Authority, used: Sequence[Call]) -> dict[int, list[Call]]:
    """The calls by the grant that covers them."""
    found: dict[int, list[Call]] = {}
    for call in used:
        coverage = authority.covers(call)
        if coverage.covered:
            found.setdefault(coverage.grant_index, []).append(call)
    return found


def _drop_unused(authority: Authority, used: Sequence[Call]) -> Step:
    kept = _grant_of(authority, used)
    if not kept or len(kept) == len(authority.grants):
        return
    for index, grant in enumerate(authority.grants):
        if index not in kept:
            named = f"{grant.server}: {', '.join(grant.tools)} ({', '.join(grant.effects)})"
            left = tuple(each for i, each in enumerate(authority.grants) if i in kept or i > index)
            yield replace(authority, grants=left), Finding("grant", f"never used: {named}")


def _narrow_grants(authority: Authority, used: Sequence[Call]) -> Step:
    for index, calls in _grant_of(authority, used).items():
        grant = authority.grants[index]
        tools = tuple(sorted({call.tool for call in calls}))
        effects = tuple(sorted({call.effect for call in calls}))
        if tools != grant.tools:
            was = "any tool" if grant.tools == (ANY_TOOL,) else ", ".join(grant.tools)
            words = f"{grant.server}: only {', '.join(tools)} of {was} used"
            grant = replace(grant, tools=tools)
            authority = _with(authority, index, grant)
            yield authority, Finding("tools", words)
        if effects != grant.effects:
            never = ", ".join(sorted(set(grant.effects) - set(effects)))
            authority = _with(authority, index, replace(grant, effects=effects))
            yield authority, Finding("effects", f"{grant.server}: never used to {never}")


def _narrow_arguments(authority: Authority, used: Sequence[Call]) -> Step:
    for index, calls in _grant_of(authority, used).items():
        if len(calls) < ENOUGH:
            continue
        for pointer in _shared_pointers(calls):
            grant = authority.grants[index]
            if pointer in grant.args:
                continue
            values = [resolve(call.arguments, pointer) for call in calls]
            found = _limit(values)
            if found is not None:
                limit, words = found
                try:
                    narrower = replace(grant, args={**grant.args, pointer: limit})
                except Refused:
                    continue  # the grant limits as many arguments as it can
                if any(narrower.mismatch(call) is not None for call in calls):
                    continue
                authority = _with(authority, index, narrower)
                yield authority, Finding("argument", f"{grant.server}: `{pointer}` was {words}")


def _narrow_amounts(authority: Authority, used: Sequence[Call]) -> Step:
    for index, calls in _grant_of(authority, used).items():
        grant, paid = authority.grants[index], [call.amount for call in calls if call.amount]
        if not paid or len({money.currency for money in paid}) != 1:
            continue
        most = max(paid, key=lambda money: money.value)
        if grant.amount is None or grant.amount.value >= most.value * FAR:
            limit = Money(most.value * ROOM, most.currency)
            words = f"{grant.server}: no call spent more than {most}"
            authority = _with(authority, index, replace(grant, amount=limit))
            yield authority, Finding("amount", words)


def _narrow_budget(authority: Authority, used: Sequence[Call]) -> Step:
    budget = authority.budget
    count = len(used)
    if count and (budget.calls is None or budget.calls >= count * FAR):
        was = "unlimited" if budget.calls is None else str(budget.calls)
        budget = replace(budget, calls=count * ROOM)
        words = f"{count} calls were made, {was} may be"
        yield replace(authority, budget=budget), Finding("calls", words)
    paid = [call.amount for call in used if call.amount]
    if paid and len({money.currency for money in paid}) == 1:
        total = sum((money.value for money in paid), Decimal(0))
        if total and (budget.amount is None or budget.amount.value >= total * FAR):
            was = "no limit" if budget.amount is None else str(budget.amount)
            limit = Money(total * ROOM, paid[0].currency)
            words = f"{Money(total, paid[0].currency)} was spent, {was} may be"
            yield replace(authority, budget=replace(budget, amount=limit)), Finding("amount", words)


def _with(authority: Authority, index: int, grant: Grant) -> Authority:
    grants = (*authority.grants[:index], grant, *authority.grants[index + 1 :])
    return replace(authority, grants=grants)


def _shared_pointers(calls: Sequence[Call]) -> list[str]:
    """The scalar arguments that every call has: a limit on an absent one would refuse the call."""
    shared: set[str] | None = None
    for call in calls:
        here = set(_pointers(call.arguments, ""))
        shared = here if shared is None else shared & here
    return sorted(shared or ())[:_MOST_POINTERS]


def _pointers(arguments: JsonObject, prefix: str) -> Iterator[str]:
    for name, value in arguments.items():
        pointer = member_pointer(prefix, name)
        if isinstance(value, Mapping):
            yield from _pointers(value, pointer)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield pointer


def _limit(values: Sequence[object]) -> tuple[Constraint, str] | None:
    """What these values have in common, as a limit and in words; the tightest that is sensible."""
    if any(value is ABSENT for value in values):
        return None
    distinct = list(dict.fromkeys(values))
    if len(distinct) == 1 or (len(distinct) <= _MOST_VALUES and len(values) >= 3 * len(distinct)):
        return _made(
            {"enum": cast("list[JsonValue]", distinct)}
        ), f"always {' or '.join(f'`{v}`' for v in distinct)}"
    if all(isinstance(value, int) for value in values):
        low, high = min(values), max(values)  # type: ignore[type-var] # they are all numbers
        body = {"min": str(min(low, 0)), "max": str(high * ROOM if high > 0 else 0)}  # type: ignore[operator, call-overload] # numbers
        return _made({"range": body}), f"between {low} and {high}"
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(values):
        return None
    return _folder(texts) or _hosts(texts)


def _folder(texts: Sequence[str]) -> tuple[Constraint, str] | None:
    if not all(text.startswith("/") for text in texts):
        return None
    common = os.path.commonpath(texts)
    if common.count("/") < 1 or common == "/":
        return None
    try:
        return _made({"prefix": common}), f"always below `{common}`"
    except Refused:
        return None


def _hosts(texts: Sequence[str]) -> tuple[Constraint, str] | None:
    hosts = [host_of(text) for text in texts]
    if any(host is None for host in hosts):
        return None
    named = sorted({str(host) for host in hosts})
    if len(named) > _MOST_VALUES:
        return None
    try:
        return _made({"domain": named}), f"always at {', '.join(f'`{host}`' for host in named)}"
    except Refused:
        return None


def _made(form: dict[str, JsonValue]) -> Constraint:
    return constraint_from_json(form)
