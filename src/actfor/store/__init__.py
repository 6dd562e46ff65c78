"""Durable state: one database, one writer, group commit.

Slices declare their tables on ``metadata``, write Core statements in their
``repository`` modules, and pass *units* (functions of a ``Tx``) to ``Database.write``
and ``Database.read``. A unit's effects are durable when ``write`` returns, or absent.
"""

from actfor.store.ballast import BALLAST_BYTES
from actfor.store.columns import Columns
from actfor.store.database import Database
from actfor.store.failures import ConstraintViolation
from actfor.store.feed import Feed
from actfor.store.ids import new_id
from actfor.store.schema import insert_ignore, metadata, one_of
from actfor.store.statements import Row, Scalar, Statement
from actfor.store.transaction import Ask, Participant, Tx

__all__ = [
    "BALLAST_BYTES",
    "Ask",
    "Columns",
    "ConstraintViolation",
    "Database",
    "Feed",
    "Participant",
    "Row",
    "Scalar",
    "Statement",
    "Tx",
    "insert_ignore",
    "metadata",
    "new_id",
    "one_of",
]
