"""Ask a human: request, answer with a passkey, consume once."""

from actfor.approval.model import LIFETIME, Answer, Approval, ExactCall, State
from actfor.approval.service import MAX_WAIT, ApprovalService, Inbox

__all__ = [
    "LIFETIME",
    "MAX_WAIT",
    "Answer",
    "Approval",
    "ApprovalService",
    "ExactCall",
    "Inbox",
    "State",
]
