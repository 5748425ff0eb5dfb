"""Deedbox receives Dropbox Sign callbacks and turns them into a clean stream of events.

This is the public interface. An application declares its actions with it::

    from deedbox import Context, Event, Reject, Retry, action

    @action("signature_request_signed")
    def update_crm(event: Event, context: Context) -> None: ...

and names the module in ``DEEDBOX_ACTIONS``. Everything else below this package is internal.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from deedbox.ingress.app import create_blueprint
    from deedbox.workers.actions import Context, Event, Reject, Retry, action

__all__ = ["Context", "Event", "Reject", "Retry", "__version__", "action", "create_blueprint"]

_ACTIONS: Final = "deedbox.workers.actions"
_HOMES: Final = {
    "Context": _ACTIONS,
    "Event": _ACTIONS,
    "Reject": _ACTIONS,
    "Retry": _ACTIONS,
    "action": _ACTIONS,
    "create_blueprint": "deedbox.ingress.app",
}
"""Where the public names live. They are loaded when they are asked for: ingress must not load the workers, or the
other way round, only because both lie below this package."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("deedbox")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
