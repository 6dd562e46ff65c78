"""Use cases of approvals."""

from actfor.approval.service.approvals import ApprovalService, Inbox
from actfor.approval.service.waiting import MAX_WAIT

__all__ = ["MAX_WAIT", "ApprovalService", "Inbox"]
