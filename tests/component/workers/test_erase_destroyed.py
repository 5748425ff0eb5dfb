"""``erase_destroyed`` and ``fetch_documents``, as a process builds them, against the simulated API over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry as Retrying

from deedbox.shared.core.identity import shard_of
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Holdings, Subject
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.api_state import Endpoint
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from deedbox.workers.builtins.erase_destroyed import GRACE_S, EraseDestroyed
from deedbox.workers.builtins.fetch_documents import FetchDocuments
from deedbox.workers.dropbox_sign.account import Accounts
from deedbox.workers.dropbox_sign.call_budgets import CallBudgets
from deedbox.workers.dropbox_sign.client import SignApi
from deedbox.workers.process import Process
from tests.component.workers.fetch_desk import API_KEY, DOWNLOADABLE, GENEROUS, LANE, shown
from tests.component.workers.rig import (
    Deployment,
    Journal,
    P,
    action,
    callback,
    depth,
    expire_units,
    sent,
    units,
    viewed,
)
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

SUBJECT = Subject("default", "signature_request/r1")
DESTROYED = P + "destroyed"


@dataclass
class Desk:
    """The built-in actions beside one of a user's, and the API that they ask."""

    api: FilesApi
    deployment: Deployment
    seen: Journal
    """Calls of the user's action."""
    folder: Path
    trouble: type[Exception] | None = None
    """What the user's action raises on ``destroyed``."""

    def built_in(self, name: str) -> Any:
        registered = self.deployment.registry.get(name)
        assert registered is not None
        return registered.function

    def happen(self, *bodies: bytes) -> None:
        self.deployment.deliver(*bodies)
        self.deployment.run()

    def go_on(self) -> None:
        """Let every wait be over."""
        expire_units(self.deployment.redis, "waiting")
        self.deployment.sweeper.once()
        self.deployment.run()

    def erased(self) -> bool:
        """Tell whether nothing but a tombstone is left."""
        names = {name.decode() for name in self.deployment.redis.scan_iter("*r1*")}
        return names == {keys.erased(SUBJECT.stream)} and not self.deployment.letters()

    def asked(self) -> int:
        """Count the calls that asked the API for a request."""
        return sum(count for (name, _), count in self.api.calls().items() if name is Endpoint.REQUEST)


Open = Callable[..., Desk]


@pytest.fixture
def open_desk(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Open]:
    started: list[FilesApi] = []

    def begin(**settings: str) -> Desk:
        api = FilesApi(Account(API_KEY), GENEROUS)
        api.start()
        started.append(api)
        process = Process(Settings.load({
            "DEEDBOX_API_KEYS": API_KEY, "DEEDBOX_API_URL": api.url, "DEEDBOX_REDIS_URL": redis_server.url,
            "DEEDBOX_DATA_DIR": str(tmp_path), **settings,
        }))  # fmt: skip
        built_in = [process.registry.get(name) for name in process.settings.enabled_builtins]
        journal = Journal()

        def user(event: Event, context: Context) -> None:
            if event.type == DESTROYED and built.trouble is not None:
                raise built.trouble("not now")
            journal(event, context)

        deployment = Deployment(state, *filter(None, built_in), action(user))
        built = Desk(api, deployment, journal, tmp_path / "documents" / "default" / "r1")
        return built

    yield begin
    for api in started:
        api.stop()


@pytest.fixture
def desk(open_desk: Open) -> Desk:
    """Lend a desk whose request r1 has a document and is gone at the vendor."""
    return with_document(open_desk())


def with_document(desk: Desk, status: int = 410) -> Desk:
    desk.api.state.put(shown())
    desk.happen(sent(), callback(DOWNLOADABLE, 5, is_complete=True))
    assert len(list(desk.folder.iterdir())) == 2
    desk.api.script("r1", [status] * 9, Endpoint.REQUEST)
    return desk


def destroyed() -> bytes:
    return callback(DESTROYED, 60)


def test_a_destroyed_request_is_erased_and_its_documents_stay(open_desk: Open) -> None:
    desk = open_desk()
    desk.api.script("r1", [410], Endpoint.REQUEST)
    desk.happen(sent(title="Jane"), destroyed())
    desk.go_on()
    assert desk.erased()
    assert desk.seen.types() == ["sent", "destroyed"], "the user's action sees it first"


def later(desk: Desk) -> None:
    """Let the grace be over."""
    desk.built_in("erase_destroyed")._clock = lambda: time.time() + GRACE_S + 1
    desk.go_on()


def test_a_request_that_the_api_showed_is_erased_once_it_says_twice_that_it_knows_none(
    open_desk: Open,
) -> None:
    desk = with_document(open_desk(), status=404)
    desk.happen(destroyed())
    asked = desk.asked()
    desk.go_on()
    assert not desk.erased()
    later(desk)
    assert desk.erased()
    assert desk.asked() > asked


