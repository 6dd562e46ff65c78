"""When: the period a count is over, and the times at which a call may happen.

    {"not_before": "2026-11-24T08:00:00Z", "not_after": "2026-11-28T18:00:00Z",
     "days": ["mon", "tue"], "from": "08:00", "until": "18:00", "utc_offset": "+01:00"}

Each member may be left out. ``from`` and ``until`` are times of the day at ``utc_offset`` (UTC
where it is not said), the first included, the second not; `22:00` to `06:00` goes over midnight and
belongs to the day on which it begins. The offset is fixed, so that a decision can be made again
years later without knowing what some country did with its clocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from actfor.errors import Kind, Refused
from actfor.wire.canonical import JsonValue
from actfor.wire.timestamps import rfc3339

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_CLOCK: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_OFFSET: Final = re.compile(r"[+-](?:0[0-9]|1[0-4]):(?:00|15|30|45)")
_MEMBERS: Final = frozenset({"not_before", "not_after", "days", "from", "until", "utc_offset"})


class Period(StrEnum):
    """What a count is over: the time that has just passed, of this length."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    @property
    def length(self) -> timedelta:
        """How long it is; a month is 30 days."""
        return _LENGTHS[self]


_LENGTHS: Final = {
    Period.MINUTE: timedelta(minutes=1),
    Period.HOUR: timedelta(hours=1),
    Period.DAY: timedelta(days=1),
    Period.WEEK: timedelta(days=7),
    Period.MONTH: timedelta(days=30),
}


def period(value: JsonValue) -> Period:
    """A period by its name.

    Raises:
        Refused: MALFORMED.
    """
    if isinstance(value, str) and value in set(Period):
        return Period(value)
    raise Refused(Kind.MALFORMED, f"a period (`per`) is one of {', '.join(Period)}")


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """When calls may happen. Equal if they mean the same, however it was written.

    ``start`` and ``end`` are minutes of the day at ``offset`` minutes east of UTC.
    """

    not_before: datetime | None = None
    not_after: datetime | None = None
    days: tuple[str, ...] = field(default=DAYS, compare=False)
    start: int = field(default=0, compare=False)
    end: int = field(default=_DAY, compare=False)
    offset: int = field(default=0, compare=False)
    spans: tuple[tuple[int, int], ...] = field(init=False, repr=False)
    """The minutes of the week in UTC, Monday 00:00 being 0: half-open, sorted, merged."""

    def __post_init__(self) -> None:
        days = tuple(day for day in DAYS if day in set(self.days))
        if not days or len(days) != len(set(self.days)):
            raise Refused(Kind.MALFORMED, f"`days` are some of {', '.join(DAYS)}")
        if not 0 <= self.start < _DAY or not 0 < self.end <= _DAY or self.start == self.end:
            raise Refused(Kind.MALFORMED, "`from` and `until` are two times of the day")
        if self.not_before and self.not_after and self.not_before >= self.not_after:
            raise Refused(Kind.MALFORMED, "`not_before` is not before `not_after`")
        object.__setattr__(self, "days", days)
        object.__setattr__(self, "spans", _spans(days, self.start, self.end, self.offset))

    def includes(self, at: datetime) -> bool:
        """Whether a call may happen at this instant (aware)."""
        if self.not_before is not None and at < self.not_before:
            return False
        if self.not_after is not None and at >= self.not_after:
            return False
        here = at.astimezone(UTC)
        minute = here.weekday() * _DAY + here.hour * 60 + here.minute
        return any(first <= minute < last for first, last in self.spans)

    def within(self, other: TimeWindow) -> bool:
        """Whether ``other`` allows every instant that this allows; exact by the minute."""
        if other.not_before is not None and (
            self.not_before is None or self.not_before < other.not_before
        ):
            return False
        if other.not_after is not None and (
            self.not_after is None or self.not_after > other.not_after
        ):
            return False
        return all(
            any(least <= first and last <= most for least, most in other.spans)
            for first, last in self.spans
        )

    @property
    def recurs(self) -> bool:
        """Whether it limits days or hours."""
        return self.spans != ((0, _WEEK),)

    def to_json(self) -> dict[str, JsonValue]:
        """The wire form."""
        body: dict[str, JsonValue] = {}
        if self.not_before is not None:
            body["not_before"] = rfc3339(self.not_before)
        if self.not_after is not None:
            body["not_after"] = rfc3339(self.not_after)
        if self.recurs:
            if self.days != DAYS:
                body["days"] = list(self.days)
            body |= {"from": clock_text(self.start), "until": clock_text(self.end)}
            if self.offset:
                body["utc_offset"] = offset_text(self.offset)
        return body


def window_from_json(body: JsonValue) -> TimeWindow:
    """Parse the wire form.

    Raises:
        Refused: MALFORMED, naming what is wrong.
    """
    if not isinstance(body, Mapping) or not body or not body.keys() <= _MEMBERS:
        raise Refused(
            Kind.MALFORMED, f"a time window is an object of some of {', '.join(sorted(_MEMBERS))}"
        )
    days, offset = body.get("days", list(DAYS)), body.get("utc_offset", "+00:00")
    if not isinstance(days, list | tuple) or not all(isinstance(day, str) for day in days):
        raise Refused(Kind.MALFORMED, f"`days` are some of {', '.join(DAYS)}")
    if not isinstance(offset, str) or not _OFFSET.fullmatch(offset):
        raise Refused(Kind.MALFORMED, "`utc_offset` is like `+01:00`, at most 14 hours")
    return TimeWindow(
        _instant(body, "not_before"),
        _instant(body, "not_after"),
        tuple(str(day) for day in days),
        _clock(body.get("from", "00:00"), "from"),
        _clock(body.get("until", "24:00"), "until"),
        _minutes(offset[1:]) * (-1 if offset[0] == "-" else 1),
    )


def clock_text(minutes: int) -> str:
    """`08:30` for 510."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def offset_text(minutes: int) -> str:
    """`+01:00` for 60."""
    return f"{'-' if minutes < 0 else '+'}{clock_text(abs(minutes))}"


@lru_cache(maxsize=256)
def _spans(days: tuple[str, ...], start: int, end: int, offset: int) -> tuple[tuple[int, int], ...]:
    length = end - start if end > start else end - start + _DAY
    pieces: list[tuple[int, int]] = []
    for day in days:
        first = (DAYS.index(day) * _DAY + start - offset) % _WEEK
        last = first + length
        pieces.append((first, min(last, _WEEK)))
        if last > _WEEK:
            pieces.append((0, last - _WEEK))
    return _merged(pieces)


def _merged(pieces: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pieces):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _instant(body: Mapping[str, JsonValue], name: str) -> datetime | None:
    text = body.get(name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
        if instant is not None and instant.utcoffset() is not None and "T" in str(text):
            # Whole milliseconds: what the wire form can say again.
            utc = instant.astimezone(UTC)
            return utc.replace(microsecond=utc.microsecond // 1000 * 1000)
    except (ValueError, OverflowError):
        pass
    raise Refused(Kind.MALFORMED, f"`{name}` is an RFC 3339 time with an offset")


def _clock(text: JsonValue, name: str) -> int:
    if not isinstance(text, str) or not _CLOCK.fullmatch(text):
        raise Refused(Kind.MALFORMED, f"`{name}` is a time of the day such as `08:30`")
    return _minutes(text)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
