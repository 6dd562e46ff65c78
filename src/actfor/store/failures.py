"""What can go wrong below a unit, in the store's own words.

Slices never see a driver's exceptions: a broken constraint is a ``ConstraintViolation``,
and a database that cannot keep its promise is ``StorageFailure`` inside the store and
``Refused(BUSY)`` outside.
"""

from __future__ import annotations

from actfor.errors import Kind, Refused


class ConstraintViolation(Exception):  # noqa: N818 - the data broke a rule; nothing malfunctioned
    """A row would break a uniqueness, foreign key, check or not-null constraint.

    Let it leave the unit, which is then rolled back. To be first or to find out who was,
    use ``insert_ignore`` or a conditional UPDATE instead of catching this.
    """


class StorageFailure(Exception):  # noqa: N818 - one name for disk full, I/O error, lock, corruption
    """The database is full, locked, gone, corrupt or cannot be reached. Nothing was committed."""


class DiskFull(StorageFailure):
    """There is no space left. Nothing was committed."""


class OutcomeUnknown(StorageFailure):
    """The connection broke while a transaction was committed: it happened or it did not."""


def unknown() -> Refused:
    """What callers are told when a unit may have happened."""
    return Refused(Kind.BUSY, "it is not known whether the record was made durable")


def no_space() -> Refused:
    """What callers are told whose record is not one of those that the last space is kept for."""
    return Refused(Kind.BUSY, "the disk is full: only revocations are recorded")


def not_durable() -> Refused:
    """What callers are told when a unit could not be made durable."""
    return Refused(Kind.BUSY, "the record could not be made durable")


def not_readable() -> Refused:
    """What callers are told when the database cannot be read."""
    return Refused(Kind.BUSY, "the records cannot be read now")
