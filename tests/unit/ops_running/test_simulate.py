"""``deedbox simulate`` against small real servers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from flask import Flask, Response, request

from deedbox.ops.demo.simulate import SimulateOptions, quantile_ms, run
from deedbox.shared.core.errors import DeedboxError, SettingsError
from deedbox.shared.core.signature import verify_event_hash
from deedbox.shared.simulator.loopback import LoopbackServer
from deedbox.shared.simulator.wire import ACK

KEYS = {"DEEDBOX_API_KEYS": "first-key,second-key"}


class Receiver:
    """Acknowledges what the first key signed; everything, if it does not verify; nothing, if it is broken."""

    def __init__(self) -> None:
        self.verifies, self.broken = True, False
        app = Flask("receiver")
        app.post("/callbacks")(self._receive)
        self.server = LoopbackServer(app)

    @property
    def url(self) -> str:
        return self.server.url + "/callbacks"

    def _receive(self) -> Response:
        event = json.loads(request.form["json"])["event"]
        genuine = verify_event_hash(
            ["first-key"], event["event_time"], event["event_type"], event["event_hash"]
        )
        if self.broken:
            return Response(status=500)
        if genuine or not self.verifies:
            return Response(ACK)
        return Response(status=401)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.server.start()
    yield receiver
    receiver.server.stop()


def _options(receiver: Receiver, **more: object) -> SimulateOptions:
    options = {
        "requests": 15,
        "rate_per_s": 500.0,
        "delay_s": 0.05,
        "seed": 4,
        "json": True,
        "ladder_scale": 1e-6,
    }
    return SimulateOptions(url=receiver.url, **(options | more))  # type: ignore[arg-type]


def test_a_receiver_that_acknowledges_what_is_genuine_passes(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_options(receiver), KEYS) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sent"] == report["acked"] + report["refused"]
    assert report["failed"] == report["forgeries_acked"] == 0
    assert 0 < report["p50_ms"] <= report["p99_ms"]


def test_a_receiver_that_acknowledges_forgeries_fails(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.verifies = False
    assert run(_options(receiver), KEYS) == 1
    assert json.loads(capsys.readouterr().out)["forgeries_acked"] > 0


def test_a_receiver_that_acknowledges_nothing_fails_after_the_last_retry(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.broken = True
    assert run(_options(receiver, requests=1), KEYS) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["acked"], report["p50_ms"]) == (0, None)
    assert report["attempts"] == 7 * report["sent"]


def test_a_page_of_nothing_but_failures_says_what_to_look_at(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.broken = True
    run(_options(receiver, requests=1, json=False), KEYS)
    shown = capsys.readouterr().out
    assert "--api-key" in shown
    assert "DEEDBOX_API_KEYS" in shown


def test_the_same_seed_sends_as_many_callbacks(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = []
    for _ in range(2):
        run(_options(receiver), KEYS)
        sent.append(json.loads(capsys.readouterr().out)["sent"])
    assert sent[0] == sent[1]


def test_the_page_for_people_says_the_same(receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_options(receiver, json=False, api_port=0, stay_s=0.0), KEYS) == 0
    shown = capsys.readouterr().out
    assert "DEEDBOX_API_URL=http://127.0.0.1:" in shown
    assert "acknowledged" in shown
    assert "p99" in shown


def test_without_a_key_it_names_both_ways_to_give_one(receiver: Receiver) -> None:
    with pytest.raises(SettingsError, match=r"DEEDBOX_API_KEYS.*--api-key"):
        run(_options(receiver), {})


def test_a_taken_port_of_the_files_api_is_named(receiver: Receiver) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(DeedboxError, match="--api-port"),
    ):
        run(_options(receiver, api_port=other.getsockname()[1]), KEYS)


def test_a_url_without_a_host_is_named() -> None:
    with pytest.raises(DeedboxError, match="--url"):
        run(SimulateOptions(url="nowhere", json=True), KEYS)


def test_a_quantile_is_a_latency_that_was_measured() -> None:
    assert quantile_ms([], 0.5) is None
    assert quantile_ms([0.001, 0.002, 0.003, 0.004], 0.5) == 2.0
    assert quantile_ms([0.001] * 99 + [0.5], 0.99) == 1.0
