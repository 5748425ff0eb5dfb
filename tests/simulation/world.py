"""One simulated deployment, from a seed: its processes, its traffic, its faults, and how it comes to rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from typing import Final

from redis.exceptions import RedisError

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.documents import DocumentStore
from deedbox.shared.redis import keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.workers.bridge.bridge import Bridge
from deedbox.workers.lanes.runner import LaneRunner
from deedbox.workers.lease import Drain, Lease
from deedbox.workers.sequencer.sequencer import Sequencer, SequencerPolicy
from deedbox.workers.sweeper.gaps import GapDesk, GapDetector
from deedbox.workers.sweeper.sweeper import Sweeper
from tests.simulation import traffic
from tests.simulation.acts import TEMPERS, Acts
from tests.simulation.client import Loss, SimulatedRedis, Wire
from tests.simulation.doubles import SHARDS, Limits, SimulatedGuard, installed
from tests.simulation.faults import Blow, FaultPolicy
from tests.simulation.journal import Journal
from tests.simulation.mutants import Mutant
from tests.simulation.scheduler import START, Process, Scheduler, Trace
from tests.simulation.server import Server

STEPS_MAX: Final = 30_000
FAULTY_STEPS: Final = 1_200
"""Faults end after so many steps at the latest: a world that is hit for ever never comes to rest."""

REST_S: Final = 900.0
"""Simulated seconds after the faults within which everything must have come to rest: calls that keep the interpreter
cost up to eight processes each, one after the other."""

BELL_POLL_S: Final = 20.0

GAP_AFTER_S: Final = 3.0
"""Soon enough that looks for gaps meet faults."""

RETENTION: Final = Retention(events_s=3)
"""An event ends that soon after its last outcome: a stall, a hold or a retry is longer."""

LANES: Final = (keys.SEQUENCER, "default", "side", keys.DOCUMENTS)

ERASING: Final = 0.3
"""Share of schedules in which an operator erases the first request, at any time and however often interrupted."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many processes of each kind, and how they are tuned."""

    bridges: int
    sequencers: int
    workers: int
    sweepers: int
    sweep_pace: float
    """Factor on the sweeper's tick: a slower one costs fewer steps and changes no law."""
    hold_s: float
    same_redis: bool

    @classmethod
    def drawn(cls, rng: Random) -> Size:
        """Draw a small deployment."""
        return cls(
            bridges=rng.choice((1, 1, 2)),
            sequencers=rng.choice((1, 2)),
            workers=rng.choice((1, 1, 2)),
            sweepers=rng.choice((1, 1, 1, 2)),
            sweep_pace=rng.choice((4.0, 12.0, 24.0)),
            hold_s=rng.choice((1.0, 3.0)),
            same_redis=rng.random() < 0.7,
        )


