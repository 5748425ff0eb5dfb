"""Signature requests: the search, and the page of one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from flask import Blueprint, redirect, render_template, request, url_for
from redis import Redis
from werkzeug.routing import BuildError
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import look_ups, request_search, timeline
from deedbox.ops.readmodels.destinations import deliveries
from deedbox.ops.readmodels.look_ups import LookUp
from deedbox.ops.readmodels.request_search import Hit
from deedbox.ops.readmodels.requests import SignatureRequest
from deedbox.ops.readmodels.timeline import Timeline
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.errors import OpsError
from deedbox.ops.wording import commands, trace_page
from deedbox.shared.archives import reading as archives
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.core.status import STATES
from deedbox.shared.records.document_record import DocumentRecord
from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis import keys
from deedbox.shared.redis.request_keys import Holdings, Subject

QUERY_MAX_CHARS: Final = 200
WAITING_SHOWN: Final = 20
MODES: Final = {"test": True, "live": False}
"""What the form calls test mode."""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a timeline, told."""

    at: float
    after_s: float
    """Since the first entry."""
    kind: str
    subject: str
    told: str
    next_at: float | None = None
    """When the next attempt is due, unix seconds; None once that is past."""
    reason: str = ""
    """Of a dead letter."""


def create_request_pages(installation: Installation) -> Blueprint:
    """Return the routes."""
    blueprint = Blueprint("requests", __name__)

    @blueprint.get("/requests")
    def search() -> str | Response:
        query = request.args.get("q", "").strip()[:QUERY_MAX_CHARS]
        filters = _filters(query)
        if filters is not None:
            return _filtered(installation, filters, query)
        found = request_search.search(installation.redis, installation.source_names(), query)
        exact = [hit for hit in found.hits if query and query in {hit.identifier, hit.ordering_key}]
        if len(exact) == 1:
            [hit] = exact
            return redirect(url_for("requests.one", source=hit.source, ordering_key=hit.ordering_key))
        sources = tuple(installation.source_names())
        return render_template(
            "requests.html", query=query, found=found, keep=keys.REQUESTS_KEEP, states=STATES, sources=sources,
            waiting=[] if query else _waiting(installation.redis, sources),
        )  # fmt: skip

    @blueprint.get("/requests/<source>/<path:ordering_key>")
    def one(source: str, ordering_key: str) -> str:
        return _page(installation, source, ordering_key)

    @blueprint.get("/live/requests/<source>/<path:ordering_key>")
    def live(source: str, ordering_key: str) -> str:
        return _page(installation, source, ordering_key, template="_request.html")

    return blueprint


def _filters(query: str) -> LookUp | None:
    """Return what the forms ask for, as the index knows it; None for a text, or for nothing. Raises OpsError."""
    given = {name: request.args.get(name, "").strip() for name in ("state", "mode", "before", "source")}
    name, separator, value = (each.strip() for each in query.partition("="))
    if query and not separator:
        return None
    if not any((given["state"], given["mode"], value)):
        return None
    if given["state"] not in {"", *STATES} or given["mode"] not in {"", *MODES}:
        raise OpsError(Refused.BAD_REQUEST, "state or mode is none that there is; choose them in the form")
    signature = value if name == "signature_id" else ""
    return LookUp(
        given["source"] or "default",
        signature_id=signature,
        metadata={name.removeprefix("metadata."): value} if value and not signature else {},
        state=given["state"],
        test_mode=MODES.get(given["mode"]),
        before=given["before"],
    )


def _filtered(installation: Installation, wanted: LookUp, query: str) -> str:
    try:
        page = look_ups.look_up(installation.redis, wanted)
    except ValueError:
        raise OpsError(Refused.BAD_REQUEST, "before is no place that an earlier page gave") from None
    return render_template(
        "requests.html", query=query, wanted=wanted, hits=[_hit(each) for each in page.requests], next=page.next, states=STATES, sources=tuple(installation.source_names()),
        mode=request.args.get("mode", ""),
    )  # fmt: skip


def _waiting(redis: Redis, sources: tuple[str, ...]) -> list[Hit]:
    """Return the requests that have waited for signers longest."""
    return [_hit(request) for _, request in look_ups.waiting_longest(redis, sources, WAITING_SHOWN)]


def _hit(request: SignatureRequest) -> Hit:
    states = [each.state for each in request.signers if each.state != "removed"]
    return Hit(
        request.source, f"signature_request/{request.signature_request_id}", request.state,
        request.trust.get("state", ""), request.title or "", states.count("signed"), len(states), request.updated_at,
        test_mode=bool(request.test_mode),
    )  # fmt: skip


def _page(installation: Installation, source: str, ordering_key: str, template: str = "request.html") -> str:
    redis = installation.redis
    found = timeline.read(redis, source, ordering_key)
    if found is None:
        raise OpsError(
            Refused.NOT_FOUND,
            f"nothing is known about {ordering_key} of source {source}; search for its id: timelines live for some "
            "days after the last event",
        )
    names = list(dict.fromkeys([*installation.source_names(), source]))
    others = [place for place in timeline.elsewhere(redis, names, ordering_key)
              if place != (source, ordering_key)]  # fmt: skip
    signers = found.model.get("signers")
    holdings = Holdings(redis)
    return render_template(
        template,
        timeline=found,
        lines=lines_of(found.entries, found),
        signers=signers if isinstance(signers, dict) else {},
        documents=_documents(archives.values(redis, [f"{source}:{ordering_key}"], "document")[0][0]),
        download=partial(_download, source, ordering_key.partition("/")[2]),
        others=others,
        letters=len(holdings.letters(Subject(source, ordering_key))),
        queued=holdings.queued(f"{source}:{ordering_key}"),
        destinations=[(each, lines_of(each.attempts, found)) for each in deliveries(found.entries)],
        actions=[each.name for each in announced(redis).actions],
        command=commands.trace(ordering_key, source),
    )


def lines_of(entries: Iterable[Mapping[str, Any]], found: Timeline) -> list[Line]:
    """Tell these entries of a timeline."""
    first_at = float(found.entries[0]["at"])
    return [_line(entry, first_at, found.now) for entry in entries]


def _line(entry: Mapping[str, Any], first_at: float, now: float) -> Line:
    at = float(entry["at"])
    next_at = entry.get("next_at") if entry["kind"] == TimelineKind.RETRY else None
    return Line(
        at,
        at - first_at,
        str(entry["kind"]),
        trace_page.subject(entry).replace(" -> ", " → "),
        trace_page.told(entry),
        float(next_at) if isinstance(next_at, int | float) and next_at > now else None,
        str(entry.get("reason", "")) if entry["kind"] == TimelineKind.DEAD else "",
    )


def _download(source: str, request_id: str, number: int) -> str:
    """Return where the status API serves a version; empty where it does not run."""
    try:
        return url_for("api.document", request_id=request_id, n=number, source=source)
    except BuildError:
        return ""


def _documents(record: bytes | None) -> Sequence[Mapping[str, Any]]:
    """Return the stored versions, the current one last."""
    found = DocumentRecord.load(record)
    return found.versions if found else []
