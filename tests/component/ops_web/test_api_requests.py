"""``GET /api/requests/<id>`` and ``/api/queues``: an application asks, and waits."""

from __future__ import annotations

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from redis import Redis

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import status
from deedbox.ops.web.api.watcher import SEATS
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.records.tombstone import Tombstone
from deedbox.shared.redis import keys
from tests.component.ops_web.asking import arrive, confirm, get, meanwhile, tracking
from tests.component.ops_web.conftest import TOKEN, Ops, StartOps
from tests.component.workers.rig import CREATED_AT, P, callback, sent, viewed
from tests.component.workers.server import RedisServer, until

pytestmark = pytest.mark.real_redis


def _waits(state: Redis) -> bool:
    """Tell whether the watcher asks about a request: it repeats its command several times a second."""

    def asked() -> int:
        return int(state.info("commandstats").get("cmdstat_mget", {}).get("calls", 0))

    first = asked()
    time.sleep(0.6)
    return asked() > first


def _connect(ops: Ops, path: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", int(ops.url.rpartition(":")[2])))
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    return client


def test_a_request_says_where_it_and_its_signers_stand(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0, title="Lease"), viewed(5))

    found = get(ops, "/api/requests/r1")

    assert found == {
        "signature_request_id": "r1", "source": "default", "state": "viewed", "ready_to_sign": True,
        "complete": False, "closed": False, "signers": [{"signature_id": "s1", "state": "viewed"}],
        "trust": {"state": "attested", "signers": "attested", "title": "attested", "test_mode": None},
        "documents": [], "title": "Lease", "test_mode": None, "updated_at": CREATED_AT + 5,
        "waited": False, "met": None, "busy": False,
    }  # fmt: skip


def test_a_request_belongs_to_its_source(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0), source="emea")
    assert ops.request("GET", "/api/requests/r1").json()["error"] == "not_found"
    assert get(ops, "/api/requests/r1?source=emea")["state"] == "sent"


@pytest.mark.parametrize("path", ["nobody", "a:b", "..%2F..%2Fr1", "%00", "r1*", "x" * 129])
def test_what_is_no_known_id_is_not_found(ops: Ops, state: Redis, path: str) -> None:
    assert state.dbsize() == 0
    answer = ops.request("GET", f"/api/requests/{path}")
    assert (answer.status, answer.json()["error"]) == (404, "not_found")


def test_a_request_that_was_erased_says_so(ops: Ops, state: Redis) -> None:
    state.set(keys.erased("default:signature_request/r1"), Tombstone(1_800_000_000, "operator").dump())
    answer = ops.request("GET", "/api/requests/r1")
    assert (answer.status, answer.json()["error"]) == (404, "not_found")
    assert "was erased at" in answer.json()["detail"]


def test_an_id_never_leads_to_another_kind_of_key(ops: Ops, state: Redis) -> None:
    state.set(keys.request("default:template/t1"), json.dumps({"state": "sent"}))
    answer = ops.request("GET", "/api/requests/..%2Ftemplate%2Ft1")
    assert answer.status == 404


def test_the_event_that_is_waited_for_ends_the_wait(ops: Ops, state: Redis) -> None:
    deployment = tracking(state)
    path = "/api/requests/r1?wait=ready_to_sign&timeout=20"
    with meanwhile(lambda: get(ops, path)) as answers:
        until(lambda: _waits(state), "the client waits")
        arrive(deployment, callback(P + "prepared", 0, created_at=CREATED_AT))
        assert not answers
        arrive(deployment, sent(1))
    assert [(each["waited"], each["met"], each["state"]) for each in answers] == [(True, True, "sent")]


def test_what_is_so_already_is_not_waited_for(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0))
    found = get(ops, "/api/requests/r1?wait=ready_to_sign")
    assert (found["waited"], found["met"]) == (False, True)


def test_waiting_ends_when_the_request_has_ended_otherwise(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0), callback(P + "declined", 9, created_at=CREATED_AT))
    found = get(ops, "/api/requests/r1?wait=complete")
    assert (found["met"], found["closed"], found["state"]) == (False, True, "declined")


@pytest.mark.parametrize("end", ["declined", "canceled", "expired", "all_signed"])
def test_waiting_for_signers_to_be_able_to_sign_ends_at_once_when_they_never_will(
    ops: Ops, state: Redis, end: str
) -> None:
    arrive(tracking(state), sent(0), callback(P + end, 9, created_at=CREATED_AT))
    found = get(ops, "/api/requests/r1?wait=ready_to_sign&timeout=20")
    names = ("ready_to_sign", "met", "closed", "complete", "waited")
    assert [found[name] for name in names] == [False, False, True, False, False]


def test_waiting_for_the_documents_of_a_complete_request_goes_on(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0), callback(P + "all_signed", 9, created_at=CREATED_AT))
    found = get(ops, "/api/requests/r1?wait=documents&timeout=0.3")
    assert [found[name] for name in ("met", "closed", "waited")] == [False, False, True]


def test_a_request_that_somebody_has_viewed_is_ready_to_sign_though_no_sent_came(
    ops: Ops, state: Redis
) -> None:
    arrive(tracking(state), callback(P + "viewed", 5, related="s1"))
    found = get(ops, "/api/requests/r1?wait=ready_to_sign&timeout=20")
    assert (found["met"], found["waited"]) == (True, False)


