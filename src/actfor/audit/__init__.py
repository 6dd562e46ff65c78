"""What happened, provably: append in the caller's transaction, checkpoint, prove, verify."""

from actfor.audit.model import (
    Event,
    EventType,
    Head,
    LoggedEvent,
    Receipt,
    VerifyReport,
)
from actfor.audit.service import AuditLog, Witnessing
from actfor.wire.log_entry import Epochs, Revocable
from actfor.wire.note import Cosigner, NoteSigner, NoteVerifier

__all__ = [
    "AuditLog",
    "Cosigner",
    "Epochs",
    "Event",
    "EventType",
    "Head",
    "LoggedEvent",
    "NoteSigner",
    "NoteVerifier",
    "Receipt",
    "Revocable",
    "VerifyReport",
    "Witnessing",
]
