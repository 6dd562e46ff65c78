"""Ask a human: request, answer with a passkey, consume once."""

from actfor.approval.model import LIFETIME, Answer, Approval, ExactCall, SlotOrigin, State
from actfor.approval.service import MAX_WAIT, ApprovalService, Inbox

__all__ = [
    "LIFETIME",
    "MAX_WAIT",
    "Answer",
    "Approval",
    "ApprovalService",
    "ExactCall",
    "Inbox",
    "SlotOrigin",
    "State",
]
