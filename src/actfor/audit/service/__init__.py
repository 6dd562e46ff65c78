"""The log's use cases."""

from actfor.audit.service.log import AuditLog

__all__ = ["AuditLog"]
