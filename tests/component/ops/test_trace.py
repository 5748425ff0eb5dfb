"""``deedbox trace``: the story of one signature request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.readmodels.timeline import read
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.redis import keys
from deedbox.workers.actions.interface import Context, Event, add_line
from deedbox.workers.builtins import track_status
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, action, sent, viewed

pytestmark = pytest.mark.real_redis


def test_a_timeline_tells_arrival_hold_release_and_calls_in_order_of_time(
    operate: Operate, state: Redis
) -> None:
    deployment = Deployment(state, action(Journal(), name="crm"), order=OrderingPolicy(hold_s=60))
    deployment.deliver(viewed(5))
    deployment.drain()
    deployment.deliver(sent(), sent())
    deployment.run()

    document = operate("trace", "r1", "--json").document

    assert (document["source"], document["ordering_key"]) == ("default", "signature_request/r1")
    entries = document["entries"]
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    kinds = [entry["kind"] for entry in entries]
    assert kinds.count("arrived") == 3
    assert kinds.count("released") == 2
    assert kinds.count("action") == 2
    assert {"held", "duplicate"} < set(kinds)
    assert kinds.index("held") < kinds.index("released") < kinds.index("action")


def test_the_page_says_what_was_waited_for_and_where_the_request_stands(
    operate: Operate, state: Redis
) -> None:
    def store(_event: Event, context: Context) -> None:
        add_line(context, TimelineKind.DOCUMENT, sha256="ab" * 32, size=1234, url="file:///documents/x.pdf")

    deployment = Deployment(
        state,
        track_status.registered(),
        action(store, "signature_request_sent", name="store"),
        order=OrderingPolicy(hold_s=60),
    )
    deployment.deliver(viewed(5, title="Offer for Jane Doe"))
    deployment.drain()
    deployment.deliver(sent(title="Offer for Jane Doe"))
    deployment.run()

    page = operate("trace", "r1").out

    assert "waits for sent" in page
    assert "sent -> store" in page
    assert "sha256 abababababab, 1234 bytes, file:///documents/x.pdf" in page
    assert "now: viewed (attested), 0 of 1 signer signed" in page
    assert "Jane" not in page


def test_a_failing_action_is_told_with_its_attempts_and_without_addresses(
    operate: Operate, state: Redis
) -> None:
    def fail(_event: Event, _context: Context) -> None:
        raise ValueError("no account for jane.doe@example.com\x1b[2J")

    deployment = Deployment(state, action(fail, name="crm", attempts=2))
    deployment.deliver(sent())
    deployment.run_until(deployment.letters, "it is dead")

    page, document = operate("trace", "r1").out, operate("trace", "r1", "--json").out

    assert "failed after" in page
    assert "set aside, attempts_exhausted" in page
    assert "attempt 2" in page
    for text in (page, document):
        assert "jane.doe" not in text
        assert "\x1b" not in text


def test_other_keys_are_named_by_kind(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(Journal()))
    event = {"event_type": "template_created", "event_time": "1800000000", "event_hash": "0" * 64}
    deployment.deliver(json.dumps({"event": event, "template": {"template_id": "abc"}}).encode())
    deployment.run()

    assert operate("trace", "template/abc", "--json").document["ordering_key"] == "template/abc"
    answer = operate("trace", "abc")
    assert answer.code == 1
    assert "`deedbox trace template/abc --source default`" in answer.sentence


def test_an_unknown_id_is_one_sentence_with_the_source_that_has_it(operate: Operate, state: Redis) -> None:
    deployment = Deployment(state, action(Journal()))
    deployment.deliver(sent(), source="sales")
    deployment.run()
    sources = json.dumps({"sales": {"api_keys": ["x"]}})

    answer = operate("trace", "r1", DEEDBOX_SOURCES=sources)

    assert answer.code == 1
    assert "`deedbox trace signature_request/r1 --source sales`" in answer.sentence
    assert operate("trace", "nobody", DEEDBOX_SOURCES=sources).code == 1
    assert operate("trace", "r1", "--source", "sales").code == 0


def test_lines_of_another_version_are_shown_as_they_are(operate: Operate, state: Redis) -> None:
    lines: list[dict[str, Any]] = [
        {"at": 2.0, "kind": "teleported", "type": "x", "to": "mars"},
        {"at": 1.0, "kind": "released", "type": "x"},
    ]
    key = keys.timeline("default:signature_request/r1")
    state.rpush(key, *map(json.dumps, lines), "no json")

    page = operate("trace", "r1").out

    assert "to mars" in page
    found = read(state, "default", "signature_request/r1")
    assert found is not None
    assert [entry["at"] for entry in found.entries] == [1.0, 2.0]
