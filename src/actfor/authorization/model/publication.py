"""A policy set put in force."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Publication:
    """The ``seq``-th publication. ``author`` is a person's id, or ``system``.

    ``cause`` is ``published``, ``default pack``, or ``schema changed`` (a new release reads the
    same text by a new schema).
    """

    seq: int
    version: str
    author: str
    cause: str
    published_at: datetime
