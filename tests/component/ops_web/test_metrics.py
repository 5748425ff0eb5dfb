"""``/metrics`` of ops: what it tells, what it costs, and that looking changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from deedbox.ingress.monitor.counters import Intake
from deedbox.ingress.monitor.intake_report import IntakeReporter
from deedbox.ingress.spool.state_redis import StateRedis
from deedbox.ops.web.app import create_app
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.records.presence import Presence
from deedbox.shared.records.presence import dump as said
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.shared.settings import Settings
from deedbox.shared.sources import account_of
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from deedbox.workers.dropbox_sign.call_budgets import CallBudgets, Turn
from tests.component.workers.rig import Deployment, Journal, action, sent, viewed
from tests.component.workers.server import RedisServer
from tests.support.metrics_table import exported, table

pytestmark = pytest.mark.real_redis

KEY = "k" * 64


@pytest.fixture
def settings(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Settings:
    del state  # emptied
    return Settings.load(
        {"DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_API_KEYS": KEY, "DEEDBOX_DATA_DIR": str(tmp_path)}
    )


Scrape = Callable[[], str]


@pytest.fixture
def scrape(settings: Settings) -> Scrape:
    client = create_app(settings).test_client()

    def ask() -> str:
        answer = client.get("/metrics", headers={"Host": "localhost"})
        assert answer.status_code == 200
        assert answer.content_type.startswith("text/plain; version=")
        return answer.text

    return ask


def value(text: str, name: str, **labels: str) -> float | None:
    """Return the one sample with exactly these labels; None if there is none."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def receive(settings: Settings) -> None:
    """Let ingress acknowledge three callbacks and then refuse two."""
    intake = Intake(["default"])
    now = time.time()
    for event_type in ("callback_test", "signature_request_sent"):
        intake.acknowledged("default", event_type, now, 0.004, spooled=False)
    intake.acknowledged("default", "signature_request_sent", now, 0.004, spooled=True)
    for number in (1, 2):
        intake.refused("default", Refusal.BAD_EVENT_HASH, now + number / 100, vouched=True)
    IntakeReporter(intake, StateRedis(settings)).report()


def test_each_metric_stands_in_the_table_and_each_row_is_exported(
    settings: Settings, state: Redis, scrape: Scrape
) -> None:
    deployment = Deployment(state, action(Journal()))
    deployment.deliver(sent())
    deployment.run()
    receive(settings)
    assert exported(scrape()) == table("ops")


def test_calls_are_told_by_lane_action_and_outcome_with_their_duration(state: Redis, scrape: Scrape) -> None:
    def picky(event: Event, context: Context) -> None:
        if event.signature_request_id == "r1":
            raise Reject("not this one")
        if event.signature_request_id == "r2" and not context.retries:
            raise Retry("later", after=0)
        time.sleep(0.02)

    deployment = Deployment(state, action(picky, name="picky", lane="crm"))
    for number in (1, 2, 3):
        deployment.deliver(sent(request_id=f"r{number}"))
    deployment.run_until(lambda: deployment.left() == 0, "all is done")
    found, mine = scrape(), {"lane": "crm", "action": "picky"}
    assert value(found, "deedbox_action_calls_total", outcome="done", **mine) == 2
    assert value(found, "deedbox_action_calls_total", outcome="retry", **mine) == 1
    assert value(found, "deedbox_action_calls_total", outcome="dead", **mine) == 1
    assert value(found, "deedbox_action_duration_seconds_count", **mine) == 4
    assert (value(found, "deedbox_action_duration_seconds_sum", **mine) or 0) >= 0.04
    assert value(found, "deedbox_action_duration_seconds_bucket", le="0.01", **mine) == 2
    assert value(found, "deedbox_action_duration_seconds_bucket", le="+Inf", **mine) == 4
    assert value(found, "deedbox_dead_letters_total", reason="rejected") == 1
    assert value(found, "deedbox_stage_depth", stage="dead") == 1


def test_holds_end_satisfied_or_expired(state: Redis, scrape: Scrape) -> None:
    deployment = Deployment(state, action(Journal()), order=OrderingPolicy(hold_s=0.3))
    deployment.deliver(viewed(5, "r1"), viewed(5, "r2"))
    deployment.run()
    assert value(scrape(), "deedbox_stage_depth", stage="held") == 2
    deployment.deliver(sent(request_id="r1"))
    deployment.run_until(lambda: deployment.left() == 0, "both are released")
    found = scrape()
    assert value(found, "deedbox_holds_total") == 2
    assert value(found, "deedbox_holds_ended_total", outcome="satisfied") == 1
    assert value(found, "deedbox_holds_ended_total", outcome="expired") == 1
    assert value(found, "deedbox_predecessors_given_up_total") == 1