def test_what_comes_during_the_grace_begins_it_anew(open_desk: Open) -> None:
    desk = with_document(open_desk(), status=404)
    desk.happen(destroyed())
    desk.go_on()
    desk.happen(viewed(70))
    later(desk)
    assert not desk.erased()
    assert desk.deployment.waiting() == 1
    assert "viewed" in [name.rstrip("!") for name in desk.seen.types()]


@pytest.mark.parametrize("verdict", [BodySignature.ABSENT, BodySignature.WRONG])
def test_a_forged_destroyed_of_a_request_that_the_api_never_showed_erases_nothing(
    open_desk: Open, verdict: BodySignature
) -> None:
    """Its 404 says that the API does not know the request yet, or that it is another account's."""
    desk = open_desk()
    desk.happen(sent())
    desk.deployment.deliver(destroyed(), verdict=verdict)
    desk.deployment.run()
    for _ in range(3):
        later(desk)
    desk.happen(viewed(70))
    assert "viewed" in [name.rstrip("!") for name in desk.seen.types()]
    assert desk.deployment.letters() == []
    notes = [line["detail"] for line in desk.deployment.timeline() if line["kind"] == "note"]
    assert any("deedbox erase" in note for note in notes)


def test_a_destroyed_that_the_vendor_signed_and_the_api_never_showed_is_left_to_a_person(
    open_desk: Open,
) -> None:
    desk = open_desk()
    desk.happen(sent(), destroyed())
    desk.go_on()
    assert not desk.erased()
    assert b"deedbox erase" in desk.deployment.letters()[0]["detail"]


@pytest.mark.parametrize("setting", ["off", "on"])
def test_documents_go_if_the_setting_says_so(open_desk: Open, setting: str) -> None:
    desk = with_document(open_desk(DEEDBOX_ERASE_DOCUMENTS=setting))
    desk.happen(destroyed())
    desk.go_on()
    assert desk.erased()
    assert desk.folder.exists() is (setting == "off")


def test_it_waits_until_every_other_action_has_had_the_event(desk: Desk) -> None:
    asked = desk.asked()
    desk.trouble = Retry
    desk.happen(destroyed())
    for _ in range(3):
        desk.go_on()
    assert not desk.erased()
    assert desk.asked() == asked, "the API is asked last"
    desk.trouble = None
    desk.go_on()
    desk.go_on()
    assert desk.erased()
    assert desk.seen.types()[-1] == "destroyed"


def test_a_dead_letter_of_another_action_does_not_hold_it_up(desk: Desk) -> None:
    desk.trouble = Reject
    desk.happen(destroyed())
    desk.go_on()
    assert desk.erased()


def test_it_waits_for_events_that_are_held(desk: Desk) -> None:
    proof = {"signature_id": "s2", "signed_at": 1_800_000_080}
    desk.happen(destroyed(), callback(P + "all_signed", 90, signatures=[proof]))
    desk.go_on()
    assert desk.deployment.redis.zcard(keys.HELD) == 1
    assert not desk.erased()


def test_a_request_that_the_api_still_shows_is_not_erased(open_desk: Open) -> None:
    """A forged callback, or a vendor that changed its mind: ``event_hash`` does not sign the body."""
    desk = open_desk()
    desk.api.state.put(shown())
    desk.happen(sent(), destroyed())
    desk.go_on()
    assert desk.deployment.waiting() == 1
    assert not [line for line in desk.deployment.timeline() if line["kind"] == "note"]
    erase_destroyed = desk.built_in("erase_destroyed")
    assert isinstance(erase_destroyed, EraseDestroyed)
    erase_destroyed._clock = lambda: time.time() + GRACE_S + 1
    desk.go_on()
    [note] = [line for line in desk.deployment.timeline() if line["kind"] == "note"]
    assert note["detail"] == "not erased: the API still shows the request"
    assert not desk.deployment.redis.exists(keys.erased(SUBJECT.stream))
    assert desk.deployment.left() == 0


@pytest.mark.parametrize(
    ("status", "dead"), [(401, True), (402, True), (400, True), (429, False), (503, False)]
)
def test_an_answer_that_says_neither_erases_nothing(open_desk: Open, status: int, dead: bool) -> None:  # noqa: FBT001
    desk = open_desk()
    desk.api.script("r1", [status], Endpoint.REQUEST)
    desk.happen(destroyed())
    desk.go_on()
    letters = desk.deployment.letters()
    assert bool(letters) is dead
    assert not letters or b"deedbox erase" in letters[0]["detail"]
    assert (desk.deployment.waiting() == 1) is not dead
    assert not desk.deployment.redis.exists(keys.erased(SUBJECT.stream))


