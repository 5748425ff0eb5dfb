"""``GET /api/requests/<id>``: where a signature request stands, at once or when it has got there."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final, Literal

from flask import jsonify
from pydantic import Field
from redis import Redis
from redis.exceptions import RedisError
from werkzeug.wrappers import Response

from deedbox.ops.readmodels.requests import SignatureRequest, request_keys
from deedbox.ops.web.api.operations import (
    REQUEST_ID,
    SOURCE_PATTERN,
    DocumentedAnswer,
    Operation,
    Query,
    query,
)
from deedbox.ops.web.api.waiting import RETRY_AFTER_S, WAIT_MAX_S, WaitingRoom
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.errors import OpsError
from deedbox.ops.wording import trace_page
from deedbox.shared.core.identity import is_file_safe
from deedbox.shared.core.status import COMPLETE
from deedbox.shared.records.tombstone import Tombstone
from deedbox.shared.redis import keys

Source = Annotated[str, Field(pattern=SOURCE_PATTERN)]

Told = Callable[[SignatureRequest], bool]

_MET: Final[dict[str, Told]] = {
    "ready_to_sign": lambda found: found.ready_to_sign,
    "complete": lambda found: found.complete,
    "documents": lambda found: bool(found.documents),
}


def _in_vain(found: SignatureRequest, wait: str | None) -> bool:
    """Tell whether what was asked for can never be so any more."""
    return found.closed or (wait == "ready_to_sign" and found.vouched in COMPLETE)


class RequestQuery(Query):
    """Parameters."""

    source: Source = "default"
    """The tenant that received the callbacks: the name in /callbacks/<source>."""
    wait: Literal["ready_to_sign", "complete", "documents"] | None = None
    """Answer when this is so, or when the request has ended otherwise, or when the timeout is over."""
    timeout: Annotated[float, Field(ge=0, le=WAIT_MAX_S, allow_inf_nan=False)] = WAIT_MAX_S
    """How long to wait, in seconds. Without wait it means nothing."""


class SignerAnswer(DocumentedAnswer):
    """One signer, by signature id: no name, no address."""

    signature_id: str
    state: Literal["awaiting_signature", "viewed", "signed", "declined", "removed"]
    """How far this signer got."""


class DocumentAnswer(DocumentedAnswer):
    """One stored version of the final document."""

    n: int
    """Its number, for /documents/{n}; 1 is the oldest."""
    sha256: str
    """Of its bytes, in hexadecimal; also its ETag."""
    size_bytes: int
    type: Literal["pdf", "zip"]
    stored_at: float
    """Unix seconds."""
    current: bool
    """The version that counts."""


Level = Literal["disputed", "claimed", "attested", "confirmed"]


class TrustAnswer(DocumentedAnswer):
    """How far each field, or group of fields, is trusted; null: nothing is known of it."""

    state: Level | None = None
    """Of state. complete rests on confirmed alone; ready_to_sign and closed on attested or confirmed."""
    signers: Level | None = None
    title: Level | None = None
    test_mode: Level | None = None


class RequestAnswer(DocumentedAnswer):
    """A signature request."""

    signature_request_id: str
    source: str
    state: str
    """unknown, prepared, sent, viewed, partly_signed, error, all_signed, downloadable, declined, canceled, expired,
    invalid or destroyed. Callbacks without a valid body signature may claim it: see trust.state. It goes back only when a higher
    level of trust corrects a lower one."""
    trust: TrustAnswer
    """How far to believe each field: disputed, claimed (only event_hash fits, which does not sign the body), attested (the
    vendor signed the body) or confirmed (read from the API)."""
    ready_to_sign: bool
    """Signers can sign now: it was sent, or somebody has viewed or signed it, and it is neither complete nor closed.
    Attested or confirmed."""
    complete: bool
    """Everybody has signed: the API said so."""
    closed: bool
    """It ended in another way (declined, canceled, expired, invalid, error, destroyed): waiting for more is in vain.
    Attested or confirmed. With wait=ready_to_sign also true once everybody has signed."""
    signers: list[SignerAnswer]
    documents: list[DocumentAnswer]
    title: str | None
    test_mode: bool | None
    updated_at: int | None
    """Event time of the latest event, unix seconds."""
    waited: bool = False
    """Whether this answer was waited for."""
    met: bool | None = None
    """With wait: whether what was waited for is so. Null without it."""
    busy: bool = False
    """With wait: as many clients wait as ops serves at a time, so this answer came at once. Ask again after
    Retry-After seconds."""


OPERATION = Operation(
    name="request",
    path="/api/requests/{request_id}",
    summary="Where a signature request stands",
    description=(
        "404 until the first callback about the request has come and was worked off; with `wait`, that is waited for "
        "too. Kept for 14 days after its last event by default."
    ),
    answer=RequestAnswer,
    query=RequestQuery,
    path_parameters={"request_id": REQUEST_ID},
    refusals=(Refused.BAD_REQUEST, Refused.NOT_FOUND, Refused.UNAVAILABLE),
)


def request_view(room: WaitingRoom) -> Callable[[str], Response]:
    """Return the view."""

    def view(request_id: str) -> Response:
        asked = query(RequestQuery)
        names = request_keys(asked.source, request_id)
        if names is None:
            raise Unknown(asked.source)
        probe = ("MGET", *names)

        def found(replies: Any) -> SignatureRequest | None:
            return SignatureRequest.of(room.redis, asked.source, request_id, replies)

        replies = room.look(probe)
        if asked.wait is None:
            return _answer(found(replies), asked)
        met = _MET[asked.wait]

        def settled(replies: Any) -> bool:
            now = found(replies)
            over = now is not None and (met(now) or _in_vain(now, asked.wait))
            _confirm(room.redis, None if over else now)
            return over

        if settled(replies) or asked.timeout == 0:
            return _answer(found(replies), asked, met)
        waited = room.wait(probe, replies, settled, asked.timeout)
        return _answer(found(room.look(probe)), asked, met, waited=waited, busy=not waited)

    def answered(request_id: str) -> Response:
        try:
            return view(request_id)
        except Unknown as error:
            raise _erased(room, error.source, request_id) or error from None

    return answered


ASKED_MAX: Final = 1000
ASKED_LIFE_S: Final = 600
"""How many look-ups may be asked for at a time, and how long (seconds) the list stays if nobody reads it."""


def _confirm(redis: Redis, found: SignatureRequest | None) -> None:
    """Ask for a look-up of what callbacks only claim. Without a Redis that takes it, the client waits for callbacks alone."""
    if found is None or not found.unconfirmed:
        return
    stream = f"{found.source}:signature_request/{found.signature_request_id}"
    with suppress(RedisError), redis.pipeline() as pipe:
        pipe.zadd(keys.CONFIRM_DUE, {stream: time.time()}, nx=True)
        # A sweeper empties it several times a second; where none runs, or none that may look up, it must not grow.
        pipe.zremrangebyrank(keys.CONFIRM_DUE, 0, -ASKED_MAX - 1)
        pipe.expire(keys.CONFIRM_DUE, ASKED_LIFE_S)
        pipe.execute()


class Unknown(OpsError):
    """Nothing is known about a request of this source."""

    def __init__(self, source: str) -> None:
        super().__init__(
            Refused.NOT_FOUND,
            f"unknown signature request of the source {source}; for another source add ?source=NAME",
        )
        self.source = source


def _erased(room: WaitingRoom, source: str, request_id: str) -> OpsError | None:
    """Return the answer about a request that was erased; None for any other. Raises Unavailable."""
    key = f"signature_request/{request_id}"
    stone = room.look(("GET", keys.erased(f"{source}:{key}"))) if is_file_safe(request_id) else None
    found = Tombstone.load(stone) if stone else None
    return OpsError(Refused.NOT_FOUND, trace_page.erased(source, key, found.at)) if found else None


def _answer(
    found: SignatureRequest | None,
    asked: RequestQuery,
    met: Told | None = None,
    *,
    waited: bool = False,
    busy: bool = False,
) -> Response:
    if found is None:
        raise Unknown(asked.source)
    body = RequestAnswer.model_validate(found).model_dump()
    closed = _in_vain(found, asked.wait)
    body |= {"closed": closed, "waited": waited, "met": None if met is None else met(found), "busy": busy}
    response = jsonify(body)
    if busy:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response