def test_after_the_timeout_the_answer_says_that_it_is_not_so(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0))
    found = get(ops, "/api/requests/r1?wait=documents&timeout=0.3")
    assert (found["waited"], found["met"], found["state"]) == (True, False, "sent")
    assert ops.request("GET", "/api/requests/nobody?wait=documents&timeout=0.3").status == 404


def test_sixty_waiting_clients_do_not_stop_the_others(ops: Ops, state: Redis) -> None:
    deployment = tracking(state)
    arrive(deployment, sent(0))
    path = "/api/requests/r1?wait=complete&timeout=25"
    with ThreadPoolExecutor(60) as pool:
        answers = [pool.submit(ops.request, "GET", path, headers={"Connection": "close"}) for _ in range(60)]
        until(lambda: sum(each.done() for each in answers) == 60 - SEATS, "those without a seat are answered")
        assert "stages" in get(ops, "/api/queues")
        confirm(state, is_complete=True)
        found = [each.result() for each in answers]
    bodies = [answer.json() for answer in found]
    assert sum(body["waited"] and body["met"] for body in bodies) == SEATS
    busy = [answer for answer, body in zip(found, bodies, strict=True) if body["busy"]]
    assert len(busy) == 60 - SEATS
    assert all(answer.headers["Retry-After"] == "2" for answer in busy)


def test_clients_that_hang_up_leave_their_seats(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0))
    brief = "/api/requests/r1?wait=complete&timeout=0.01"
    with ExitStack() as clients:

        def sit_down() -> None:
            clients.enter_context(_connect(ops, "/api/requests/r1?wait=complete"))

        def full() -> bool:
            # Who asks takes a seat for a moment too; the client that came in that moment was told busy for good.
            if busy := get(ops, brief)["busy"]:
                return bool(busy)
            sit_down()
            return False

        for _ in range(SEATS):
            sit_down()
        until(full, "every seat is taken")
    until(lambda: not get(ops, brief)["busy"], "a seat is free", patience_s=10)


def test_a_process_that_stops_answers_those_who_wait(start_ops: StartOps, state: Redis) -> None:
    arrive(tracking(state), sent(0))
    ops = start_ops()
    with ExitStack() as stack:
        clients = [stack.enter_context(_connect(ops, "/api/requests/r1?wait=complete")) for _ in range(3)]
        until(lambda: _waits(state), "they wait")
        ops.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.settimeout(10)
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert ops.process.wait(timeout=10) == 0


def test_waiting_lives_through_an_outage_of_redis(ops: Ops, state: Redis) -> None:
    deployment = tracking(state)
    with meanwhile(lambda: get(ops, "/api/requests/r1?wait=ready_to_sign&timeout=20")) as answers:
        until(lambda: _waits(state), "the client waits")
        state.client_kill_filter(_type="normal", skipme=True)
        arrive(deployment, sent(0))
    assert [each["met"] for each in answers] == [True]


def test_queues_are_what_the_status_command_prints(ops: Ops, redis_server: RedisServer, state: Redis) -> None:
    deployment = tracking(state)
    deployment.deliver(sent(0))
    environ = {"DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_API_KEYS": "k" * 64}
    printed = status.look(Installation.load(environ)).document()
    found = get(ops, "/api/queues")
    stages = found["stages"]
    assert {**found, "stages": list(stages)} == {**printed, "stages": list(printed["stages"])}
    assert {name: stage["depth"] for name, stage in stages.items() if stage["depth"]} == {
        "inbox": 1, "lane:sequencer": 1,
    }  # fmt: skip
    assert set(stages["inbox"]) == {"depth", "oldest_age_s"}


def test_a_wait_for_what_is_only_claimed_asks_for_a_look_up_once_and_for_a_bounded_number(
    ops: Ops, state: Redis
) -> None:
    deployment = tracking(state)
    deployment.deliver(sent(0), verdict=BodySignature.ABSENT)
    deployment.run()
    state.zadd(
        keys.CONFIRM_DUE, {f"default:signature_request/other{number}": number for number in range(1500)}
    )
    found = get(ops, "/api/requests/r1?wait=ready_to_sign&timeout=0.3")
    assert (found["met"], found["state"], found["trust"]["state"]) == (False, "sent", "claimed")
    assert state.zscore(keys.CONFIRM_DUE, "default:signature_request/r1")
    assert state.zcard(keys.CONFIRM_DUE) == 1000
    assert 0 < int(state.ttl(keys.CONFIRM_DUE)) <= 600
    confirm(state, signatures=[{"signature_id": "s1", "status_code": "awaiting_signature"}])
    assert get(ops, "/api/requests/r1?wait=ready_to_sign&timeout=20")["met"]


def test_a_wait_for_what_the_vendor_signed_asks_for_nothing(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), sent(0))
    get(ops, "/api/requests/r1?wait=ready_to_sign&timeout=0.3")
    get(ops, "/api/requests/r1?wait=complete&timeout=0.3")
    assert not state.exists(keys.CONFIRM_DUE)
