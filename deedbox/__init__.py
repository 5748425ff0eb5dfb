"""Deedbox receives Dropbox Sign callbacks and turns them into a clean stream of events.

This is the public interface. An application declares its actions with it::

    from deedbox import Context, Event, Reject, Retry, action

    @action("signature_request_signed")
    def update_crm(event: Event, context: Context) -> None: ...

and names the module in ``DEEDBOX_ACTIONS``. Everything else below this package is internal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from deedbox import django, flask, testing
    from deedbox.ingress.app import create_blueprint
    from deedbox.ingress.asgi import asgi_app
    from deedbox.ingress.receive.verifying import NotVerified, Verified, verify
    from deedbox.workers.actions import Context, Event, Reject, Retry, action
    from deedbox.workers.actions.snapshots import (
        AccountSnapshot,
        FaxSnapshot,
        RequestSnapshot,
        SignerSnapshot,
        TemplateSnapshot,
    )

__all__ = [
    "AccountSnapshot",
    "Context",
    "Event",
    "FaxSnapshot",
    "NotVerified",
    "Reject",
    "RequestSnapshot",
    "Retry",
    "SignerSnapshot",
    "TemplateSnapshot",
    "Verified",
    "__version__",
    "action",
    "asgi_app",
    "create_blueprint",
    "django",
    "flask",
    "testing",
    "verify",
]

_ACTIONS: Final = "deedbox.workers.actions"
_SNAPSHOTS: Final = "deedbox.workers.actions.snapshots"
_VERIFYING: Final = "deedbox.ingress.receive.verifying"
_HOMES: Final = {
    "AccountSnapshot": _SNAPSHOTS,
    "Context": _ACTIONS,
    "Event": _ACTIONS,
    "FaxSnapshot": _SNAPSHOTS,
    "NotVerified": _VERIFYING,
    "Reject": _ACTIONS,
    "RequestSnapshot": _SNAPSHOTS,
    "Retry": _ACTIONS,
    "SignerSnapshot": _SNAPSHOTS,
    "TemplateSnapshot": _SNAPSHOTS,
    "Verified": _VERIFYING,
    "action": _ACTIONS,
    "asgi_app": "deedbox.ingress.asgi",
    "create_blueprint": "deedbox.ingress.app",
    "verify": _VERIFYING,
}
"""Where the public names live. They are loaded when they are asked for: ingress must not load the workers, or the
other way round, only because both lie below this package."""

_MODULES: Final = frozenset({"django", "flask", "testing"})
"""Public modules of this package; those of the frameworks need their framework when they are used, not before."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # not above: it takes a third of the time that a command needs

        return version("deedbox")
    if name in _MODULES:
        return import_module(f"deedbox.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
