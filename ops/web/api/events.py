"""``GET /api/events``: the clean stream, in pages, by long poll, or as server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from flask import jsonify, request
from pydantic import Field, JsonValue
from werkzeug.wrappers import Response

from deedbox.ops.readmodels import events as clean
from deedbox.ops.readmodels.events import Cursor, CursorExpired, EventFilter, EventPage
from deedbox.ops.web.api import sse
from deedbox.ops.web.api.operations import SOURCE_PATTERN, DocumentedAnswer, Operation, Query, query
from deedbox.ops.web.api.waiting import RETRY_AFTER_S, WAIT_MAX_S, WaitingRoom
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.guard import caller
from deedbox.ops.web.auth.tokens import Scope
from deedbox.ops.web.errors import OpsError
from deedbox.shared.redis import keys

CURSOR_PATTERN: Final = f"^{clean.CURSOR_PATTERN}$"
LAST_EVENT_ID: Final = "Last-Event-ID"
NOW: Final = "now"
PROBE: Final = ("GET", keys.EVENTS_SEQ)
"""Grows with every event."""

_CURSOR: Final = {
    "anyOf": [{"type": "string", "pattern": CURSOR_PATTERN}, {"type": "string", "enum": [NOW]}],
}

Pattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,99}\*?$")]
SourceName = Annotated[str, Field(pattern=SOURCE_PATTERN)]


class EventsQuery(Query):
    """Parameters."""

    after: Annotated[str | None, Field(json_schema_extra=_CURSOR)] = None
    """A cursor of this API: only what comes after it. `now`: only what is still to come. Without it: from the oldest
    event that is kept."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """Events of one page."""
    type: tuple[Pattern, ...] = ()
    """Only these types; a prefix may end in *. May be given several times."""
    source: tuple[SourceName, ...] = ()
    """Only these tenants. May be given several times."""
    payload: Literal["0", "1"] = "0"
    """1: with the whole callback, which names signers and their addresses. Needs the scope documents."""
    wait: Annotated[float, Field(ge=0, le=WAIT_MAX_S, allow_inf_nan=False)] = 0.0
    """If there is no event yet, wait for one: for so many seconds."""


class EventAnswer(DocumentedAnswer):
    """One released event."""

    cursor: str
    """The place after this event."""
    event: str
    """Its fingerprint: the same fact has the same one, so that a repeat can be told."""
    type: str
    """A type of Dropbox Sign, or one of Deedbox's own, which begin with deedbox."""
    source: str
    ordering_key: str
    """Whose order it is in, such as signature_request/<id>."""
    signature_request_id: str | None
    """The signature request that it is about, if it is about one."""
    trace_id: str | None
    """Of the callback that reported it, as in the log; null if the event is kept no longer."""
    trust: Literal["disputed", "claimed", "attested", "confirmed"] | None
    """How far the payload is trusted: disputed (Content-Sha256 is wrong), claimed (only event_hash fits, which does not
    sign the body), attested (the vendor signed it) or confirmed (read from the API, or an event of Deedbox's own); null as
    trace_id."""
    origin: Literal["callback", "reconciled", "deedbox"] | None
    """Who reported it: callback (Dropbox Sign, by a callback), reconciled (the API; its callback is lost) or deedbox (an
    event of Deedbox's own); null as trace_id."""
    event_time: int
    """When it happened, unix seconds."""
    related_signature_id: str | None
    """Whose signature it is about, if it says so."""
    late: bool
    """It came after one that happened later had been released."""
    released_at: float
    """Unix seconds."""
    payload: dict[str, JsonValue] | None = None
    """With payload=1: the callback; null if it is kept no longer."""


class EventsAnswer(DocumentedAnswer):
    """A page of the clean stream."""

    events: list[EventAnswer]
    cursor: str
    """Ask on from here, with after=."""
    more: bool
    """There is more already."""
    waited: bool
    """Whether this answer was waited for."""
    busy: bool
    """With wait: as many clients wait as ops serves at a time, so this answer came at once. Ask again after
    Retry-After seconds."""


