"""The player against a small real server that verifies, fails at times, and remembers."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from flask import Flask, Response, request

from deedbox.shared.core.signature import BodySignature, verify_body, verify_event_hash
from deedbox.shared.simulator.ledger import Counts, DeliveryOutcome
from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback
from deedbox.shared.simulator.loopback import LoopbackServer
from deedbox.shared.simulator.player import VENDOR_RETRY_LADDER_S, Player, PlayerPolicy
from deedbox.shared.simulator.traffic import Delivery, DeliveryKind, TrafficPolicy, schedule
from deedbox.shared.simulator.wire import ACK
from tests.unit.simulator.conftest import API_KEY, Make

FAST = PlayerPolicy(threads=4, ladder_scale=0.00002)
"""Retries after 6 ms to 1.5 s."""


class Receiver:
    """Acks what verifies; the first answers can be scripted: (status, body), popped from the left."""

    def __init__(self) -> None:
        self.scripted: list[tuple[int, bytes]] = []
        self.received: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        app = Flask("receiver")
        app.post("/callbacks")(self._receive)
        self.server = LoopbackServer(app)

    def _receive(self) -> Response:
        text = request.form["json"].encode()
        event = json.loads(text)["event"]
        with self._lock:
            self.headers.append(dict(request.headers))
            self.received.append(text)
            if self.scripted:
                status, body = self.scripted.pop(0)
                return Response(body, status)
        genuine = verify_event_hash([API_KEY], event["event_time"], event["event_type"], event["event_hash"])
        if genuine:
            assert verify_body([API_KEY], text, request.headers["Content-Sha256"]) is BodySignature.VALID
        return Response(ACK if genuine else b"{}", 200 if genuine else 401)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.server.start()
    yield receiver
    receiver.server.stop()


@pytest.fixture
def callbacks(make: Make) -> list[SimulatedCallback]:
    return [callback for made in make(10) for callback in made.callbacks]


def _player(receiver: Receiver, policy: PlayerPolicy = FAST) -> Player:
    return Player(receiver.server.url + "/callbacks", API_KEY, policy)


def _one(callback: SimulatedCallback) -> list[Delivery]:
    return [Delivery(0.0, callback, DeliveryKind.FIRST)]


def test_every_delivery_is_acked_and_every_forgery_refused(
    receiver: Receiver, make: Make, account: Account
) -> None:
    policy = TrafficPolicy(duration_s=0.2, disorder_delay_mean_s=0.05, duplicate_delay_mean_s=0.05)
    deliveries = schedule(make(30), account, random.Random(1), policy)
    ledger = _player(receiver).play(deliveries, threading.Event())
    kinds = Counter(delivery.kind for delivery in deliveries)
    counts = ledger.counts()
    assert counts.refused == kinds[DeliveryKind.BAD_SIGNATURE] > 0
    assert counts.acked == len(deliveries) - counts.refused
    assert counts.sent == counts.attempts == counts.planned == len(deliveries)
    assert ledger.acked_facts() == {callback.fact for made in make(30) for callback in made.callbacks}
    assert ledger.redundant_acks() == kinds[DeliveryKind.DUPLICATE] + kinds[DeliveryKind.APP]
    assert Counter(receiver.received) == Counter(d.callback.json_text for d in deliveries)


def test_the_request_carries_the_vendors_headers_and_no_others(
    receiver: Receiver, callbacks: list[SimulatedCallback]
) -> None:
    _player(receiver).play(_one(callbacks[0]), threading.Event())
    assert set(receiver.headers[0]) == {
        "Host", "User-Agent", "Accept", "Content-Sha256", "Content-Length", "Expect", "Content-Type",
    }  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [(503, b"{}"), (200, b"ok"), (200, ACK + b"\n"), (202, ACK), (401, b"{}"), (302, b"")],
    ids=str,
)
def test_anything_but_the_exact_acknowledgement_is_retried(
    receiver: Receiver, callbacks: list[SimulatedCallback], answer: tuple[int, bytes]
) -> None:
    receiver.scripted = [answer, answer]
    ledger = _player(receiver).play(_one(callbacks[0]), threading.Event())
    assert [(r.outcome, r.attempts, r.status) for r in ledger.records] == [(DeliveryOutcome.ACKED, 3, 200)]


def test_a_delivery_is_given_up_after_the_last_step_of_the_ladder(
    receiver: Receiver, callbacks: list[SimulatedCallback]
) -> None:
    receiver.scripted = [(500, b"")] * 100
    policy = PlayerPolicy(threads=2, retry_ladder_s=VENDOR_RETRY_LADDER_S, ladder_scale=0.000001)
    ledger = _player(receiver, policy).play(_one(callbacks[0]), threading.Event())
    assert [(r.outcome, r.attempts, r.status) for r in ledger.records] == [(DeliveryOutcome.FAILED, 7, 500)]
    assert len(receiver.received) == 7


def test_a_refused_connection_is_a_failed_attempt(
    receiver: Receiver, callbacks: list[SimulatedCallback]
) -> None:
    player = _player(receiver, PlayerPolicy(threads=1, retry_ladder_s=(0.0,)))
    receiver.server.stop()
    ledger = player.play(_one(callbacks[0]), threading.Event())
    assert [(r.outcome, r.attempts, r.status) for r in ledger.records] == [(DeliveryOutcome.FAILED, 2, None)]


def test_an_acked_forgery_is_reported_as_one(receiver: Receiver, callbacks: list[SimulatedCallback]) -> None:
    receiver.scripted = [(200, ACK)]
    forgery = Delivery(0.0, callbacks[0].forged("another key"), DeliveryKind.BAD_SIGNATURE)
    ledger = _player(receiver).play([forgery], threading.Event())
    assert ledger.counts().forgeries_acked == 1
    assert ledger.acked_facts() == set()


def test_deliveries_start_in_schedule_order_and_never_early(
    receiver: Receiver, callbacks: list[SimulatedCallback]
) -> None:
    deliveries = [
        Delivery(0.01 * number, callback, DeliveryKind.FIRST)
        for number, callback in enumerate(callbacks[:10])
    ]
    policy = PlayerPolicy(threads=1)
    ledger = _player(receiver, policy).play(reversed(deliveries), threading.Event())
    assert receiver.received == [delivery.callback.json_text for delivery in deliveries]
    assert all(record.started_late_s >= 0 for record in ledger.records)


def test_a_stop_leaves_the_rest_unfinished(receiver: Receiver, callbacks: list[SimulatedCallback]) -> None:
    stop = threading.Event()
    hour = [Delivery(3_600.0, callback, DeliveryKind.FIRST) for callback in callbacks[1:]]
    player = Player(receiver.server.url + "/callbacks", API_KEY, FAST, on_progress=lambda _counts: stop.set())
    ledger = player.play(_one(callbacks[0]) + hour, stop)
    counts = ledger.counts()
    assert (counts.acked, counts.unfinished, counts.planned) == (1, len(hour), len(hour) + 1)
    assert all(r.attempts == 0 for r in ledger.records if r.outcome is DeliveryOutcome.UNFINISHED)


def test_a_stop_during_a_long_wait_for_a_retry_ends_the_run(
    receiver: Receiver, callbacks: list[SimulatedCallback]
) -> None:
    stop = threading.Event()
    receiver.scripted = [(503, b"")]
    player = Player(
        receiver.server.url + "/callbacks", API_KEY, PlayerPolicy(), on_progress=lambda _counts: stop.set()
    )
    ledger = player.play(_one(callbacks[0]), stop)
    assert [(r.outcome, r.attempts, r.status) for r in ledger.records] == [
        (DeliveryOutcome.UNFINISHED, 1, 503)
    ]


def test_what_occurred_is_told_once_per_genuine_delivery(
    receiver: Receiver, callbacks: list[SimulatedCallback]
) -> None:
    occurred: list[SimulatedCallback] = []
    progress: list[Counts] = []
    player = Player(
        receiver.server.url + "/callbacks",
        API_KEY,
        FAST,
        on_occurred=occurred.append,
        on_progress=progress.append,
    )
    receiver.scripted = [(503, b"")]
    forgery = Delivery(0.0, callbacks[1].forged("another key"), DeliveryKind.BAD_SIGNATURE)
    ledger = player.play([*_one(callbacks[0]), forgery], threading.Event())
    assert occurred == [callbacks[0]]
    assert progress[-1] == ledger.counts()


def test_a_failing_observer_ends_the_run_with_its_error(
    receiver: Receiver, callbacks: list[SimulatedCallback]
) -> None:
    def fail(_callback: SimulatedCallback) -> None:
        raise LookupError("observer")

    player = Player(receiver.server.url + "/callbacks", API_KEY, FAST, on_occurred=fail)
    with pytest.raises(LookupError, match="observer"):
        player.play([Delivery(0.0, c, DeliveryKind.FIRST) for c in callbacks], threading.Event())


def test_a_url_without_a_host_is_refused() -> None:
    with pytest.raises(ValueError, match="no host"):
        Player("/callbacks", API_KEY, FAST)
