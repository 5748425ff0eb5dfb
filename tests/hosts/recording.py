"""The evidence of calls on hosts whose clock may be wrong: their lines have the right time."""

from __future__ import annotations

import json
import os
from typing import Final

from deedbox import Context, Event, action
from deedbox.workers.builtins import recorder
from tests.hosts.differences import AHEAD_VARIABLE

PATH_VARIABLE: Final = "DEEDBOX_RECORD_PATH"

if PATH_VARIABLE in os.environ:  # in a worker

    @action("*", "deedbox.*", name="record")
    def record(event: Event, context: Context) -> None:
        """Append one line, as the recorder does."""
        facts = recorder.facts(event, context)
        facts["at"] -= int(os.environ.get(AHEAD_VARIABLE, "0"))
        descriptor = os.open(os.environ[PATH_VARIABLE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, json.dumps(facts).encode() + b"\n")
        finally:
            os.close(descriptor)
