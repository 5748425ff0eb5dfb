"""``GET /api/requests/<id>/documents/<n>``: a stored document, byte for byte what was stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from flask import request, send_file
from werkzeug.wrappers import Response

from deedbox.ops.readmodels.requests import Document, read
from deedbox.ops.web.api.operations import REQUEST_ID, Operation, Query, query
from deedbox.ops.web.api.requests import Source, Unknown
from deedbox.ops.web.api.waiting import WaitingRoom
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.tokens import Scope
from deedbox.ops.web.errors import OpsError
from deedbox.shared.documents import Altered, DocumentStore, StoreMarks

MEDIA: Final = {"pdf": "application/pdf", "zip": "application/zip"}
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


class DocumentQuery(Query):
    """Parameters."""

    source: Source = "default"
    """The tenant that received the callbacks: the name in /callbacks/<source>."""


OPERATION = Operation(
    name="document",
    path="/api/requests/{request_id}/documents/{n}",
    summary="A stored document",
    description=(
        "The bytes whose SHA-256 stands in the request's `documents`; ETag is that digest. Answers Range and "
        "If-None-Match. 410: the file is not in the store any more, or is not what was stored. 503: it lies in the store of "
        "another host."
    ),
    answer=None,
    query=DocumentQuery,
    path_parameters={
        "request_id": REQUEST_ID,
        "n": {"type": "integer", "minimum": 1, "maximum": 999_999, "description": "Number of the version."},
    },
    headers={
        "Range": {"type": "string", "description": "Part of the document, such as bytes=0-1023."},
        "If-None-Match": {"type": "string", "description": "A known ETag: 304 if it is still that."},
    },
    scope=Scope.DOCUMENTS,
    media=dict.fromkeys(MEDIA.values(), "The document."),
    statuses={206: "The part that Range asked for.", 304: "It is the one that the client has."},
    refusals=(
        Refused.BAD_REQUEST, Refused.NOT_FOUND, Refused.GONE, Refused.RANGE_NOT_SATISFIABLE, Refused.UNAVAILABLE,
    ),
)  # fmt: skip


def document_view(room: WaitingRoom, store: DocumentStore) -> Callable[[str, str], Response]:
    """Return the view."""

    def view(request_id: str, n: str) -> Response:
        source = query(DocumentQuery).source
        found = read(room.redis, source, request_id)
        if found is None:
            raise Unknown(source)
        number = int(n) if _NUMBER.fullmatch(n) else 0
        document = next((each for each in found.documents if each.n == number), None)
        if document is None:
            raise OpsError(
                Refused.NOT_FOUND,
                f"the request has no document of this number; it has {len(found.documents)}",
            )
        try:
            file = store.open(source, request_id, document.sha256, document.type)
        except FileNotFoundError:
            raise _missing(room, store, document) from None
        except Altered:
            detail = "the stored file is not the document that was stored: its SHA-256 differs"
            raise OpsError(Refused.GONE, detail) from None
        response = send_file(
            file,
            MEDIA[document.type],
            as_attachment=True,
            download_name=f"{request_id}-{document.sha256[:8]}.{document.type}",
            conditional=False,
            etag=document.sha256,
            last_modified=document.stored_at,
        )
        response.content_length = document.size_bytes
        response.make_conditional(request.environ, accept_ranges=True, complete_length=document.size_bytes)
        return response

    return view


def _missing(room: WaitingRoom, store: DocumentStore, document: Document) -> OpsError:
    """Tell a document that is gone from one that lies where this host cannot read it. Raises Unavailable."""
    if not document.store or document.store == store.mark_here():
        return OpsError(Refused.GONE, "the document is not in the store any more")
    mark = next((each for each in StoreMarks(room.redis).all() if each.store == document.store), None)
    where = f"on host {mark.host}, in {mark.path}" if mark else "in another store"
    return OpsError(
        Refused.UNAVAILABLE,
        f"the document is stored {where}, which this host cannot read; set DEEDBOX_DOCUMENTS_URL of both to "
        "one bucket, or to one directory that both mount",
    )
