"""``deedbox reconcile`` as a real process, after hours in which the endpoint was down."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from redis import Redis

from deedbox.ops.web.app import create_app
from deedbox.shared.audit import audit_log
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.api_state import Endpoint, FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account, SimulatedRequest, generate_requests
from deedbox.shared.simulator.story import Ending, LifecyclePolicy
from tests.component.workers.gaps_desk import (
    API_KEY,
    SIGNED,
    GapsDesk,
    T,
    open_desk,
    settings_for,
    shown,
    signer,
    started_api,
)
from tests.component.workers.server import RedisServer
from tests.e2e.running import COMMAND, environment
from tests.support.command_line import run_command

pytestmark = pytest.mark.real_redis

REQUESTS = 24
Run = Callable[..., "Done"]


class Outage:
    """A deployment whose endpoint was down: of the same traffic, some requests were never seen, some half."""

    def __init__(self, desk: GapsDesk) -> None:
        self.desk = desk
        policy = LifecyclePolicy(begins_at=T, spread_s=600, life_s=1200, test_mode_rate=0.3)
        self.requests = generate_requests(REQUESTS, Account(API_KEY), Random(7), policy)
        for number, request in enumerate(self.requests):
            for callback in request.callbacks:
                desk.api.advance(callback)
            self.deliver(request, (0, 0.5, 1)[number % 3])

    def deliver(self, request: SimulatedRequest, share: float = 1) -> None:
        """Deliver the first callbacks of a request."""
        count = round(len(request.callbacks) * share)
        self.desk.deployment.deliver(*(each.json_text for each in request.callbacks[:count]))
        self.desk.deployment.run()

    def missed(self) -> set[str]:
        """Return the requests of which callbacks the API can make up for."""
        return {
            request.signature_request_id
            for number, request in enumerate(self.requests)
            if number % 3 != 2 and request.ending is not Ending.CANCELED
        }

    def completed(self) -> set[str]:
        """Return the requests that must have a document."""
        return {r.signature_request_id for r in self.requests if r.ending is Ending.COMPLETED}


@pytest.fixture
def api() -> Iterator[FilesApi]:
    api = started_api()
    yield api
    api.stop()


@pytest.fixture
def environ(redis_server: RedisServer, api: FilesApi, tmp_path: Path) -> dict[str, str]:
    return settings_for(redis_server.url, api.url, tmp_path)


@pytest.fixture
def desk(api: FilesApi, state: Redis, environ: dict[str, str]) -> GapsDesk:
    return open_desk(api, state, environ)


class Done(NamedTuple):
    """What a run left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What it printed with --json."""
        assert self.code == 0, self.err
        return dict(json.loads(self.out))


@pytest.fixture
def run(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run what the command becomes, in this process: importing the SDK again takes two seconds each time."""
    for name in [name for name in os.environ if name.startswith("DEEDBOX_")]:
        monkeypatch.delenv(name)

    def reconcile(*options: str, **more: str) -> Done:
        with monkeypatch.context() as context:
            for name, value in (environ | more).items():
                context.setenv(name, value)
            capsys.readouterr()
            code = run_command(["reconcile", *options], monkeypatch)
        return Done(code, *capsys.readouterr())

    return reconcile


