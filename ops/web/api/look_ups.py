"""``GET /api/requests``: signature requests by signature id, metadata or state, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from flask import jsonify
from pydantic import Field
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels.look_ups import LookUp, look_up
from deedbox.ops.web.api.operations import DocumentedAnswer, Operation, Query, query
from deedbox.ops.web.api.requests import SignerAnswer, Source, TrustAnswer
from deedbox.ops.web.auth.access import Refused

State = Literal[
    "unknown", "prepared", "sent", "viewed", "partly_signed", "error", "all_signed", "downloadable", "declined", "canceled",
    "expired", "invalid", "destroyed",
]  # fmt: skip

METADATA: Final = "metadata."


class LookUpQuery(Query):
    """Parameters; all that are given must fit."""

    source: Source = "default"
    """The tenant that received the callbacks: the name in /callbacks/<source>."""
    signature_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None
    """Only requests that have, or had, a signer of this signature id."""
    state: State | None = None
    """Only requests in this state."""
    test_mode: bool | None = None
    """Only test requests, or only others."""
    before: Annotated[str, Field(pattern=r"^[0-9]{1,12}\.[0-9]{1,7}~[!-~]{1,300}$")] | None = None
    """The next of an earlier page: continue there."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Requests of a page, at most."""
    metadata: Annotated[dict[str, str], Field(max_length=10, default_factory=dict)]
    """Given as metadata.NAME=VALUE."""


class FoundRequest(DocumentedAnswer):
    """A signature request that was found."""

    signature_request_id: str
    source: str
    state: str
    trust: TrustAnswer
    """How far to believe each field."""
    ready_to_sign: bool
    complete: bool
    closed: bool
    signers: list[SignerAnswer]
    title: str | None
    test_mode: bool | None
    updated_at: int | None
    """Event time of the latest event, unix seconds."""


class LookUpAnswer(DocumentedAnswer):
    """A page of requests, the latest change first."""

    requests: list[FoundRequest]
    next: str | None
    """Give it as before for the next page; null: there are no more. A page may be short, or empty, and have a next."""


OPERATION = Operation(
    name="requests",
    path="/api/requests",
    summary="Signature requests by signature id, metadata or state",
    description=(
        "`metadata.NAME=VALUE` finds requests whose metadata has this pair; it may be given several times, for several names. "
        "A request is found by what any callback about it, or the API, has said. About the 10,000 requests of each state, "
        "signature id or pair that changed last can be found, for 14 days after their last event by default."
    ),
    answer=LookUpAnswer,
    query=LookUpQuery,
    refusals=(Refused.BAD_REQUEST, Refused.UNAVAILABLE),
)


def look_up_view(installation: Installation) -> Callable[[], Response]:
    """Return the view."""

    def view() -> Response:
        asked = query(LookUpQuery, {"metadata": METADATA})
        wanted = LookUp(
            asked.source, asked.signature_id or "", asked.metadata, asked.state or "", asked.test_mode,
            asked.before or "", asked.limit,
        )  # fmt: skip
        found = look_up(installation.redis, wanted)
        rows: list[Any] = [FoundRequest.model_validate(each).model_dump() for each in found.requests]
        return jsonify({"requests": rows, "next": found.next})

    return view
