"""What people changed: every operation of a command, the dashboard or the status API leaves one line in Redis."""

from deedbox.shared.audit.audit_line import AuditedOperation, AuditLine, Way
from deedbox.shared.audit.audit_log import AuditLog, operator, read

__all__ = ["AuditLine", "AuditLog", "AuditedOperation", "Way", "operator", "read"]
