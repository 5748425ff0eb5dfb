"""The comparison's Deedbox is the real one: the whole sequencer, on a Redis in memory and the same virtual clock."""

from __future__ import annotations

from operator import itemgetter

import pytest

from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.core.reasons import ArrivalVerdict as Outcome
from deedbox.shared.records import timeline_line
from deedbox.shared.redis import inbox, keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.actions.registry import Registry
from deedbox.workers.announcement import announce
from deedbox.workers.sequencer.sequencer import Sequencer, SequencerPolicy
from deedbox.workers.sweeper.sweeper import Sweeper
from tests.bench.ordering.policies import deedbox
from tests.bench.ordering.traffic import (
    PACES,
    STRENGTHS,
    Disorder,
    Incoming,
    Kind,
    Life,
    envelope_of,
    lives,
    streams,
)
from tests.simulation.client import SimulatedRedis, Wire
from tests.simulation.server import Operand, Server

REQUESTS = 12
Told = list[tuple[str, float, bool]]
"""Fingerprint, time of the release, whether late."""


class Direct(Wire):
    """Every command at once, nothing lost."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def send(self, command: tuple[Operand, ...]) -> object:
        return self._server.execute(*command)


def ring(_lane: str) -> None:
    """Ring nobody: the test drains by hand."""


class Desk:
    """Inbox, sequencer and sweeper of a deployment, punctual on a clock that is only moved here."""

    def __init__(self, policy: OrderingPolicy) -> None:
        self.now = 0.0
        self.server = Server(lambda: self.now, {})
        self.scripts = Scripts(SimulatedRedis(Direct(self.server)))
        self.sequencer = Sequencer(self.scripts, SequencerPolicy(policy), ring)
        announce(self.scripts, Registry([]))
        self.sweeper = Sweeper(self.scripts, ring)

    def deliver(self, text: bytes, at: float) -> None:
        """Append a callback at ``at``, after everything that is due before."""
        while (due := self.next_wake()) is not None and due < at:
            self.drain(due)
        self.now = at
        load = inbox.Load()
        load.add(envelope_of(text, at))
        inbox.append(self.scripts, load)
        self.drain(at)

    def finish(self) -> None:
        """Let every hold end."""
        while (due := self.next_wake()) is not None:
            self.drain(due)

    def drain(self, now: float) -> None:
        self.now = now
        self.sweeper.once()
        while self.sequencer.drain_one("sequencer"):
            pass

    def next_wake(self) -> float | None:
        """Tell when the next hold ends."""
        scores = [
            self.server.execute("ZSCORE", name, stream)
            for name in self.server.names("wake:*")
            for stream in self.server.execute("ZRANGE", name, 0, -1)
        ]
        return min(map(float, scores), default=None)

    def released(self, request_id: str) -> Told:
        """Read from a request's timeline what went out, when."""
        lines = self.server.execute("LRANGE", keys.timeline(f"default:signature_request/{request_id}"), 0, -1)
        return [
            (line["event"], line["at"], line["kind"] == Outcome.LATE)
            for element in lines
            for line in timeline_line.load(element) or ()
            if line["kind"] in {Outcome.RELEASED, Outcome.LATE}
        ]


def by_sequencer(found: list[Life], delivered: list[list[Incoming]], policy: OrderingPolicy) -> list[Told]:
    desk = Desk(policy)
    texts = {
        arrival.fingerprint: callback.json_text
        for life in found
        for arrival, callback in zip(life.arrivals, life.callbacks, strict=True)
    }
    posts = [(each.at, texts[each.fingerprint]) for stream in delivered for each in stream]
    for at, text in sorted(posts, key=itemgetter(0)):
        desk.deliver(text, at)
    desk.finish()
    return [desk.released(life.callbacks[0].signature_request_id) for life in found]


@pytest.mark.parametrize("strength", [STRENGTHS[2], STRENGTHS[5]], ids=lambda strength: strength.name)
@pytest.mark.parametrize("kind", Kind)
def test_the_sequencer_releases_the_same_events_at_the_same_times(kind: Kind, strength: Disorder) -> None:
    policy = OrderingPolicy(hold_s=10)
    found = lives(kind, PACES[0], REQUESTS)
    delivered = streams(found, strength)
    expected = [
        [
            (each.position.fingerprint, round(each.released_at, 6), each.late)
            for each in deedbox(stream, policy)
        ]
        for stream in delivered
    ]
    assert by_sequencer(found, delivered, policy) == expected