@pytest.fixture
def run_process(environ: dict[str, str], tmp_path: Path) -> Run:
    """Run ``deedbox reconcile`` as a person does."""

    def reconcile(*options: str, **more: str) -> Done:
        done = subprocess.run(
            [COMMAND, "reconcile", *options], env=environment(**environ | more), cwd=tmp_path,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return reconcile


def test_what_an_outage_took_is_repaired_and_a_second_run_changes_nothing(
    desk: GapsDesk, run_process: Run
) -> None:
    outage = Outage(desk)
    done = run_process("--since", "3h", "--yes", "--json").document
    listed = {row["signature_request_id"] for row in done["requests"]}
    assert outage.missed() <= listed
    assert (done["listed"], done["handed_over"]) == (REQUESTS, len(listed))
    assert {"never_seen", "behind", "no_document"} <= set(done["gaps"])
    desk.deployment.run()
    for request_id in outage.completed():
        assert desk.documents(request_id) == 1, request_id
        assert desk.model(request_id)["state"] in {"all_signed", "downloadable"}
    told, files = len(desk.told.calls), desk.calls(Endpoint.FILES)
    assert told == len(listed)
    assert desk.deployment.letters() == []

    [recorded] = audit_log.read(desk.deployment.redis, 9)
    assert (recorded.operation, recorded.count, recorded.way) == ("reconcile", len(listed), "command")
    again = run_process("--since", "3h", "--yes", "--json").document
    assert (again["requests"], again["handed_over"]) == ([], 0)
    desk.deployment.run()
    assert (len(desk.told.calls), desk.calls(Endpoint.FILES)) == (told, files)


def test_the_api_hands_over_what_its_plan_has_listed(
    desk: GapsDesk, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(desk)
    for name, value in (environ | {"DEEDBOX_OPS_TOKEN": "component-test-token-0123"}).items():
        monkeypatch.setenv(name, value)
    site = create_app(Settings.load(os.environ)).test_client()

    def ask(body: dict[str, str]) -> Any:
        headers = {"Authorization": "Bearer component-test-token-0123"}
        answer = site.post("/api/operations/reconcile", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    planned = ask({"since": "3h"})
    listed = {row["signature_request_id"] for row in planned["plan"]["requests"]}
    assert outage.missed() <= listed
    assert planned["plan"]["handed_over"] == 0
    assert ask({"token": planned["token"]})["done"]["handed_over"] == len(listed)
    [recorded] = audit_log.read(desk.deployment.redis, 9)
    assert (recorded.operation, recorded.count, recorded.way) == ("reconcile", len(listed), "api")
    desk.deployment.run()
    assert all(desk.documents(request_id) == 1 for request_id in outage.completed())


def test_callbacks_that_come_after_the_repair_are_processed_as_ever(desk: GapsDesk, run: Run) -> None:
    outage = Outage(desk)
    run("--since", "3h", "--yes")
    desk.deployment.run()
    files = desk.calls(Endpoint.FILES)
    for request in outage.requests:
        outage.deliver(request)
    sent = sum(len(request.callbacks) for request in outage.requests)
    released = desk.deployment.counters()["released"] + desk.deployment.counters()["late"]
    assert released == sent
    assert desk.calls(Endpoint.FILES) == files
    assert desk.deployment.letters() == []


def test_two_runs_at_once_repair_once(desk: GapsDesk, run: Run) -> None:
    """Both list before any worker repairs."""
    desk.api.state.put(shown())
    assert (
        run("--yes", "--json").document["handed_over"] == run("--yes", "--json").document["handed_over"] == 1
    )
    desk.deployment.run()
    assert (desk.documents(), desk.calls(Endpoint.FILES), len(desk.told.calls)) == (1, 1, 1)


def test_a_dry_run_shows_and_changes_nothing(desk: GapsDesk, run: Run) -> None:
    desk.api.state.put(shown("r1", test_mode=True))
    before = desk.state.dbsize()
    done = run("--dry-run")
    assert done.code == 0
    assert "1 signature request listed, 1 with something missing here" in done.out
    assert "r1  all_signed (test): never_seen, no_document" in done.out
    assert "Ada" not in done.out
    assert desk.state.keys(keys.PREFIX + "event:*") == []
    assert desk.state.dbsize() <= before + 1  # the window of the account's budget


def test_without_a_terminal_it_wants_to_be_told(desk: GapsDesk, run_process: Run) -> None:
    desk.api.state.put(shown())
    done = run_process()
    assert (done.code, "--yes" in done.err) == (2, True)
    assert desk.deployment.left() == 0


def test_only_what_changed_since_then_counts_for_a_request_that_is_not_known(
    desk: GapsDesk, run: Run
) -> None:
    """What was done with long ago is forgotten here; it is no gap."""
    desk.api.state.put(shown())
    assert run("--since", "1h", "--yes", "--json").document["requests"] == []
    assert len(run("--since", "3h", "--yes", "--json").document["requests"]) == 1


def test_a_change_of_this_minute_is_left_to_its_callbacks(desk: GapsDesk, run: Run) -> None:
    just_now = int(time.time()) - T - 5
    desk.api.state.put(shown("r1", signer("s1", just_now), is_complete=False))
    done = run("--yes", "--json").document
    assert (done["too_fresh"], done["requests"]) == (1, [])


def test_a_request_older_than_the_reach_is_not_listed(desk: GapsDesk, run: Run) -> None:
    desk.api.state.put(shown("r1", created_at=T - 40 * 86_400))
    assert run("--since", "3h", "--yes", "--json").document["listed"] == 0
    assert run("--since", "3h", "--reach", "60d", "--yes", "--json").document["handed_over"] == 1


def test_all_pages_are_read(desk: GapsDesk, run: Run) -> None:
    for number in range(205):
        desk.api.state.put(shown(f"q{number}", SIGNED))
    assert run("--since", "3h", "--yes", "--json").document["handed_over"] == 205
    assert desk.calls(Endpoint.LIST) == 3


def test_a_rate_limit_is_waited_for(desk: GapsDesk, run: Run) -> None:
    """The reset header names a moment within the window, here a second long."""
    desk.api.stop()
    api = started_api(FilesApiPolicy(not_ready_max=0, calls_per_window=1, window_s=2))
    try:
        for number in range(150):
            api.state.put(shown(f"q{number}"))
        done = run("--since", "3h", "--dry-run", "--json", DEEDBOX_API_URL=api.url).document
        assert done["listed"] == 150
    finally:
        api.stop()


def test_a_wrong_key_is_one_sentence(desk: GapsDesk, run_process: Run) -> None:
    del desk
    done = run_process("--yes", DEEDBOX_API_KEYS="f" * 64)
    assert (done.code, done.out) == (2, "")
    assert done.err.strip().startswith("deedbox: DEEDBOX_API_KEYS")
    assert len(done.err.strip().splitlines()) == 1
    assert "f" * 64 not in done.err


@pytest.mark.parametrize(
    ("options", "more", "says"),
    [
        (("--since", "yesterday"), {}, "--since is not usable"),
        (("--since", "2999-01-01"), {}, "--since is not usable"),
        (("--reach=-1d",), {}, "--reach is not usable"),
        (("--source", "sales"), {}, "There is no source sales"),
        ((), {"DEEDBOX_BUILTINS": "track_status"}, "DEEDBOX_BUILTINS leaves out reconcile"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(
    desk: GapsDesk, run: Run, options: tuple[str, ...], more: dict[str, str], says: str
) -> None:
    del desk
    done = run("--yes", *options, **more)
    assert (done.code, says in done.err) == (2, True), done.err
    assert len(done.err.strip().splitlines()) == 1


def test_an_api_that_does_not_answer_is_one_sentence(desk: GapsDesk, run: Run) -> None:
    del desk
    done = run("--yes", DEEDBOX_API_URL=f"http://127.0.0.1:{free_port()}/v3")
    assert (done.code, done.out) == (1, "")
    assert "did not list the signature requests" in done.err
    assert "Traceback" not in done.err
