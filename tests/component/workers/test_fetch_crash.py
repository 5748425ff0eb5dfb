"""``fetch_documents`` after a crash, and beside another fetch of the same request."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.records import queue_entry
from deedbox.shared.records.document_record import DocumentRecord
from deedbox.shared.redis import keys
from tests.component.workers.fetch_desk import (
    DOWNLOADABLE,
    LANE,
    Desk,
    desk,
    open_desk,
)
from tests.component.workers.rig import (
    callback,
    expire_units,
)

__all__ = ["desk", "open_desk"]

pytestmark = pytest.mark.real_redis


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def test_a_call_repeated_after_a_crash_fetches_nothing_twice_and_still_tells(desk: Desk) -> None:
    """The crash came between the record of the document and the commit of the call."""
    lane = desk.deployment.lanes[LANE]

    def die(batch: Any, claim: Any = ()) -> Any:  # noqa: ARG001 - the method's name for it
        if threading.current_thread() is threading.main_thread():
            raise Killed
        return ()  # the attendant of a slow call: what it would commit dies with the process too

    commit, lane._commit = lane._commit, die  # type: ignore[method-assign]
    desk.deployment.deliver(callback(DOWNLOADABLE))
    desk.deployment.drain()
    with pytest.raises(Killed):
        desk.deployment.work(LANE)
    lane._commit = commit  # type: ignore[method-assign]
    assert (desk.calls(), desk.stored.calls) == (1, [])
    expire_units(desk.state, "leased")
    desk.deployment.sweeper.once()
    desk.deployment.run()
    assert (desk.calls(), len(desk.stored.calls)) == (1, 1)


def test_a_crash_after_the_record_does_not_keep_the_requests_other_events_waiting(desk: Desk) -> None:
    """The killed call's mark lives for minutes; the call that repeats it takes it away, though it fetches nothing."""
    desk.happen(DOWNLOADABLE)
    record = DocumentRecord.load(desk.state.get(keys.document("default:signature_request/r1")))  # type: ignore[arg-type]
    assert record
    (mark,) = record.fetched_by
    desk.state.set(keys.fetching("default:signature_request/r1"), mark)
    fingerprint = mark.partition(":")[0]
    entry = queue_entry.dump(QueueEntry(fingerprint, enqueued_at=0.0))
    unit = f"fetch_documents|default:signature_request/r1|{fingerprint}"
    desk.state.rpush(keys.queue(unit), entry)
    desk.state.zadd(keys.action("fetch_documents", "ready"), {unit: 0})
    desk.deployment.work(LANE)
    assert desk.state.get(keys.fetching("default:signature_request/r1")) is None


def test_a_fetch_that_was_killed_is_taken_up_by_the_same_event_at_once(desk: Desk) -> None:
    """The mark that excludes a second fetch outlives the killed process by minutes."""
    seen: list[str] = []

    def spy(event: Any, context: Any) -> None:
        seen.append(context.idempotency_key)
        desk.state.set(keys.fetching("default:signature_request/r1"), context.idempotency_key)
        desk_fetch(event, context)

    desk_fetch = desk.fetch
    registered = desk.deployment.registry.get("fetch_documents")
    assert registered is not None
    object.__setattr__(registered, "function", spy)
    desk.happen(DOWNLOADABLE)
    assert (len(seen), len(desk.sidecars())) == (1, 1)


def test_another_fetch_of_the_same_request_is_waited_for(desk: Desk) -> None:
    desk.state.set(keys.fetching("default:signature_request/r1"), "somebody")
    desk.happen(DOWNLOADABLE)
    assert desk.waits()
    assert desk.calls() == 0
    assert desk.state.get(keys.fetching("default:signature_request/r1")) == b"somebody"
