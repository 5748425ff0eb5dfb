"""``GET /api/events``: the clean stream, in pages and as server-sent events, to consumers that come and go."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.parse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.readmodels import events
from deedbox.ops.web.api.watcher import SEATS
from deedbox.shared.redis import keys
from tests.component.ops_web.asking import Listener, arrive, get, meanwhile, tracking
from tests.component.ops_web.conftest import READER, Ops, StartOps, running_ops
from tests.component.workers.rig import CREATED_AT, TRACE, P, callback, sent, viewed
from tests.component.workers.server import RedisServer, until
from tests.support.pages import blocks, run

pytestmark = pytest.mark.real_redis


def _types(page: Any) -> list[str]:
    return [event["type"].removeprefix(P) for event in page["events"]]


def _all_signed(at_s: int = 9) -> bytes:
    return callback(P + "all_signed", at_s, created_at=CREATED_AT)


def test_events_stand_in_the_order_of_release_each_once(ops: Ops, state: Redis) -> None:
    deployment = tracking(state)
    arrive(deployment, viewed(5), sent(0), viewed(5), _all_signed())

    page = get(ops, "/api/events")

    assert _types(page) == ["sent", "viewed", "all_signed", "deedbox.announced"]
    assert not page["more"]
    first = page["events"][0]
    assert {name: first[name] for name in ("source", "ordering_key", "event_time", "late")} == {
        "source": "default", "ordering_key": "signature_request/r1", "event_time": CREATED_AT, "late": False,
    }  # fmt: skip
    assert page["events"][1]["related_signature_id"] == "s1"
    assert "payload" not in first


def test_the_consumer_of_the_page_reads_every_event_and_waits_for_more(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0), viewed(5), _all_signed())
    [code] = blocks("docs/api.md", "python")
    read = run(code)["events"](ops=ops.url, token=READER)
    found = [next(read) for _ in range(4)]
    assert _types({"events": found}) == ["sent", "viewed", "all_signed", "deedbox.announced"]
    again = run(code)["events"](found[1]["cursor"], ops=ops.url, token=READER)
    assert _types({"events": [next(again)]}) == ["all_signed"]


def test_an_internal_event_that_is_emitted_again_stands_there_once(ops: Ops, state: Redis) -> None:
    deployment = tracking(state)
    arrive(deployment, sent(0), _all_signed(9))
    arrive(deployment, _all_signed(10))  # the same internal event once more, as after a crash
    assert _types(get(ops, "/api/events")).count("deedbox.announced") == 1


def test_a_signature_id_that_is_none_is_left_out(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), callback(P + "viewed", 1, related="Jane <jane@example.com> \ud800"))
    assert get(ops, "/api/events")["events"][0]["related_signature_id"] is None


def test_a_late_event_says_so(ops: Ops, state: Redis) -> None:
    deployment = tracking(state)
    arrive(deployment, sent(5))
    arrive(deployment, callback(P + "prepared", 1))
    assert [event["late"] for event in get(ops, "/api/events")["events"]] == [False, True]


def test_pages_lead_from_one_to_the_next(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), *(sent(0, f"r{number}") for number in range(7)))
    seen, cursor, more = [], "0-0-0", True
    while more:
        page = get(ops, f"/api/events?limit=3&after={cursor}")
        seen += [event["ordering_key"] for event in page["events"]]
        cursor, more = page["cursor"], page["more"]
    assert len(seen) == len(set(seen)) == 7
    assert get(ops, f"/api/events?after={cursor}")["cursor"] == cursor


def test_a_reader_chooses_types_and_sources(ops: Ops, state: Redis) -> None:
    deployment = tracking(state)
    arrive(deployment, sent(0), _all_signed())
    arrive(deployment, sent(0), source="emea")
    assert _types(get(ops, "/api/events?type=deedbox.*&type=signature_request_all_signed")) == [
        "all_signed", "deedbox.announced",
    ]  # fmt: skip
    page = get(ops, "/api/events?source=emea")
    assert [event["source"] for event in page["events"]] == ["emea"]
    assert (
        get(ops, f"/api/events?after={page['cursor']}")["events"] == []
    )  # past what the filter left out, too


def test_payloads_need_the_scope_documents(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0, title="Lease"))
    [event] = get(ops, "/api/events?payload=1")["events"]
    assert event["payload"]["signature_request"]["title"] == "Lease"
    refused = ops.request("GET", "/api/events?payload=1", token=READER)
    assert (refused.status, refused.json()["error"]) == (403, "forbidden")
    assert ops.request("GET", "/api/events", token=READER).status == 200


def test_a_payload_that_is_kept_no_longer_is_null(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0))
    [event] = get(ops, "/api/events")["events"]
    state.delete(keys.event(event["event"]))
    assert get(ops, "/api/events?payload=1")["events"][0]["payload"] is None


def test_a_page_of_large_payloads_ends_early(state: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    arrive(tracking(state), *(sent(0, f"r{number}", message="x" * 1000) for number in range(5)))
    monkeypatch.setattr(events, "PAYLOADS_MAX_BYTES", 3000)
    page = events.with_payloads(state, events.read(state, events.START, events.EventFilter()))
    assert (len(page.events), page.more) == (2, True)
    assert len(events.read(state, page.cursor, events.EventFilter()).events) == 3


def test_a_cursor_from_before_what_is_kept_is_gone_and_names_the_oldest(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), *(sent(0, f"r{number}") for number in range(5)))
    [first] = get(ops, "/api/events?limit=1")["events"]
    state.xtrim(keys.EVENTS, maxlen=2, approximate=False)

    answer = ops.request("GET", f"/api/events?after={first['cursor']}")

    assert (answer.status, answer.json()["error"]) == (410, "gone")
    assert re.fullmatch(events.CURSOR_PATTERN, answer.json()["oldest"])
    assert len(get(ops, f"/api/events?after={answer.json()['oldest']}")["events"]) == 2
    assert len(get(ops, "/api/events")["events"]) == 2


def test_a_reader_whose_redis_lost_its_data_is_told(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), *(sent(0, f"r{number}") for number in range(5)))
    cursor = get(ops, "/api/events")["cursor"]
    state.flushall()
    assert get(ops, f"/api/events?after={cursor}")["events"] == []
    arrive(tracking(state), sent(0, "new"))
    assert ops.request("GET", f"/api/events?after={cursor}").status == 410


def test_the_next_event_ends_the_wait(ops: Ops, state: Redis) -> None:
    deployment = tracking(state)
    arrive(deployment, sent(0))
    cursor = get(ops, "/api/events")["cursor"]
    path = f"/api/events?after={cursor}&wait=20&type={P}viewed"
    with meanwhile(lambda: get(ops, path)) as answers:
        arrive(deployment, sent(0, "r2"))  # of another type: waited over
        time.sleep(1)
        arrive(deployment, viewed(5))
    assert [(_types(page), page["waited"]) for page in answers] == [(["viewed"], True)]


def test_nothing_is_listed_when_the_setting_says_so(start_ops: StartOps) -> None:
    answer = start_ops(DEEDBOX_EVENTS_KEEP="0").request("GET", "/api/events")
    assert answer.status == 404
    assert "DEEDBOX_EVENTS_KEEP" in answer.json()["detail"]


def test_a_listener_gets_what_was_and_what_comes(ops: Ops, state: Redis) -> None:
    deployment, listener = tracking(state), Listener(ops)
    arrive(deployment, sent(0))
    with meanwhile(lambda: listener.listen(lambda: len(listener.got) == 3)):
        arrive(deployment, viewed(5))
        arrive(deployment, viewed(6))
    assert [event["event_time"] - CREATED_AT for event in listener.got] == [0, 5, 6]
    assert listener.last_id == listener.got[-1]["cursor"]


def test_a_listener_that_wants_what_comes_resumes_from_where_it_began(ops: Ops, state: Redis) -> None:
    deployment, listener = tracking(state), Listener(ops, "/api/events?after=now")
    arrive(deployment, sent(0))
    listener.listen(lambda: bool(listener.named))
    arrive(deployment, viewed(5))  # while it is not connected
    listener.listen(lambda: bool(listener.got))
    assert [event["event_time"] - CREATED_AT for event in listener.got] == [5]


def test_a_listener_resumes_on_a_new_process_without_loss_or_repeats(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    deployment, listener = tracking(state), Listener(Ops("", None))  # type: ignore[arg-type]
    for at_s in (0, 4, 8):
        with running_ops(redis_server.url, tmp_path) as listener.ops:
            arrive(deployment, sent(at_s), sent(at_s + 1))
            enough = len(listener.got) + 2
            with meanwhile(lambda: listener.listen(lambda: False)):
                _until_got(listener, enough)
                listener.ops.process.send_signal(signal.SIGKILL)
        arrive(deployment, sent(at_s + 2))  # while nobody serves
    with running_ops(redis_server.url, tmp_path) as listener.ops:
        listener.listen(lambda: len(listener.got) >= 9)
    assert [event["event_time"] - CREATED_AT for event in listener.got] == [0, 1, 2, 4, 5, 6, 8, 9, 10]


def _until_got(listener: Listener, count: int) -> None:
    until(lambda: len(listener.got) >= count, "the listener got them")


def test_a_listener_whose_cursor_is_gone_is_told_before_the_stream_begins(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), *(sent(0, f"r{number}") for number in range(5)))
    state.xtrim(keys.EVENTS, maxlen=2, approximate=False)
    with Listener(ops, last_id="0-0-0").connected() as answer:
        assert answer.status == 410
        assert answer.json()["oldest"]


def test_no_more_listeners_than_seats(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0))
    with ExitStack() as stack:
        answers = [stack.enter_context(Listener(ops).connected()) for _ in range(SEATS)]
        assert {answer.status for answer in answers} == {200}
        with Listener(ops).connected() as refused:
            assert (refused.status, refused.json()["error"]) == (503, "unavailable")
            assert refused.headers["Retry-After"]
        assert ops.request("HEAD", "/api/events", headers={"Accept": "text/event-stream"}).status == 503
        assert get(ops, "/api/queues")
    _until_free(ops)


def _until_free(ops: Ops) -> None:
    until(lambda: not get(ops, "/api/events?after=now&wait=0.01")["busy"], "the seats are free again")


def test_asking_for_the_head_of_the_stream_takes_no_seat(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0))
    for _ in range(SEATS + 1):
        path = "/api/events?" + urllib.parse.urlencode({"type": "x"})
        assert ops.request("HEAD", path, headers={"Accept": "text/event-stream"}).status == 200


def test_the_stream_is_cut_to_what_is_to_be_kept(state: Redis) -> None:
    deployment = tracking(state, events_keep=50)
    arrive(deployment, *(sent(0, f"r{number}") for number in range(600)))
    assert 50 <= state.xlen(keys.EVENTS) < 600
    assert int(state.get(keys.EVENTS_SEQ) or 0) == 600


def test_no_stream_is_written_when_none_is_kept(state: Redis) -> None:
    deployment = tracking(state, events_keep=0)
    arrive(deployment, sent(0), _all_signed())
    assert not state.exists(keys.EVENTS, keys.EVENTS_SEQ)


def test_an_event_names_its_request_and_the_trace_of_its_callback(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0))
    [event] = get(ops, "/api/events")["events"]
    assert (event["signature_request_id"], event["trace_id"]) == ("r1", TRACE)


def test_what_is_about_no_request_names_none_and_an_event_that_is_gone_has_no_trace(
    ops: Ops, state: Redis
) -> None:
    event = {"event_time": "1800000000", "event_type": "account_confirmed", "event_hash": "0" * 64}
    arrive(tracking(state), json.dumps({"event": event, "account": {"account_id": "a1"}}).encode())
    [found] = get(ops, "/api/events")["events"]
    assert found["signature_request_id"] is None
    state.delete(keys.event(found["event"]))
    assert get(ops, "/api/events")["events"][0]["trace_id"] is None
