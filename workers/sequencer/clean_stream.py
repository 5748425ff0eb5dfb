"""The clean stream: one entry per released event, written by the commit that releases it.

Events of one key stand in it in the order of their release, because one lease at a time releases a key's events.
An entry refers to the stored event; it holds no payload.
"""

from __future__ import annotations

from deedbox.shared.core.identity import is_file_safe
from deedbox.workers.lanes.batch import Operand


def clean_stream_entry(
    keep: int,
    fingerprint: str,
    event_type: str,
    event_time: int,
    signature: str | None,
    *,
    late: bool,
) -> list[list[Operand]]:
    """Return the operation that adds an event, for ``release.lua`` and ``finish.lua``; none if there is no stream.

    ``keep``: entries that the stream is cut to; 0: there is none.
    """
    if not keep:
        return []
    # Nobody signs a signature id: what is none could be a text of any kind and length.
    known = signature if signature is not None and is_file_safe(signature) else ""
    return [["X", keep, fingerprint, event_type, event_time, known, int(late)]]
