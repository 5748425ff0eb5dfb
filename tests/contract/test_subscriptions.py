"""What is subscribed is data: the newest declaration that a living process says decides where an event goes."""

from __future__ import annotations

from itertools import product
from typing import cast

import pytest

from deedbox.shared.core.routing import matches, unit_of
from deedbox.shared.records import timeline_line
from deedbox.shared.records.subscriptions import Subscription, Subscriptions, announced
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Operand
from deedbox.workers.announcement import SILENCE_S
from tests.contract.conftest import LANE, Store, queued

OLD = Subscriptions((Subscription("crm", ("sent",), "default"), Subscription("gone", ("sent",), LANE)))
NEW = Subscriptions(
    (Subscription("crm", ("sent", "viewed"), "crm"), Subscription("erp", ("*",), LANE, False))
)
STREAM = "default:signature_request/r1"


def _announce(store: Store, declared: Subscriptions, *, only_first: bool = False) -> int:
    """Announce as a process does. Returns the generation that counts."""
    return int(store.call("announce", declared.digest, declared.dump(), SILENCE_S, int(only_first))[0])


def _counts(store: Store) -> tuple[str, ...]:
    return tuple(announced(store.redis).lane_of)


@pytest.fixture
def bare(store: Store) -> Store:
    """Lend a store in which nothing was ever announced."""
    store.redis.delete(keys.SUBSCRIPTIONS, keys.PREFIX + "declarations")
    return store


def test_a_declaration_is_read_as_it_was_announced(bare: Store) -> None:
    assert announced(bare.redis) == Subscriptions()
    assert _announce(bare, NEW) == 1
    assert announced(bare.redis) == Subscriptions(NEW.actions, 1)


def test_a_process_that_starts_with_a_new_declaration_is_a_deployment(bare: Store) -> None:
    assert [_announce(bare, each) for each in (OLD, OLD, NEW)] == [1, 1, 2]
    assert _counts(bare) == ("crm", "erp")


def test_a_process_of_the_old_version_that_starts_again_changes_nothing_back(bare: Store) -> None:
    """A rolling deployment: for some time processes of both versions start and say that they live."""
    for each in (OLD, NEW):
        _announce(bare, each)
    for _ in range(50):
        bare.now += 10
        assert {_announce(bare, OLD), _announce(bare, NEW), _announce(bare, OLD)} == {2}
    assert _counts(bare) == ("crm", "erp")


def test_a_deployment_that_is_rolled_back_counts_as_soon_as_the_newer_processes_are_gone(bare: Store) -> None:
    for each in (OLD, NEW):
        _announce(bare, each)
    generations = []
    for _ in range(8):
        bare.now += 10
        generations.append(_announce(bare, OLD))
    assert generations == [2] * 5 + [3] * 3
    assert _counts(bare) == ("crm", "gone")


def test_what_was_rolled_back_can_be_deployed_again(bare: Store) -> None:
    for each in (OLD, NEW):
        _announce(bare, each)
    bare.now += SILENCE_S
    assert _announce(bare, OLD) == 3
    assert _announce(bare, NEW) == 3
    bare.now += SILENCE_S
    assert _announce(bare, NEW) == 4


def test_a_deployment_that_is_down_keeps_its_subscriptions(bare: Store) -> None:
    _announce(bare, NEW)
    bare.now += 30 * 86_400
    assert _counts(bare) == ("crm", "erp")
    assert _announce(bare, NEW) == 1


def test_a_process_that_runs_no_action_declares_only_what_nobody_has(bare: Store) -> None:
    """The sequencer's, in which DEEDBOX_ACTIONS may have been forgotten."""
    nothing = Subscriptions()
    assert _announce(bare, nothing, only_first=True) == 1
    assert _announce(bare, NEW) == 2
    bare.now += 10 * SILENCE_S
    assert _announce(bare, nothing, only_first=True) == 2
    assert _counts(bare) == ("crm", "erp")


def test_declarations_are_remembered_within_a_bound(bare: Store) -> None:
    for number in range(150):
        bare.now += 1
        _announce(bare, Subscriptions((Subscription(f"a{number}", ("*",), LANE),)))
    assert bare.redis.zcard(keys.PREFIX + "declarations") == 100


def test_nothing_is_released_before_anything_is_announced(bare: Store) -> None:
    bare.append((0, b"callback"))
    assert bare.claim_shard("sequencer") is None
    _announce(bare, OLD)
    shard = bare.shard("sequencer")
    bare.redis.delete(keys.SUBSCRIPTIONS)
    before = bare.dump()
    assert bare.release(shard, 1, ("S", STREAM, "", ""), queued(f"crm|{STREAM}", "f" * 32)) == [0]
    assert bare.dump() == before


def test_a_release_goes_by_what_is_announced_at_its_commit(bare: Store) -> None:
    """Its process may have read the batch before a deployment, and have none of the new actions."""
    _announce(bare, OLD)
    bare.append((0, b"callback"))
    shard = bare.shard("sequencer")
    _announce(bare, NEW)
    released: tuple[Operand, ...] = (
        "T",
        1,
        *timeline_line.dump([{"at": 1, "kind": "released"}, {"at": 1, "kind": "arrived"}]),
    )
    reply = bare.release(shard, 1, ("S", STREAM, "", ""), released, ("O", 0, "{}", 1, "f" * 32, "sent", ""))
    assert sorted(reply[1:]) == [b"crm", LANE.encode()]
    queues = sorted(
        key.decode().removeprefix(keys.queue("")) for key in bare.redis.scan_iter(keys.queue("*"))
    )
    assert queues == [f"crm|{STREAM}", f"erp|{STREAM}|{'f' * 32}"]
    [told] = bare.redis.lrange(keys.timeline(STREAM), 0, -1)
    assert timeline_line.load(cast("bytes", told)) == [
        {"at": 1, "kind": "released", "generation": 2},
        {"at": 1, "kind": "arrived"},
    ]


PATTERNS = (
    "*",
    "signature_request_*",
    "signature_request_sent",
    "deedbox.*",
    "deedbox.stored",
    "s*",
    "deedbox*",
)
TYPES = (
    "signature_request_sent",
    "signature_request_viewed",
    "deedbox.stored",
    "deedbox.other",
    "s",
    "deedboxed",
    "x",
)
STREAMS = (STREAM, "default:type/sms_done", "acme:template/t1", "acme:type/type", "type:fax/1")


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("stream", STREAMS)
def test_scripts_and_programs_agree_where_an_event_goes(store: Store, stream: str, ordered: bool) -> None:  # noqa: FBT001
    """What actions an event matches, and its unit of work, are said twice: here and in Lua."""
    names = {f"a{number}": pattern for number, pattern in enumerate(PATTERNS)}
    store.declare(*(Subscription(name, (pattern,), LANE, ordered) for name, pattern in names.items()))
    facts = {event_type: f"{number:032x}" for number, event_type in enumerate(TYPES)}
    store.append((0, b"callback"))
    dispatched = (("O", 0, "{}", 1, fact, event_type, "") for event_type, fact in facts.items())
    store.release(store.shard("sequencer"), 1, ("S", stream, "", ""), *dispatched)
    expected = {
        unit_of(name, stream, facts[event_type], ordered=ordered)
        for (name, pattern), event_type in product(names.items(), TYPES)
        if matches(pattern, event_type)
    }
    queues = {key.decode().removeprefix(keys.queue("")) for key in store.redis.scan_iter(keys.queue("*"))}
    assert queues == expected
