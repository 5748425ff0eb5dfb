"""Whatever callbacks are lost, cross with a reconcile or come after it: one event is released once, and none is left out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.gaps import ALL_SIGNED, DECLINED, DOWNLOADABLE, SENT, SIGNED, VIEWED, Known, lost
from deedbox.shared.core.identity import identify
from deedbox.shared.core.ordering import Arrival, OrderingPolicy, SequenceState, step
from deedbox.shared.core.signature import Origin, Trust
from deedbox.shared.core.snapshot import arrival_of
from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback, SimulatedRequest, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy
from deedbox.workers.builtins.synthesis import callback_of
from tests.properties.player import stored

BEGINS_AT = 1_800_000_000
NOW = BEGINS_AT + 100_000.0
ONCE = frozenset({SENT, SIGNED, ALL_SIGNED, DECLINED})
LOOK = "look"
APPEND = "append"


def arrived(text: bytes, origin: Origin = Origin.CALLBACK) -> Arrival:
    """Reduce a callback as the sequencer does."""
    callback = parse_callback(text)
    return arrival_of(
        callback.event_type, callback.event_time, callback.related_signature_id,
        identify("default", callback).fingerprint, callback.payload,
        Trust.ATTESTED if origin is Origin.CALLBACK else Trust.CONFIRMED, origin,
    )  # fmt: skip


def name_of(each: Arrival) -> str:
    """Name what a callback is about; a held one does not know its snapshot any more."""
    return f"{each.type}|{each.position.signature if each.type in {SIGNED, VIEWED} else ''}"


def moved(each: SimulatedCallback, by_s: int) -> bytes:
    """Return a callback whose time is that of its sending, so much after what the API shows."""
    event = {**each.payload["event"], "event_time": str(each.event_time + by_s)}
    return json.dumps({**each.payload, "event": event}).encode()


@dataclass
class Stream:
    """One request at the sequencer, with its dedupe memory."""

    policy: OrderingPolicy
    state: SequenceState = SequenceState()
    seen: set[str] = field(default_factory=set)
    released: list[tuple[Arrival, bool]] = field(default_factory=list)

    def step(self, batch: list[Arrival], now: float) -> None:
        decision = step(stored(self.state), [(each, now) for each in batch], now, self.policy, self.seen)
        self.state = decision.state
        self.seen |= {each.fingerprint for place, each in enumerate(batch) if place not in decision.stood_for}
        self.released += [(each.arrival, each.late) for each in decision.release]


def story(rng: Random) -> SimulatedRequest:
    """Draw a request that is completed or declined."""
    policy = LifecyclePolicy(
        BEGINS_AT, spread_s=1, life_s=3000, canceled_rate=0, declined_rate=0.2, signers_max=3
    )
    [request] = generate_requests(1, Account("5" * 64), rng, policy)
    return request


def agenda_of(rng: Random, request: SimulatedRequest) -> list[bytes | str]:
    """Draw what happens: callbacks in any order, some lost and some twice; looks, and when what they found is appended."""
    texts = [moved(each, rng.choice([0, 0, 0, 1, 5, -1])) for each in request.callbacks]
    agenda: list[bytes | str] = [each for each in texts for _ in range(rng.choice([0, 0, 1, 2]))]
    looks = rng.randrange(4)
    agenda += [LOOK] * looks
    rng.shuffle(agenda)
    for number in range(looks):
        places = [place for place, each in enumerate(agenda) if each == LOOK]
        agenda.insert(rng.randint(places[number] + 1, len(agenda)), APPEND)
    return agenda


def play(rng: Random, request: SimulatedRequest) -> tuple[Stream, set[str]]:
    """Play an agenda in batches. Returns the stream, and the names of all that arrived."""
    shown = request.callbacks[-1].snapshot
    stream = Stream(OrderingPolicy(hold_s=rng.choice([0.0, 30.0])))
    found: list[list[bytes]] = []
    names: set[str] = set()
    now, batch = NOW, list[Arrival]()
    for each in agenda_of(rng, request):
        if each == LOOK:
            events = lost(Known(order=stream.state), shown, NOW, 10**9, has_document=True)
            found.append([callback_of(event, shown) for event in events])
            continue
        new = (
            [arrived(each)]
            if isinstance(each, bytes)
            else [arrived(text, Origin.RECONCILED) for text in found.pop(0)]
        )
        batch += new
        names |= {name_of(one) for one in new}
        if rng.random() < 0.5:
            stream.step(batch, now)
            now, batch = now + rng.choice([0.0, 1.0, 60.0]), []
    stream.step(batch, now)
    stream.step([], now + 3600)
    return stream, names


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 400, 100)])
def test_an_event_is_released_once_whatever_is_lost_or_crosses(seeds: range) -> None:
    for seed in seeds:
        rng = Random(seed)
        stream, arrived_names = play(rng, story(rng))
        prints = Counter(each.fingerprint for each, _ in stream.released)
        assert set(prints.values()) <= {1}, seed
        names = Counter(name_of(each) for each, _ in stream.released)
        once = {name for name in arrived_names if name.partition("|")[0] in ONCE}
        assert {name: names[name] for name in once} == dict.fromkeys(once, 1), seed
        assert set(names) == arrived_names, seed
        punctual = [each.position for each, late in stream.released if not late]
        assert punctual == sorted(punctual), seed


@pytest.mark.parametrize("seed", range(20))
def test_a_request_that_lost_everything_is_released_in_the_order_of_its_times(seed: int) -> None:
    request = story(Random(seed))
    shown = request.callbacks[-1].snapshot
    stream = Stream(OrderingPolicy())
    events = lost(Known(), shown, NOW, 10**9, has_document=True)
    stream.step([arrived(callback_of(each, shown), Origin.RECONCILED) for each in events], NOW)
    assert [each.position.time for each, _ in stream.released] == [each.time for each in events]
    assert not any(late for _, late in stream.released)
    genuine = {
        f"{each.event_type}|{each.related_signature_id if each.event_type in {SIGNED, VIEWED} else ''}"
        for each in request.callbacks
    }
    assert {each.name for each in events} == {
        name for name in genuine if name.partition("|")[0] in ONCE | {VIEWED}
    } | ({f"{DOWNLOADABLE}|"} if shown["is_complete"] else set())
    assert replace(stream.state, held=()) == stream.state
