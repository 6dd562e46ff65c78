"""How much: what all calls of a mandate together may take, in all and in any stretch of time.

    {"calls": 40, "amount": …, "recipients": 3,
     "windows": [{"per": "day", "calls": 10, "amount": …, "recipients": 2}]}

A window is over the time that has just passed, whenever one looks: ten a day are ten in *any* 24
hours, not ten before midnight and ten after. Recipients are different parties that data or money
goes to. Nothing here counts; whoever records calls does, and may count a little too much, never too
little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.rar.money import Money
from actfor.wire.rar.window import Period

MAX_COUNT: Final = 10**9
MAX_WINDOWS: Final = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``calls`` calls in any ``per``."""

    calls: int
    per: Period

    def __post_init__(self) -> None:
        require_count(self.calls, "calls")


@dataclass(frozen=True, slots=True)
class Windowed:
    """What may be taken in any stretch of time as long as ``per``. None is unlimited."""

    per: Period
    calls: int | None = None
    amount: Money | None = None
    recipients: int | None = None

    def __post_init__(self) -> None:
        require_count(self.calls, "calls")
        require_count(self.recipients, "recipients")
        if self.calls is None and self.amount is None and self.recipients is None:
            raise Refused(
                Kind.MALFORMED, "a budget over time limits `calls`, an amount or `recipients`"
            )


@dataclass(frozen=True, slots=True)
class Budget:
    """What all calls together may take, in all and over time. None is unlimited.

    ``windows`` are sorted by their length; each period stands at most once.
    """

    calls: int | None = None
    amount: Money | None = None
    recipients: int | None = None
    windows: tuple[Windowed, ...] = ()

    def __post_init__(self) -> None:
        require_count(self.calls, "calls")
        require_count(self.recipients, "recipients")
        ordered = tuple(sorted(self.windows, key=lambda window: window.per.length))
        if len({window.per for window in ordered}) != len(ordered):
            raise Refused(Kind.MALFORMED, "a budget names each period at most once")
        object.__setattr__(self, "windows", ordered)

    @property
    def counts_recipients(self) -> bool:
        """Whether recipients are limited, so that each call must say whom it reaches."""
        return self.recipients is not None or any(w.recipients is not None for w in self.windows)

    @property
    def amounts(self) -> tuple[Money, ...]:
        """Every limit of money, the one in all first."""
        over_time = [window.amount for window in self.windows]
        return tuple(limit for limit in (self.amount, *over_time) if limit is not None)

    def mismatch(self, amount: Money | None, *, pays: bool) -> str | None:
        """Why a call of this amount can never fit, whatever was used before; None if it may."""
        if self.calls == 0 or any(window.calls == 0 for window in self.windows):
            return "the budget allows no call"
        for limit in self.amounts:
            if amount is None:
                return "the amount is budgeted and not known" if pays else None
            if amount.currency != limit.currency:
                return f"the budget is in {limit.currency}, not in {amount.currency}"
            if not amount.within(limit):
                return f"amount {amount} is over budget"
        return None


def rates_widened(child: Iterable[Rate], parent: Iterable[Rate], most: int | None) -> str | None:
    """None if every rate of ``parent`` follows from one of ``child``, or from ``most`` in all."""
    held = tuple(child)
    for rate in parent:
        fits = any(mine.calls <= rate.calls and mine.per.length >= rate.per.length for mine in held)
        if not fits and not (most is not None and most <= rate.calls):
            return f"at most {rate.calls} calls a {rate.per} are granted"
    return None


def budget_widened(child: Budget, parent: Budget) -> str | None:
    """None if whatever fits ``child`` fits ``parent``; else what is beyond."""
    if not _count_narrows(child.calls, parent.calls):
        return f"the budget is at most {parent.calls} calls"
    if not money_narrows(child.amount, parent.amount):
        return f"the budget is at most {parent.amount}"
    if not _count_narrows(child.recipients, parent.recipients):
        return f"the budget is at most {parent.recipients} recipients"
    for window in parent.windows:
        # What holds over a longer time, or in all, holds over this one.
        held = [mine for mine in child.windows if mine.per.length >= window.per.length]
        calls = (child.calls, *(mine.calls for mine in held))
        if not any(_count_narrows(mine, window.calls) for mine in calls):
            return f"the budget is at most {window.calls} calls a {window.per}"
        amounts = (child.amount, *(mine.amount for mine in held))
        if not any(money_narrows(mine, window.amount) for mine in amounts):
            return f"the budget is at most {window.amount} a {window.per}"
        recipients = (child.recipients, *(mine.recipients for mine in held))
        if not any(_count_narrows(mine, window.recipients) for mine in recipients):
            return f"the budget is at most {window.recipients} recipients a {window.per}"
    return None


def money_narrows(child: Money | None, parent: Money | None) -> bool:
    """Whether a limit of money is at most another; None is no limit."""
    return parent is None or (child is not None and child.within(parent))


def require_count(value: int | None, name: str) -> None:
    """Refuse what is neither a count nor unlimited.

    Raises:
        Refused: MALFORMED.
    """
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_COUNT):
        raise Refused(Kind.MALFORMED, f"`{name}` is a count from 0 to {MAX_COUNT}")


def _count_narrows(child: int | None, parent: int | None) -> bool:
    return parent is None or (child is not None and child <= parent)
