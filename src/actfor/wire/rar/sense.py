"""Whether an authority can be meant: what it says that can never come true.

Such a thing grants nothing, so nothing is lost by it but what the person meant. Asked when a person
commits, not of tokens, which may narrow to nothing. A count of 0 says outright that nothing may be.
Decided by form: what is found is certainly never true; what is not found may still be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

from actfor.errors import Kind, Refused
from actfor.wire.rar.authority import Authority, Grant
from actfor.wire.rar.budget import Budget
from actfor.wire.rar.composite import AllOf, AnyOf, Constraint, Each, From, Source, counts_values
from actfor.wire.rar.constraint import Amount, Dates, OneOf, Range
from actfor.wire.rar.money import require_currency
from actfor.wire.rar.spelling import within
from actfor.wire.rar.window import TimeWindow

_WEEK: Final = timedelta(days=7)
_Bounds: TypeAlias = tuple[date | Decimal | None, date | Decimal | None]


def require_sense(authority: Authority, now: datetime, until: datetime) -> None:
    """Refuse what cannot be meant by a mandate that lives from ``now`` to ``until``.

    Raises:
        Refused: MALFORMED, naming the grant and why.
    """
    for number, grant in enumerate(authority.grants, 1):
        with within(f"grant {number} (`{grant.server}`)"):
            for why in (*_currencies(grant), *_never(grant, authority.budget, now, until)):
                raise Refused(Kind.MALFORMED, why)
    with within("`budget`"):
        for why in _budget(authority.budget):
            raise Refused(Kind.MALFORMED, why)
    if authority.delegates and not authority.max_depth:
        raise Refused(Kind.MALFORMED, "`delegates` are named, and `max_depth` lets nobody be asked")


def sources(limit: Constraint) -> Iterator[Source]:
    """The sources that a limit names."""
    match limit:
        case From():
            yield limit.source
        case Each():
            yield from sources(limit.limit)
        case AllOf() | AnyOf():
            for part in limit.parts:
                yield from sources(part)


def _currencies(grant: Grant) -> Iterator[str]:
    for money in (grant.amount, grant.ask_above):
        if money is not None:
            require_currency(money.currency)
    for limit in grant.args.values():
        for part in _parts(limit):
            if isinstance(part, Amount):
                require_currency(part.currency)
    if grant.amount and grant.ask_above and grant.amount.currency != grant.ask_above.currency:
        above, most = grant.ask_above.currency, grant.amount.currency
        yield f"its approval is `above` an amount in {above}, and it spends {most}"


def _never(grant: Grant, budget: Budget, now: datetime, until: datetime) -> Iterator[str]:
    for pointer, limit in grant.args.items():
        if _is_empty(limit):
            yield f"nothing can be within the limit of `{pointer}`"
    if grant.window is not None and not _holds(grant.window, now, until):
        yield "its `window` is at no time at which the mandate lives"
    if grant.amount is not None and grant.effects == ("pay",):
        for other in {money.currency for money in budget.amounts} - {grant.amount.currency}:
            yield f"it spends {grant.amount.currency}, and the budget is in {other}"


def _budget(budget: Budget) -> Iterator[str]:
    for limit in budget.amounts:
        require_currency(limit.currency)
    named = sorted({limit.currency for limit in budget.amounts})
    if len(named) > 1:
        yield f"it is in {' and in '.join(named)}, so that nothing fits"


def _parts(limit: Constraint) -> Iterator[Constraint]:
    yield limit
    match limit:
        case Each():
            yield from _parts(limit.limit)
        case AllOf() | AnyOf():
            for part in limit.parts:
                yield from _parts(part)


def _is_empty(limit: Constraint) -> bool:
    """Whether certainly no value is within it."""
    match limit:
        case AnyOf():
            return all(map(_is_empty, limit.parts))
        case Each():
            return _is_empty(limit.limit)
        case AllOf():
            return any(map(_is_empty, limit.parts)) or _excludes(limit.parts)
    return False


def _excludes(parts: Sequence[Constraint]) -> bool:
    told = [part for part in parts if not counts_values(part)]  # of origins nothing is known here
    for part in told:
        if isinstance(part, OneOf):
            return not any(all(one.matches(value) for one in told) for value in part.values)
    currencies = {part.currency for part in told if isinstance(part, Amount)}
    kinds: tuple[list[_Bounds], ...] = (
        [(part.low, part.high) for part in told if isinstance(part, Range)],
        [(part.low, part.high) for part in told if isinstance(part, Amount)],
        [(part.first, part.last) for part in told if isinstance(part, Dates)],
    )
    return len(currencies) > 1 or any(_apart(bounds) for bounds in kinds)


def _apart(bounds: Sequence[_Bounds]) -> bool:
    lows: list[Any] = [low for low, _ in bounds if low is not None]  # all of one type
    highs: list[Any] = [high for _, high in bounds if high is not None]
    return bool(lows and highs) and max(lows) > min(highs)


def _holds(window: TimeWindow, now: datetime, until: datetime) -> bool:
    """Whether it includes some time from ``now`` to ``until``."""
    first = max(now, window.not_before or now)
    if window.includes(first):
        return first < until
    monday = (first - timedelta(days=first.weekday())).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    while monday < until:
        for start, _ in window.spans:
            at = monday + timedelta(minutes=start)
            if first <= at < until and window.includes(at):
                return True
        monday += _WEEK
    return False