OPERATION = Operation(
    name="events",
    path="/api/events",
    summary="The clean stream: verified, deduplicated, in order",
    description=(
        "Every released event, and Deedbox's own, in the order of release: in order per ordering key, at least once. "
        "About DEEDBOX_EVENTS_KEEP events are kept; a cursor from before them is answered with 410 and the oldest "
        "cursor there is. With `Accept: text/event-stream`: server-sent events, resumed by Last-Event-ID; 503 if as "
        "many clients wait as ops serves at a time. `wait` is for pages only."
    ),
    answer=EventsAnswer,
    query=EventsQuery,
    headers={
        LAST_EVENT_ID: {
            "type": "string",
            "pattern": f"^$|{CURSOR_PATTERN}",
            "description": "A cursor; it wins over after. Browsers send it when they connect again.",
        }
    },
    media={sse.MEDIA_TYPE: "One message per event: its cursor as id, and the event as JSON in data."},
    refusals=(Refused.BAD_REQUEST, Refused.NOT_FOUND, Refused.GONE, Refused.UNAVAILABLE),
)


def events_view(room: WaitingRoom) -> Callable[[], Response]:
    """Return the view."""

    def view() -> Response:
        asked = query(EventsQuery)
        with_payload = asked.payload == "1"
        if with_payload and Scope.DOCUMENTS not in caller().scopes:
            detail = f"payload=1 needs the scope documents, which the token {caller().name} has not"
            raise OpsError(Refused.FORBIDDEN, detail)
        if not room.installation.settings.events_keep:
            raise OpsError(Refused.NOT_FOUND, "there is no list of events: DEEDBOX_EVENTS_KEEP is 0")
        reader = Reader(room, EventFilter(asked.limit, asked.type, asked.source), with_payload=with_payload)
        named = _named_place(asked.after)  # read in any case: a mistake is told where Last-Event-ID wins, too
        resumed = request.headers.get(LAST_EVENT_ID)
        after = parsed(LAST_EVENT_ID, resumed) if resumed else named or reader.end(asked.after)
        seen = room.look(PROBE)  # before the page: what comes between the two is news to the watcher
        if request.accept_mimetypes.best_match(["application/json", sse.MEDIA_TYPE]) == sse.MEDIA_TYPE:
            return sse.stream(room, reader.page, after, PROBE)
        return _page(room, reader, after, seen, asked.wait)

    return view


def _named_place(after: str | None) -> Cursor | None:
    return None if after in (None, NOW) else parsed("after", after or "")


def parsed(name: str, text: str) -> Cursor:
    """Read a cursor. Raises OpsError that names where it stood."""
    try:
        return Cursor.parse(text)
    except ValueError as error:
        raise OpsError(Refused.BAD_REQUEST, f"{name} is not usable: it {error}") from None


class Reader:
    """Reads pages as one client wants them."""

    def __init__(self, room: WaitingRoom, wanted: EventFilter, *, with_payload: bool) -> None:
        self._room = room
        self._wanted = wanted
        self._with_payload = with_payload

    def end(self, after: str | None) -> Cursor:
        """Return the newest place there is (`now`), or the oldest. Raises Unavailable."""
        return clean.newest(self._room.redis) if after == NOW else clean.oldest(self._room.redis)

    def page(self, after: Cursor) -> EventPage:
        """Return the next page. Raises OpsError (gone), Unavailable."""
        try:
            page = clean.read(self._room.redis, after, self._wanted)
        except CursorExpired as error:
            detail = f"{error}; go on with after={error.oldest}, and read the state of your requests anew"
            raise OpsError(Refused.GONE, detail, oldest=error.oldest) from None
        page = clean.with_heads(self._room.redis, page)
        return clean.with_payloads(self._room.redis, page) if self._with_payload else page


def _page(room: WaitingRoom, reader: Reader, after: Cursor, seen: Any, wait_s: float) -> Response:
    page, waited, busy = reader.page(after), False, False
    if not page.events and not page.more and wait_s:
        latest = page

        def arrived(_reply: Any) -> bool:
            nonlocal latest
            # On from where the last look ended: what a filter left out is not read again.
            latest = reader.page(latest.cursor)
            return bool(latest.events)

        waited = room.wait(PROBE, seen, arrived, wait_s)
        page, busy = latest, not waited
    body = {
        "events": page.events,
        "cursor": str(page.cursor),
        "more": page.more,
        "waited": waited,
        "busy": busy,
    }
    response = jsonify(body)
    if busy:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response
