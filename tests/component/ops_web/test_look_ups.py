"""Requests are found by signature id, metadata, state and test mode, page by page, and not after they are erased."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.web.app import create_app
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.redis import keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.settings import Settings
from tests.component.ops_web.asking import arrive, get, tracking
from tests.component.ops_web.conftest import TOKEN, Ops
from tests.component.workers.rig import CREATED_AT, P, callback, members, sent
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis


def _sent(request_id: str, **more: Any) -> bytes:
    signatures = [{"signature_id": f"s-{request_id}", "status_code": "awaiting_signature"}]
    return sent(0, request_id, signatures=signatures, **more)


def _found(ops: Ops, **wanted: object) -> list[str]:
    words = "&".join(f"{name.replace('__', '.')}={value}" for name, value in wanted.items())
    return [each["signature_request_id"] for each in get(ops, f"/api/requests?{words}")["requests"]]


def test_requests_are_found_by_what_their_callbacks_said_all_of_it_together(ops: Ops, state: Redis) -> None:
    deployment = tracking(state)
    arrive(deployment, _sent("r1", metadata={"order_id": "4711", "env": "prod"}, test_mode=True))
    arrive(deployment, _sent("r2", metadata={"order_id": 4712, "env": "prod"}))
    arrive(deployment, callback(P + "declined", 5, "r2", created_at=CREATED_AT))
    arrive(deployment, _sent("r3"), source="sales")

    assert _found(ops, signature_id="s-r1") == ["r1"]
    assert _found(ops, metadata__order_id=4712) == ["r2"]
    assert _found(ops, metadata__env="prod") == ["r2", "r1"], "the latest change first"
    assert _found(ops, metadata__env="prod", metadata__order_id=4711) == ["r1"]
    assert (_found(ops, state="sent"), _found(ops, state="declined")) == (["r1"], ["r2"])
    assert _found(ops, metadata__env="prod", state="declined") == ["r2"]
    assert (_found(ops, test_mode="true"), _found(ops)) == (["r1"], ["r2", "r1"])
    assert (_found(ops, source="sales"), _found(ops, source="sales", signature_id="s-r1")) == (["r3"], [])
    assert _found(ops, metadata__env="staging") == _found(ops, signature_id="s-r9") == []


def test_pages_hold_each_request_once_from_the_newest_to_the_oldest(ops: Ops, state: Redis) -> None:
    arrive(tracking(state), *(_sent(f"r{number}") for number in range(7)))
    for stream in members(state, keys.STREAMS)[:4]:
        state.zadd(keys.STREAMS, {stream: 1000.5})  # of one moment
    seen, before = [], ""
    while True:
        page = get(ops, f"/api/requests?limit=2{before}")
        seen += [each["signature_request_id"] for each in page["requests"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert sorted(seen) == [f"r{number}" for number in range(7)]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("state=gone", "state is not usable"),
        ("before=x", "before is not usable"),
        ("metadata=x", "metadata is given as metadata.NAME=VALUE"),
        ("metadata.a=1&metadata.a=2", "is given more than once"),
        ("order_id=1", "order_id is no parameter here"),
    ],
)
def test_a_question_that_means_nothing_is_refused_with_a_sentence(
    ops: Ops, state: Redis, words: str, sentence: str
) -> None:
    del state
    answer = ops.request("GET", f"/api/requests?{words}")
    assert (answer.status, sentence in answer.json()["detail"]) == (400, True)


def test_indexes_are_bounded_end_and_are_erased_with_the_request(
    ops: Ops, state: Redis, tmp_path: Path
) -> None:
    many = [{"signature_id": f"s{number}"} for number in range(400)]
    metadata = {f"n{number}": "v" for number in range(50)} | {"long": "x" * 5000}
    deployment = tracking(state)
    arrive(deployment, sent(0, "r1", signatures=many, metadata=metadata), _sent("r2"))
    stream = "default:signature_request/r1"
    assert state.hlen(keys.finds(stream)) <= 101
    names = [*state.scan_iter(keys.find("*")), *state.scan_iter(keys.finds("*"))]
    assert names
    assert all(0 < state.ttl(name) <= Retention().state_s for name in names)

    store = DocumentStore(FileTree(tmp_path))
    eraser = Eraser(Scripts(state), store, Retention())
    eraser.erase(Subject("default", "signature_request/r1"), documents=False, by=Asker.OPERATOR)

    assert not state.exists(keys.finds(stream))
    assert [name for name in state.scan_iter(keys.find("*")) if state.zscore(name, "r1") is not None] == []
    assert _found(ops, state="sent") == ["r2"]


def test_the_dashboard_filters_by_state_and_mode_and_lists_what_waits_for_signers_longest(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    deployment = tracking(state)
    arrive(deployment, _sent("r1", title="Lease of 1"))
    arrive(deployment, _sent("r2", title="Lease of 2", test_mode=True))
    arrive(deployment, _sent("r3", title="Lease of 3"))
    arrive(deployment, callback(P + "declined", 5, "r3", created_at=CREATED_AT))
    settings = Settings.load({
        "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(tmp_path), "DEEDBOX_OPS_TOKEN": TOKEN,
        "DEEDBOX_API_KEYS": "k" * 64,
    })  # fmt: skip
    client = create_app(settings).test_client()

    def page(words: str) -> str:
        answer = client.get(f"/requests{words}", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        return answer.text

    waiting = page("").partition('id="waiting"')[2].partition("</section>")[0]
    assert 0 < waiting.index("Lease of 1") < waiting.index("Lease of 2")
    assert "Lease of 3" not in waiting
    assert [f"Lease of {n}" in page("?state=sent&mode=live") for n in (1, 2, 3)] == [True, False, False]
    assert [f"Lease of {n}" in page("?mode=test") for n in (1, 2, 3)] == [False, True, False]
    assert [f"Lease of {n}" in page("?state=declined") for n in (1, 2, 3)] == [False, False, True]
