"""Why a request was refused: one small vocabulary for every room.

A room raises ``Refused`` with a ``Kind``; it never mentions HTTP or JSON-RPC.
Each protocol keeps one table from ``Kind`` to its own wire error (see
``actfor.wire.problem``), and a test proves that every table is total.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The reason in the caller's terms. Values are stable: they appear in the audit log."""

    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    STEP_UP_REQUIRED = "step-up-required"
    REPLAYED = "replayed"
    EXPIRED = "expired"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    BUSY = "busy"


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a malfunction
    """The caller may not do this. ``detail`` is safe to show to the caller.

    ``code`` is a standard's own error code where several belong to one kind
    (``invalid_scope`` and ``invalid_target`` are both DENIED); the edge that
    speaks that standard uses it, every other edge ignores it.
    """

    def __init__(self, kind: Kind, detail: str, *, code: str | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.code = code
