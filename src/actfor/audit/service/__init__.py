"""Use cases of the log."""

from actfor.audit.service.log import AuditLog
from actfor.audit.service.witnessing import Witnessing

__all__ = ["AuditLog", "Witnessing"]
