"""``fetch_documents`` and the account's budget: a wait costs no call."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import pytest
from flask import Response
from redis import Redis

from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.simulator.api_state import Endpoint, FilesApiPolicy
from deedbox.shared.sources import account_of
from deedbox.workers.dropbox_sign.call_budgets import CallBudgets, Turn
from deedbox.workers.dropbox_sign.client import SignApi
from tests.component.workers.fetch_desk import (
    API_KEY,
    DOWNLOADABLE,
    PDF,
    Open,
    desk,
    open_desk,
    serve,
    shown,
)
from tests.component.workers.rig import (
    callback,
    units,
)
from tests.component.workers.server import RedisServer

__all__ = ["desk", "open_desk"]

pytestmark = pytest.mark.real_redis


def test_a_rate_limit_is_waited_out_as_its_header_says_and_no_call_goes_out(open_desk: Open) -> None:
    desk = open_desk(FilesApiPolicy(not_ready_max=0, file_calls_per_window=0, window_s=3600))
    desk.happen(DOWNLOADABLE)
    [unit] = units(desk.state, "waiting")
    due_at = desk.state.zscore(keys.action("fetch_documents", "waiting"), unit) or 0
    window_ends_at = (int(time.time()) // 3600 + 1) * 3600
    assert abs(due_at - window_ends_at) < 5
    calls = desk.calls() + desk.calls(Endpoint.REQUEST)
    desk.happen(DOWNLOADABLE, request_id="r2")
    assert desk.calls() + desk.calls(Endpoint.REQUEST) == calls


def test_the_last_call_of_a_window_is_the_last_one(open_desk: Open) -> None:
    """``Remaining: 0`` came with a 200: the document is stored, and nobody calls until the reset."""
    desk = open_desk(FilesApiPolicy(not_ready_max=0, file_calls_per_window=1, window_s=3600))
    desk.happen(DOWNLOADABLE)
    assert len(desk.sidecars()) == 1
    desk.api.state.put(shown("r2"))
    desk.happen(DOWNLOADABLE, request_id="r2")
    assert desk.waits()
    assert (desk.calls(), desk.calls(Endpoint.REQUEST)) == (1, 1)


def test_a_used_up_budget_is_a_wait_without_a_call(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_API_PER_MINUTE="1")
    desk.happen(DOWNLOADABLE)
    desk.api.state.put(shown("r2"))
    desk.happen(DOWNLOADABLE, request_id="r2")
    assert desk.waits()
    assert (desk.calls(), desk.calls(Endpoint.REQUEST)) == (1, 1)
    [unit] = units(desk.state, "waiting")
    wait_s = (desk.state.zscore(keys.action("fetch_documents", "waiting"), unit) or 0) - time.time()
    assert 30 < wait_s <= 61


def test_a_used_up_file_budget_is_a_wait_without_a_call(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_FILES_PER_MINUTE="1")
    desk.happen(DOWNLOADABLE, is_complete=True)
    desk.api.state.put(shown("r2"))
    desk.happen(DOWNLOADABLE, request_id="r2", is_complete=True)
    for _ in range(5):
        desk.go_on()
    assert desk.waits()
    assert (desk.calls(), desk.calls(Endpoint.REQUEST)) == (1, 1)


def test_who_waits_for_a_download_is_told_when_its_turn_comes_and_keeps_its_place(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_FILES_PER_MINUTE="1")
    begun = time.time()
    for request_id in ("r1", "r2", "r3", "r4"):
        desk.api.state.put(shown(request_id))
        desk.happen(DOWNLOADABLE, request_id=request_id, is_complete=True)
    for _ in range(2):
        waiting: Any = desk.state.zrange(keys.action("fetch_documents", "waiting"), 0, -1, withscores=True)
        streams = [unit.decode().split("/")[1].partition("|")[0] for unit, _ in waiting]
        assert streams == ["r2", "r3", "r4"]
        turns = [round((at - begun) / 60) for _, at in waiting]
        assert turns == [1, 2, 3]
        desk.go_on()


def test_an_intermediate_downloadable_takes_no_turn_of_those_that_need_a_download(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_FILES_PER_MINUTE="1")
    desk.happen(DOWNLOADABLE, is_complete=True)
    desk.api.state.put(shown("r2", is_complete=False))
    desk.happen(DOWNLOADABLE, request_id="r2")
    assert (desk.deployment.left(), desk.deployment.letters()) == (0, [])
    desk.api.state.put(shown("r3"))
    desk.happen(DOWNLOADABLE, request_id="r3", is_complete=True)
    waiting: Any = desk.state.zrange(keys.action("fetch_documents", "waiting"), 0, -1, withscores=True)
    [(_, at)] = waiting
    assert at < time.time() + 62


def test_a_download_that_turns_out_not_to_be_due_is_given_back(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_FILES_PER_MINUTE="1")
    desk.api.state.put(shown("r1", is_complete=False))
    desk.happen(DOWNLOADABLE, is_complete=True)
    desk.api.state.put(shown("r2"))
    desk.happen(DOWNLOADABLE, request_id="r2", is_complete=True)
    assert len(desk.sidecars("r2")) == 1


def test_requests_in_test_mode_have_a_budget_of_their_own(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_TEST_FILES_PER_MINUTE="1")
    for request_id in ("t1", "t2", "r1"):
        desk.api.state.put(shown(request_id, test_mode=request_id != "r1"))
        desk.happen(DOWNLOADABLE, request_id=request_id)
    assert [bool(desk.sidecars(request_id)) for request_id in ("t1", "t2", "r1")] == [True, False, True]


def test_processes_share_the_budget(redis_server: RedisServer, state: Redis) -> None:
    with redis_server.client() as other:
        budgets = [CallBudgets(Scripts(client), {"files": 10}) for client in (state, other)]
        taken = [0, 0]

        def take(number: int) -> None:
            for call in range(20):
                taken[number] += budgets[number].take("account", Turn(f"{number} {call}"), "files") == 0

        threads = [threading.Thread(target=take, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(taken) == 10


def test_an_account_is_named_without_its_key() -> None:
    assert API_KEY not in account_of(API_KEY)


def test_the_remaining_limit_is_read_under_either_name() -> None:
    for name in ("X-RateLimit-Remaining", "x-ratelimit-limit-remaining"):
        headers = {name: "0", "X-Ratelimit-Reset": "4102444800"}
        server = serve(partial(Response, PDF, headers=headers))
        try:
            answer = SignApi(server.url + "/v3", API_KEY).files("r1", "pdf")
        finally:
            server.stop()
        assert answer.status == 200
        assert answer.reset_at is not None
        assert 3500 < answer.reset_at - time.time() <= 3600


def test_what_the_vendor_signed_is_fetched_before_a_flood_of_claims(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_API_PER_MINUTE="1")
    desk.api.state.put(shown("genuine"))
    for number in range(6):
        forged = callback(DOWNLOADABLE, 0, f"forged{number}", is_complete=True)
        desk.deployment.deliver(forged, verdict=BodySignature.ABSENT)
        desk.deployment.run()
    desk.happen(DOWNLOADABLE, request_id="genuine", is_complete=True)
    waiting: Any = desk.state.zrange(keys.action("fetch_documents", "waiting"), 0, -1, withscores=True)
    due = {unit.decode().split("/")[1].partition("|")[0]: at for unit, at in waiting}
    assert due["genuine"] < time.time() + 62
    assert max(due.values()) > time.time() + 120, "the others wait, one call a minute"
