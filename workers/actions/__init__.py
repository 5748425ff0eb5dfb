"""Actions: code that runs for an event. This package is the public interface for applications.

``@action("signature_request_signed", lane="crm")`` declares a function ``update_crm(event, context)``; it may
raise ``Retry`` (try later) or ``Reject`` (dead letter now). ``DEEDBOX_ACTIONS`` names the modules.
"""

from deedbox.workers.actions.interface import Context, Event, Reject, Retry, action

__all__ = ["Context", "Event", "Reject", "Retry", "action"]