def test_the_distance_to_a_dropped_callback_url_is_told(settings: Settings, scrape: Scrape) -> None:
    assert value(scrape(), "deedbox_source_failures_left", source="default") == 10
    receive(settings)
    found = scrape()
    assert value(found, "deedbox_source_failures_left", source="default") == 8
    assert value(found, "deedbox_intake_acknowledged_total", source="default", outcome="accepted") == 2
    assert value(found, "deedbox_intake_acknowledged_total", source="default", outcome="spooled") == 1
    assert value(found, "deedbox_intake_refused_total", source="default", reason="bad_event_hash") == 2
    assert value(found, "deedbox_web_processes") == 1


def test_what_is_left_of_the_budgets_is_told_without_using_any(
    settings: Settings, state: Redis, scrape: Scrape
) -> None:
    account = account_of(KEY)
    calls = CallBudgets(Scripts(state), settings.call_budgets)
    for number in range(4):
        assert calls.take(account, Turn(f"f{number}"), "files") == 0
    for number in range(6):
        assert calls.take(account, Turn(f"t{number}"), "test_files") == 0
    calls.pause_until(account, time.time() + 50)
    scrape()
    found = scrape()
    assert value(found, "deedbox_api_budget_left_calls", source="default", kind="files") == 11
    assert value(found, "deedbox_api_budget_left_calls", source="default", kind="test_files") == 0
    assert value(found, "deedbox_api_budget_left_calls", source="default", kind="api") == 60
    assert value(found, "deedbox_api_budget_calls", source="default", kind="files") == 15
    assert 40 < (value(found, "deedbox_api_pause_seconds", source="default") or 0) <= 50
    assert KEY not in found
    assert account not in found


def test_a_scrape_changes_nothing_and_costs_the_same_for_any_backlog(
    settings: Settings, state: Redis, scrape: Scrape
) -> None:
    deployment = Deployment(state, action(Journal()))
    receive(settings)
    Scripts(state).call("present", SERVER_CLOCK, "there", 10.0, said(Presence("default")))
    deployment.deliver(sent(request_id="r0"))
    deployment.drain()
    scrape()  # scripts are loaded once

    def cost() -> int:
        before = state.info("stats")["total_commands_processed"]
        scrape()
        return int(state.info("stats")["total_commands_processed"] - before)

    def dump() -> dict[bytes, object]:
        return {key: state.dump(key) for key in state.scan_iter()}

    one, before = cost(), dump()
    assert dump() == before
    for number in range(60):
        deployment.deliver(sent(request_id=f"r{number}"), viewed(5, request_id=f"h{number}"))
    deployment.drain()
    before = dump()
    assert cost() == one
    assert dump() == before
    found = scrape()
    assert value(found, "deedbox_stage_depth", stage="lane:default") == 60
    assert value(found, "deedbox_stage_depth", stage="held") == 60


def test_without_redis_the_scrape_says_so(redis_server: RedisServer, scrape: Scrape) -> None:
    redis_server.kill()
    try:
        found = scrape()
    finally:
        redis_server.start()
    assert value(found, "deedbox_up") == 0
    assert set(exported(found)) == {"deedbox_up", "deedbox_build_info"}
    assert value(scrape(), "deedbox_up") == 1


def test_a_broker_that_is_away_leaves_the_rest(settings: Settings) -> None:
    away = settings.model_copy(
        update={"broker_url": Settings.load({"DEEDBOX_BROKER_URL": "redis://127.0.0.1:1/0"}).broker_url}
    )
    found = create_app(away).test_client().get("/metrics", headers={"Host": "localhost"}).text
    assert value(found, "deedbox_up") == 1
    assert value(found, "deedbox_broker_up") == 0
    assert value(found, "deedbox_stage_depth", stage="broker") is None
    assert value(found, "deedbox_stage_depth", stage="inbox") == 0


def test_from_another_machine_a_scrape_needs_a_token(settings: Settings) -> None:
    client = create_app(settings).test_client()
    answer = client.get("/metrics", headers={"Host": "localhost"}, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert answer.status_code == 401
    assert answer.is_json


def test_a_bridge_whose_lease_is_over_is_not_counted(state: Redis, scrape: Scrape) -> None:
    state.zadd(keys.BRIDGE_LEASES, {"alive": time.time() + 60, "dead": time.time() - 60})
    assert value(scrape(), "deedbox_bridges") == 1
