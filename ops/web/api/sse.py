"""Server-sent events: the clean stream down one connection, for as long as the client listens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from flask import Response

from deedbox.ops.readmodels.events import Cursor, EventPage
from deedbox.ops.web.api.waiting import WaitingRoom
from deedbox.ops.web.api.watcher import Patience, Probe, Watch
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.errors import OpsError
from deedbox.shared.core.errors import DeedboxError

MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
"""Proxies close what is silent for longer, most of them after 30 or 60 s."""

STREAM_MAX_S: Final = 900.0
"""Then the stream ends and the client connects again, with its token: one that was taken away reads no longer."""

RETRY_MS: Final = 2000


def stream(
    room: WaitingRoom,
    read: Callable[[Cursor], EventPage],
    after: Cursor,
    probe: Probe,
) -> Response:
    """Return the answer that streams. Raises OpsError if the cursor is gone or no seat is free."""
    with ExitStack() as stack:
        if not stack.enter_context(room.seats.taken()):
            detail = f"{room.seats.total} clients wait already, which is all that ops serves at a time; poll instead"
            raise OpsError(Refused.UNAVAILABLE, detail)
        seen = room.look(probe)
        first = read(after)  # an error here is still an answer with a status
        watch = stack.enter_context(room.watcher.watching(probe, seen))
        frames = Frames(read, watch, room.patience(STREAM_MAX_S))
        response = Response(frames.run(after, first), mimetype=MEDIA_TYPE)
        # The generator may never be started (HEAD), so it cannot be the one that gives the seat back.
        response.call_on_close(stack.pop_all().close)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would collect what should leave at once
    return response


@dataclass
class Frames:
    """What one client is sent."""

    read: Callable[[Cursor], EventPage]
    watch: Watch
    patience: Patience

    def run(self, after: Cursor, page: EventPage | None) -> Iterator[str]:
        """Yield frames until the client, its time, or the process is gone."""
        told, told_at = str(after), time.monotonic()
        # At once, so that a client which connects again before the first event resumes from here.
        yield f"retry: {RETRY_MS}\n{_progress(told)}"
        while page is not None and (wait_s := self.patience.left_s):
            frame = "".join(_message(event) for event in page.events)
            if not frame and time.monotonic() - told_at >= HEARTBEAT_S:
                # What a filter left out moves the client's place too, or it would point to what is kept no longer.
                frame = ": still here\n\n" if told == str(page.cursor) else _progress(str(page.cursor))
            if frame:
                yield frame
                told, told_at = str(page.cursor), time.monotonic()
            if not page.more and self.watch.changed(wait_s) is None:
                page = EventPage([], page.cursor, more=False)
                continue
            try:
                page = self.read(page.cursor)
            except OpsError as error:
                # The client was too slow; its next connection gets the same as a status.
                problem = {"error": str(error.reason), "detail": error.detail, **error.more}
                yield f"event: problem\ndata: {json.dumps(problem)}\n\n"
                return
            except DeedboxError:
                return  # the client connects again, and a 503 says why


def _message(event: dict[str, Any]) -> str:
    return f"id: {event['cursor']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n"


def _progress(cursor: str) -> str:
    return f"event: progress\nid: {cursor}\ndata: {{}}\n\n"