def test_a_request_of_which_the_account_is_only_a_recipient_ends_with_a_note(open_desk: Open) -> None:
    desk = open_desk()
    desk.api.script("r1", [403], Endpoint.REQUEST)
    desk.happen(sent(), destroyed())
    desk.go_on()
    [note] = [line for line in desk.deployment.timeline() if line["kind"] == "note"]
    assert "only a recipient" in note["detail"]
    assert (desk.deployment.letters(), desk.deployment.left()) == ([], 0)


def test_a_request_whose_documents_are_here_needs_a_person_if_the_api_keeps_it_back(open_desk: Open) -> None:
    desk = open_desk()
    desk.api.state.put(shown())
    desk.happen(sent(), callback(DOWNLOADABLE, 5, is_complete=True))
    desk.api.script("r1", [403], Endpoint.REQUEST)
    desk.happen(destroyed())
    desk.go_on()
    assert b"deedbox erase" in desk.deployment.letters()[0]["detail"]


def test_without_budget_it_waits_without_a_call(open_desk: Open) -> None:
    desk = open_desk(DEEDBOX_API_PER_MINUTE="1")
    desk.happen(callback(DESTROYED, 60, "r2"), destroyed())
    for _ in range(3):
        desk.go_on()
    assert desk.asked() == 1
    assert desk.deployment.waiting() == 1


def test_an_outage_of_the_budgets_redis_uses_up_no_attempt(state: Redis, tmp_path: Path) -> None:
    nowhere = Redis(port=free_port(), retry=Retrying(NoBackoff(), 0))
    accounts = Accounts(
        {"default": SignApi("http://127.0.0.1:1/v3", API_KEY)}, CallBudgets(Scripts(nowhere), {"api": 9})
    )
    eraser = Eraser(Scripts(state), DocumentStore(FileTree(tmp_path)), Retention())
    erase = EraseDestroyed(eraser, Holdings(state), accounts, Scripts(state), documents=False)
    event = Event(
        type=DESTROYED, time=60, received_at=60.0, source="default", ordering_key=SUBJECT.ordering_key,
        signature_request_id="r1", related_signature_id=None, test_mode=False, late=False,
        body_signature="valid", trust="attested", payload={},
    )  # fmt: skip
    with pytest.raises(Retry, match="does not answer"):
        erase(event, Context(idempotency_key="k", attempt=1))


def test_a_call_that_was_killed_after_its_tombstone_is_finished_by_the_next(desk: Desk) -> None:
    asked = desk.asked()
    desk.deployment.deliver(destroyed())
    desk.deployment.drain()
    stream = SUBJECT.stream
    desk.deployment.scripts.call("erase", SERVER_CLOCK, stream, shard_of(stream), 999, "destroyed", 0)
    desk.deployment.work()
    assert desk.erased()
    assert desk.asked() == asked


def test_a_call_that_was_killed_after_its_erasure_leaves_nothing(desk: Desk) -> None:
    """Its lease is swept; its entry is gone."""
    deployment, redis = desk.deployment, desk.deployment.redis
    deployment.deliver(destroyed())
    deployment.drain()
    deployment.work("default")
    assert deployment.scripts.call(
        "claim_entries", SERVER_CLOCK, LANE, "killed", 0, 1, 1, 999, "erase_destroyed"
    )
    Eraser(deployment.scripts, DocumentStore(FileTree(desk.folder.parents[1])), Retention()).erase(
        SUBJECT, documents=False, by=Asker.DESTROYED
    )
    expire_units(redis, "leased")
    desk.go_on()
    assert desk.erased()
    assert len(units(redis, "leased")) == len(units(redis, "ready")) == 0
    assert depth(redis) == 0


@pytest.mark.parametrize("place", ["before it is stored", "after it is stored"])
def test_a_fetch_that_runs_during_an_erasure_does_not_put_the_document_back(
    open_desk: Open, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    desk = open_desk()
    desk.api.state.put(shown())
    fetch = desk.built_in("fetch_documents")
    assert isinstance(fetch, FetchDocuments)
    put = fetch._store.put
    eraser = Eraser(desk.deployment.scripts, fetch._store, Retention())

    def slow(*arguments: Any) -> Any:
        stored = None if place == "before it is stored" else put(*arguments)
        eraser.erase(SUBJECT, documents=True, by=Asker.OPERATOR)
        return stored or put(*arguments)

    monkeypatch.setattr(fetch._store, "put", slow)
    desk.happen(sent(), callback(DOWNLOADABLE, 5, is_complete=True))
    desk.go_on()
    assert desk.erased()
    assert not desk.folder.exists()


def test_what_still_comes_for_a_destroyed_request_is_a_duplicate(desk: Desk) -> None:
    desk.happen(destroyed())
    desk.go_on()
    calls = len(desk.seen.calls)
    desk.happen(destroyed(), viewed(70), sent())
    assert desk.erased()
    assert len(desk.seen.calls) == calls
    assert desk.deployment.counters()["duplicate"] == 3
