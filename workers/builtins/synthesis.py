"""Synthesises the events of lost callbacks: what the API proves to have happened goes the way of a callback, from the inbox on.

Deduplication, order, actions, timeline and everything else are those of a callback. The envelope says where it came from;
the sequencer gives way to every callback of the same event, whichever of both comes first.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from deedbox.shared import codec
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.gaps import ProvenEvent
from deedbox.shared.core.signature import BodySignature, Origin
from deedbox.shared.redis import inbox, keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.sealing.envelopes import sealed

NO_HASH: Final = "-"
"""In the place of ``event_hash``, which only Dropbox Sign can make, and which leaves Deedbox nowhere."""

BATCH: Final = 50
"""Events of one script call: each of them carries the whole request, as each of its callbacks would."""


class Synthesis:
    """Writes to the inbox; one per process."""

    def __init__(self, scripts: Scripts, ring: Callable[[str], None]) -> None:
        self._scripts = scripts
        self._ring = ring

    def release(
        self, stream: str, events: Sequence[ProvenEvent], request: Mapping[str, Any], trace_id: str, now: float
    ) -> None:  # fmt: skip
        """Hand events of one request to the sequencer, again where an earlier try has done so. Raises Unavailable."""
        source, _, key = stream.partition(":")
        for start in range(0, len(events), BATCH):
            load = inbox.Load()
            for each in events[start : start + BATCH]:
                envelope = Envelope(
                    source, now, BodySignature.ABSENT, trace_id or uuid.uuid4().hex, callback_of(each, request),
                    key=key, origin=Origin.RECONCILED,
                )  # fmt: skip
                load.add(sealed(codec.packed(envelope)))
            if inbox.append(self._scripts, load):
                self._ring(keys.SEQUENCER)


def callback_of(event: ProvenEvent, request: Mapping[str, Any]) -> bytes:
    """Return the JSON text of an event, in the form of a callback, with the request as the API shows it now."""
    document = {
        "event": {
            "event_type": event.type,
            "event_time": str(event.time),
            "event_hash": NO_HASH,
            "event_metadata": {
                "related_signature_id": event.signature or None,
                "reported_for_account_id": None,
                "reported_for_app_id": None,
                "event_message": event.message,
            },
        },
        "client_id": request.get("client_id"),
        "signature_request": request,
    }
    return json.dumps(document, separators=(",", ":")).encode()
