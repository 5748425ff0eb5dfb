"""An action that writes down every call: the evidence of ``deedbox demo``, of tests and of benchmarks.

``DEEDBOX_ACTIONS=deedbox.workers.builtins.recorder`` registers it, ``DEEDBOX_RECORD_PATH`` names the file. One JSON object per
line, in the order of the calls; a call that a crash repeats has its own line with the same idempotency key.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Final

from deedbox.workers.actions import Context, Event, Reject, action

PATH_VARIABLE: Final = "DEEDBOX_RECORD_PATH"


@action("*", "deedbox.*", name="record")
def record(event: Event, context: Context) -> None:
    """Append one line. It holds ids, times and flags, never a payload."""
    path = os.environ.get(PATH_VARIABLE)
    if not path:
        raise Reject(f"{PATH_VARIABLE} is not set; set it to the file to write, or leave this action out")
    line = json.dumps(facts(event, context), separators=(",", ":")).encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # One write per line: with O_APPEND the lines of several processes never run into each other.
        if os.write(descriptor, line) != len(line):
            raise OSError("the record was cut off; the disk may be full")
    finally:
        os.close(descriptor)


def facts(event: Event, context: Context) -> dict[str, Any]:
    """Return what one line says."""
    row: dict[str, Any] = {
        "at": round(time.time(), 6),
        "idempotency_key": context.idempotency_key,
        "attempt": context.attempt,
        "replay": context.replay,
        "type": event.type,
        "time": event.time,
        "source": event.source,
        "key": event.ordering_key,
        "signature_request_id": event.signature_request_id,
        "related_signature_id": event.related_signature_id,
        "late": event.late,
        "body_signature": event.body_signature,
        "trust": event.trust,
        "origin": event.origin,
    }
    if event.type == "deedbox.document_stored":
        row["sha256"] = event.payload.get("sha256")
        row["signature_request_id"] = event.payload.get("signature_request_id")
    return row
