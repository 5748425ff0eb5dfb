"""A test kit for actions: signed callbacks, and calls as a worker makes them. No Redis, no broker, no processes.

    from deedbox.testing import callback, run

    def test_a_down_crm_is_asked_again_in_a_minute() -> None:
        assert run(update_crm, callback("signature_request_signed")).after == 60

``pytest_plugins = ["deedbox.testing.plugin"]`` offers the same as the fixture ``deedbox``. See docs/testing.md.
"""

from deedbox.testing.callbacks import Callback, callback, internal_event, lifecycle
from deedbox.testing.crashes import Crash, crash_points
from deedbox.testing.playing import Call, play
from deedbox.testing.running import Ran, run

__all__ = [
    "Call",
    "Callback",
    "Crash",
    "Ran",
    "callback",
    "crash_points",
    "internal_event",
    "lifecycle",
    "play",
    "run",
]
