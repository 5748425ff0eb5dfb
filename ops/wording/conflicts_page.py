"""Conflicts for people and programs. Values stay out, but where both bodies are asked for."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any, Final

from deedbox.ops.repair.conflicts import PATHS_MAX, Conflict
from deedbox.ops.wording.output import clock, counted, masked, write_line

SHORT_CHARS: Final = 12
"""Of a digest: what `trace` shows."""


def document(conflict: Conflict) -> dict[str, Any]:
    """Return JSON values."""
    other = conflict.other
    return {
        "body": conflict.body_digest,
        "event": other.fingerprint.partition(":")[0],
        "type": other.event_type,
        "event_time": other.event_time,
        "received_at": other.received_at,
        "body_signature": str(other.body_signature),
        "trust": other.trust.word,
        "applied": conflict.applied,
        "differs_in": [masked(path) for path in conflict.differences()],
    }


def bodies(conflict: Conflict) -> dict[str, Any]:
    """Return both payloads."""
    first = conflict.first.payload() if conflict.first is not None else None
    return {"processed": first, "other": conflict.other.payload()}


def write_list(conflicts: Sequence[Conflict]) -> None:
    """Write one paragraph per conflict."""
    if not conflicts:
        write_line("No conflict is kept. Conflicting bodies live for DEEDBOX_EVENT_RETENTION_DAYS.")
        return
    for conflict in conflicts:
        row = document(conflict)
        received = f"{clock(conflict.other.received_at)} UTC"
        state = "applied already" if conflict.applied else "kept aside"
        write_line(
            f"{row['body'][:SHORT_CHARS]}  another body of {row['type']}, received {received}, {state}"
        )
        write_line(
            f"  body signature {row['body_signature']} ({row['trust']}); {_told(conflict, row['differs_in'])}"
        )


def write_difference(conflict: Conflict) -> None:
    """Write the lines in which both payloads differ, with two lines around each."""
    old, new = (json.dumps(each, indent=2, sort_keys=True).splitlines() for each in bodies(conflict).values())
    lines = list(difflib.unified_diff(old, new, "processed", "other", lineterm="", n=2))
    for line in lines or ["Both have the same content."]:
        write_line(line)


def _told(conflict: Conflict, paths: list[str]) -> str:
    if conflict.first is None:
        return "the body that was processed has expired"
    more = " and maybe more" if len(paths) == PATHS_MAX else ""
    return f"differs in {counted(len(paths), 'field')}{more}: {', '.join(paths)}"