class World:
    """Everything of one schedule. ``run`` may be called once."""

    def __init__(self, seed: int, mutant: Mutant, trace: Trace) -> None:
        rng = Random(seed)
        self.faults = FaultPolicy.drawn(rng)
        self.size = Size.drawn(rng)
        self.sent = traffic.drawn(rng)
        self.deliveries: list[tuple[traffic.Sent, bytes]] = []
        """Everything that was published, redelivered callbacks included, with its raw message."""
        self.scheduler = Scheduler(
            rng, trace, stickiness=rng.choice((0.0, 0.6, 0.9)), step_s=rng.choice((0.0005, 0.004)),
            steps_max=STEPS_MAX,
        )  # fmt: skip
        self.server = Server(lambda: self.scheduler.now, mutant.edits)
        self.journal = Journal(self.scheduler, self.server)
        self.limits = Limits(self.scheduler)
        self.limits.end = self._end
        self.acts = Acts(seed, self.journal, self.limits)
        self.calm_since: float | None = None
        """When the faults ended."""
        drawn = Random(f"{seed}|erasure")
        erases = drawn.random() < ERASING
        self.erased = Subject("default", "signature_request/r0") if erases else None
        """What an operator erases in this schedule."""
        self._erase_at = START + drawn.random() * 12
        self._erasures = 0
        self._mutant = mutant
        self._calm_at = max((each.at for each in self.sent), default=START) + rng.random() * 6
        self._born = 0
        self._published = 0
        self._bodies: dict[str, Callable[[Process], None]] = {
            "bridge": self._bridge,
            "sequencer": self._sequencer,
            "sweeper": self._sweeper,
            "eraser": self._eraser,
            "default": partial(self._worker, "default"),
            "side": partial(self._worker, "side"),
            keys.DOCUMENTS: partial(self._worker, keys.DOCUMENTS),
        }

    def run(self) -> None:
        """Let it all happen; laws are checked by ``laws``."""
        self.scheduler.before_step = self._step
        self.scheduler.on_idle = self._at_rest
        for lane in LANES:
            names = [name for name, temper in TEMPERS.items() if temper.lane == lane]
            self.server.execute("HSET", keys.LANES, lane, json.dumps({"actions": names}))
        size = self.size
        counts = {"bridge": size.bridges, "sequencer": size.sequencers, "sweeper": size.sweepers,
                  "default": size.workers, "side": 1, keys.DOCUMENTS: 1,
                  "eraser": int(self.erased is not None)}  # fmt: skip
        with installed(self.scheduler, self.limits):
            ingress = Process("ingress", "ingress")
            self.scheduler.spawn(ingress, "ingress", self._publish)
            for kind, count in counts.items():
                for _ in range(count):
                    self._give_birth(kind)
            self.scheduler.run()

    # --- processes

    def _give_birth(self, kind: str) -> None:
        self._born += 1
        process = Process(f"{kind}-{self._born}", kind)
        self.scheduler.spawn(process, process.name, lambda: self._live(process))

    def _live(self, process: Process) -> None:
        self._bodies[process.kind](process)
        # It was asked to stop: its other threads end with it, and a supervisor starts the next one.
        self.scheduler.at(self.scheduler.now, lambda: self.scheduler.kill(process))
        self._replace(process)

    def _replace(self, process: Process) -> None:
        delay_s = self.scheduler.rng.random() * 5
        self.scheduler.at(self.scheduler.now + delay_s, lambda: self._give_birth(process.kind))

    def _end_itself(self, process: Process) -> None:
        """End the process that this task belongs to, as it does itself after it has committed a timeout."""
        self.journal.ends_itself(process)
        self._end(process)
        self.scheduler.pause()  # raises Crashed

    def _end(self, process: Process) -> None:
        """End a process; its supervisor starts the next one."""
        self._note(f"{process.name} ends because of a call")
        self._replace(process)
        self.scheduler.kill(process)

    def _client(self, process: Process) -> SimulatedRedis:
        return SimulatedRedis(
            Wire(process, self.scheduler, self.server, self._lose, self._gives_up, self.journal.watch)
        )

    def _ringer(self, redis: SimulatedRedis) -> Callable[[str], None]:
        def ring(lane: str) -> None:
            try:
                redis.lpush("rq:queue:" + keys.rq_queue(lane), "doorbell")
            except RedisError as error:
                raise Unavailable(str(error)) from error

        return ring

    def _bridge(self, process: Process) -> None:
        redis = self._client(process)
        scripts = Scripts(redis)
        same = self.size.same_redis
        consumer = self._mutant.consumer(scripts, process.name, same_redis=same)
        bridge = Bridge(process.name, [lambda: consumer], scripts, self._ringer(redis))
        bridge.run(lambda: process.stopping)

    def _sweeper(self, process: Process) -> None:
        redis = self._client(process)
        scripts, ring = Scripts(redis), self._ringer(redis)
        # No document is ever stored here, so that every request that is complete gets its look.
        sweeper = Sweeper(
            scripts,
            ring,
            GapDetector(GapDesk(scripts, ring, RETENTION, fetches=True)).once,
            retention=RETENTION,
        )
        sweeper.run(
            lambda: process.stopping, lambda wait_s: self.scheduler.sleep(wait_s * self.size.sweep_pace)
        )

    def _eraser(self, process: Process) -> None:
        assert self.erased is not None
        self.scheduler.pause(self._erase_at)
        eraser = Eraser(Scripts(self._client(process)), DocumentStore(Path("nowhere")), RETENTION)
        while True:
            try:
                eraser.erase(self.erased, documents=False, by=Asker.OPERATOR)
                break
            except (Unavailable, RedisError):
                self.scheduler.sleep(1)
        self._erasures += 1
        self.scheduler.pause(inf, lambda: process.stopping)

    def _sequencer(self, process: Process) -> None:
        redis = self._client(process)
        scripts, ring = Scripts(redis), self._ringer(redis)
        policy = SequencerPolicy(
            OrderingPolicy(hold_s=self.size.hold_s), retention=RETENTION, gap_after_s=GAP_AFTER_S
        )
        sequencer = Sequencer(scripts, self.acts.registry, policy, ring)
        self._answer_bells(process, redis, keys.SEQUENCER, scripts, sequencer.drain, ring)

    def _worker(self, lane: str, process: Process) -> None:
        redis = self._client(process)
        scripts, ring = Scripts(redis), self._ringer(redis)
        guard = SimulatedGuard(lambda: self._end_itself(process))
        runner = LaneRunner(
            lane, scripts, self.acts.registry, ring, self.scheduler.rng.random, RETENTION, guard=guard
        )
        self._answer_bells(process, redis, lane, scripts, runner.drain, ring)

    def _answer_bells(
        self, process: Process, redis: SimulatedRedis, lane: str, scripts: Scripts, drain: Drain,
        ring: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Do what RQ does: take a doorbell, run the job; a job that fails is gone, and the worker goes on."""

        def stopping() -> bool:
            return process.stopping

        lease = Lease(lane, drain, scripts, ring, stopping, lambda: self.scheduler.now)
        while not stopping():
            try:
                if redis.blpop(["rq:queue:" + keys.rq_queue(lane)], BELL_POLL_S):
                    lease.run(process.name)
            except (Unavailable, RedisError):
                continue

    def _publish(self) -> None:
        for each in self.sent:
            self.scheduler.pause(each.at)
            self._deliver(each)
            self._published += 1

    def _deliver(self, sent: traffic.Sent) -> None:
        message = sent.message(len(self.deliveries))
        self.deliveries.append((sent, message))
        self.server.execute("LPUSH", keys.RAW_QUEUE, message)
        self._note(f"published {sent.event_type} {sent.fingerprint}")

    # --- faults

    def _lose(self) -> Loss:
        return Loss.NOTHING if self.calm_since else self.faults.lose(self.scheduler.rng)

    def _gives_up(self) -> bool:
        return self.scheduler.rng.random() < self.faults.gives_up

    def _step(self) -> None:
        if self.calm_since is not None:
            return
        if self.scheduler.now > self._calm_at or self.scheduler.steps > FAULTY_STEPS:
            self.calm_since = self.scheduler.now
            self._note("the faults end")
            return
        blow = self.faults.blow(self.scheduler.rng)
        victims = [each for each in self.scheduler.live if each.kind != "ingress"]
        if blow is not None and victims:
            self._strike(blow, victims)

    def _strike(self, blow: Blow, victims: list[Process]) -> None:
        scheduler, rng = self.scheduler, self.scheduler.rng
        current = scheduler.current.process
        victim = current if current in victims and rng.random() < 0.5 else rng.choice(victims)
        self._note(f"fault: {blow}" + ("" if blow in _OF_NOBODY else f" of {victim.name}"))
        if blow is Blow.JUMP:
            scheduler.now = round(scheduler.now + rng.random() * 15, 6)
            for each in victims:
                each.disturbances += 1
        elif blow is Blow.REDELIVER:
            self._redeliver()
        elif blow is Blow.STALL:
            victim.disturbances += 1
            victim.stalled_until = round(scheduler.now + rng.random() * 25, 6)
        elif blow is Blow.STOP:
            victim.stopping = True
        else:
            self._replace(victim)
            scheduler.kill(victim)

    def _redeliver(self) -> None:
        if self._published:
            self._deliver(self.sent[int(self.scheduler.rng.random() * self._published)])

    def _note(self, what: str) -> None:
        self.scheduler.note(lambda: what)

    # --- the end

    def _at_rest(self) -> bool:
        """Tell whether the schedule is over: calm, and either nothing is left or too long ago."""
        if self.calm_since is None or self._published < len(self.sent):
            return False
        if self.erased is not None and not self._erasures:
            return self.scheduler.now - self.calm_since > REST_S
        return self.scheduler.now - self.calm_since > REST_S or self._nothing_left()

    def left(self) -> dict[str, int]:
        """Return what is not worked off: sizes of lists and sets that must be empty at the end."""
        sizes = {name: self.server.size(name) for name in self._must_be_empty()}
        for lane in LANES[1:]:
            depth = self.server.execute("GET", keys.lane(lane, "depth"))
            sizes[keys.lane(lane, "depth")] = int(depth or 0)
        return {name: size for name, size in sizes.items() if size}

    def _nothing_left(self) -> bool:
        # Asked often: the names that never change first.
        return self.server.has_none_of(_AS_BYTES) and not self.left()

    def _must_be_empty(self) -> list[str]:
        return [*_MUST_BE_EMPTY, *self.server.names("queue:*"), *self.server.names("bridge:claimed:*")]


_OF_NOBODY: Final = {Blow.JUMP, Blow.REDELIVER}
_MUST_BE_EMPTY: Final = (
    keys.RAW_QUEUE,
    keys.HELD,
    keys.GAPS_DUE,
    *(f"{keys.PREFIX}wake:{shard}" for shard in range(SHARDS)),
    *(keys.inbox(shard) for shard in range(SHARDS)),
    *(keys.lane(lane, part) for lane in LANES for part in ("ready", "leased", "tokens", "waiting")),
)
_AS_BYTES: Final = frozenset(name.encode() for name in _MUST_BE_EMPTY)
