"""What people changed: every operation of a command, the dashboard or the status API leaves one line in Redis.

``audit_log`` writes and reads them. It is not imported here: the commands name operations long before they need Redis.
"""

from deedbox.shared.audit.audit_line import AuditedOperation, AuditLine, Way

__all__ = ["AuditLine", "AuditedOperation", "Way"]
