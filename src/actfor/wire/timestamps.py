"""Instants between their three forms: aware ``datetime``, milliseconds, RFC 3339 text.

Inside models time is an aware ``datetime`` in UTC; in the database it is an INTEGER of
milliseconds since the epoch. There is no clock here: callers pass the time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(instant: datetime) -> int:
    """Whole milliseconds since the epoch, rounded down; exact, no floating point.

    Raises:
        ValueError: the datetime is naive, which is a programmer's error.
    """
    _require_aware(instant)
    return (instant - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """The UTC instant of these milliseconds since the epoch."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def rfc3339(instant: datetime) -> str:
    """RFC 3339 §5.6 text in UTC with milliseconds: ``2026-11-24T04:05:06.789Z``."""
    _require_aware(instant)
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    text = instant.isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _require_aware(instant: datetime) -> None:
    if instant.tzinfo is None:
        raise ValueError("a naive datetime names no instant")
