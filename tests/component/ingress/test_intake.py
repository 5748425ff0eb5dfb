"""What web processes report of themselves: the live view, the totals that outlive them, and failures in a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from deedbox.ingress.monitor.counters import Intake
from deedbox.ingress.monitor.intake_report import IntakeReporter
from deedbox.ingress.spool.state_redis import StateRedis
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import text
from deedbox.shared.retention import DAY_S
from deedbox.shared.settings import Settings
from tests.component.ingress.test_web_process import environment
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

NOW = 1_800_000_000.0


class Web:
    """A web process in this one."""

    def __init__(self, settings: Settings, name: str, at: float = NOW) -> None:
        self.now = at
        self.intake = Intake(["default", "tenant"], lambda: self.now)
        self._reporter = IntakeReporter(
            self.intake, StateRedis(settings), lambda: self.now, monotonic=lambda: self.now
        )
        self._reporter._process = name

    def accept(self, source: str = "default", event_type: str = "signature_request_sent") -> None:
        self.intake.acknowledged(source, event_type, self.now, 0.004, spooled=False)

    def refuse(self, count: int = 1, reason: Refusal = Refusal.BAD_EVENT_HASH) -> None:
        for number in range(count):
            self.intake.refused("default", reason, self.now + (number + 1) / 1000, vouched=True)

    def report(self, *, ends: bool = False) -> None:
        self.now += 2
        self._reporter.report(ends=ends)


StartWeb = Callable[..., Web]


@pytest.fixture
def start_web(redis_server: RedisServer, state: Redis, tmp_path: Path) -> StartWeb:
    del state  # emptied
    settings = Settings.load(environment(DEEDBOX_REDIS_URL=redis_server.url, DEEDBOX_DATA_DIR=str(tmp_path)))
    return lambda name="host:1", at=NOW: Web(settings, name, at)


def _numbers(redis: Redis, key: str) -> dict[str, str]:
    found = redis.hgetall(key)
    assert isinstance(found, dict)
    return {text(name): text(value) for name, value in found.items()}


def _failures(redis: Redis, source: str = "default") -> int:
    return len(
        [each for each in _numbers(redis, keys.SOURCES).get(f"{source}|failures", "").split(",") if each]
    )


def test_the_live_view_tells_what_a_process_received(start_web: StartWeb, state: Redis) -> None:
    web = start_web()
    web.accept()
    web.accept("tenant", "callback_test")
    web.intake.acknowledged("default", "callback_test", NOW, 30.0, spooled=True)
    web.refuse()
    web.intake.refused("nobody", Refusal.UNKNOWN_SOURCE, NOW, vouched=True)
    web.report()
    (live,) = _numbers(state, keys.INTAKE).values()
    found = json.loads(live)
    assert found["at"] == NOW + 2
    assert found["started_at"] == NOW
    assert found["ack_ms"]["bounds"] == [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500]
    assert found["ack_ms"]["counts"] == [0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found["sources"]["default"] == {
        "accepted": 1, "spooled": 1, "refused": {"bad_event_hash": 1}, "last_accepted_at": NOW,
        "last_test_at": NOW, "failures": [NOW + 0.001],
    }  # fmt: skip
    assert set(found["sources"]) == {"default", "tenant"}
    assert found["strays"] == {"unknown_source": 1}


def test_totals_outlive_the_process(start_web: StartWeb, state: Redis) -> None:
    first = start_web("host:1")
    first.accept()
    first.report()
    first.accept()
    first.refuse(2)
    first.report(ends=True)
    second = start_web("host:2")
    second.accept()
    second.report()
    assert list(_numbers(state, keys.INTAKE)) == ["host:2"]
    counters = _numbers(state, keys.COUNTERS)
    assert counters == {"intake_accepted": "3", "intake_refused_bad_event_hash": "2"}
    totals = _numbers(state, keys.SOURCES)
    assert (totals["default|accepted"], totals["default|refused|bad_event_hash"]) == ("3", "2")


def test_a_report_that_arrives_twice_counts_once(start_web: StartWeb, state: Redis) -> None:
    web = start_web()
    web.accept()
    web.refuse(3)
    for _ in range(3):
        web.report()
    assert _numbers(state, keys.COUNTERS) == {"intake_accepted": "1", "intake_refused_bad_event_hash": "3"}
    assert _failures(state) == 3
    web.report(ends=True)
    web.report(ends=True)
    assert _numbers(state, keys.COUNTERS)["intake_accepted"] == "1"


def test_a_process_with_the_name_of_a_killed_one_counts_from_zero(start_web: StartWeb, state: Redis) -> None:
    killed = start_web("host:7")
    killed.accept()
    killed.report()
    successor = start_web("host:7", NOW + 60)
    successor.accept()
    successor.accept()
    successor.report()
    assert _numbers(state, keys.COUNTERS)["intake_accepted"] == "3"


def test_two_processes_of_one_name_never_count_more_than_there_was(start_web: StartWeb, state: Redis) -> None:
    twins = [start_web("host:7", NOW), start_web("host:7", NOW + 1)]
    for _ in range(5):
        for twin in twins:
            twin.accept()
            twin.report()
    assert int(_numbers(state, keys.COUNTERS)["intake_accepted"]) <= 10


def test_failures_in_a_row_are_those_after_the_last_acceptance_of_any_process(
    start_web: StartWeb, state: Redis
) -> None:
    failing, accepting = start_web("host:1"), start_web("host:2", NOW + 10)
    failing.refuse(4)
    failing.report()
    assert _failures(state) == 4
    accepting.accept()
    accepting.report(ends=True)
    assert _failures(state) == 0
    failing.report()
    assert _failures(state) == 0, "older than the acceptance, though its process is gone"
    failing.now = NOW + 60
    failing.refuse(14)
    failing.report()
    assert _failures(state) == 10


def test_a_request_that_is_no_post_is_no_failure_of_dropbox_sign(start_web: StartWeb, state: Redis) -> None:
    web = start_web()
    web.refuse(3, Refusal.METHOD_NOT_ALLOWED)
    web.report()
    assert _failures(state) == 0
    assert _numbers(state, keys.SOURCES)["default|refused|method_not_allowed"] == "3"


def test_what_killed_processes_left_goes_after_a_day(start_web: StartWeb, state: Redis) -> None:
    seconds = float(state.time()[0])
    start_web("killed:1", seconds - 2 * DAY_S).report()
    start_web("silent:1", seconds - DAY_S / 2).report()
    start_web("new:1", seconds).report()
    assert set(_numbers(state, keys.INTAKE)) == {"silent:1", "new:1"}


def test_what_is_no_report_is_in_nobodys_way(start_web: StartWeb, state: Redis) -> None:
    for process, text_of_another_version in (("host:1", "[]"), ("host:2", "{}"), ("host:3", "x")):
        state.hset(keys.INTAKE, process, text_of_another_version)
    web = start_web("host:1")
    web.accept()
    web.report()
    assert list(_numbers(state, keys.INTAKE)) == ["host:1"]
    assert _numbers(state, keys.COUNTERS) == {"intake_accepted": "1"}


def test_without_redis_nothing_is_lost_and_nothing_is_said(start_web: StartWeb, state: Redis) -> None:
    web = start_web()
    lost = Web(Settings.load(environment(DEEDBOX_REDIS_URL="redis://127.0.0.1:1/0")), "host:9")
    lost.accept()
    with pytest.raises(Unavailable):
        lost.report()
    lost._reporter._redis = web._reporter._redis
    lost.accept()
    lost.report()
    assert _numbers(state, keys.COUNTERS)["intake_accepted"] == "2"
