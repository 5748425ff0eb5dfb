"""One simulated deployment, from a seed: its processes, its traffic, its faults, and how it comes to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.ops.repair.pausing import Pauser
from deedbox.shared import pauses
from deedbox.shared.archives.archiving import Archivist
from deedbox.shared.core.errors import DeedboxError, Unavailable
from deedbox.shared.core.gaps import lost
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.redis import data_keys, keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.workers.actions.interface import Event
from deedbox.workers.actions.registry import Registry
from deedbox.workers.announcement import announce
from deedbox.workers.bridge.bridge import Bridge
from deedbox.workers.builtins.known_requests import known
from deedbox.workers.dropbox_sign.account import outages_are_waited_for
from deedbox.workers.lanes.ledger import ClaimLedger
from deedbox.workers.lease import Drain, Lease
from deedbox.workers.sequencer.quota_policy import QuotaPolicy
from deedbox.workers.sequencer.sequencer import Sequencer, SequencerPolicy
from deedbox.workers.sweeper.gaps import GapDesk, GapDetector
from deedbox.workers.sweeper.sweeper import Sweeper
from tests.simulation import plan, rest, traffic
from tests.simulation.acts import Acts
from tests.simulation.client import SimulatedRedis, Wire
from tests.simulation.doubles import Limits, SimulatedGuard, installed
from tests.simulation.faults import FaultPolicy, Faults
from tests.simulation.journal import Journal
from tests.simulation.mutants import Mutant
from tests.simulation.rollout import Rollout
from tests.simulation.scheduler import START, Process, Scheduler, Trace
from tests.simulation.server import Server

STEPS_MAX: Final = 150_000
"""A schedule that takes all of ``REST_S`` needs up to 100 for each second, most of them the sweeper's."""

REST_S: Final = 900.0
"""Simulated seconds after the faults within which everything must have come to rest: calls that keep the interpreter
cost up to eight processes each, one after the other."""

BELL_POLL_S: Final = 20.0

GAP_AFTER_S: Final = 3.0
"""Soon enough that looks for gaps meet faults."""

RETENTION: Final = Retention(events_s=3)
"""An event ends that soon after its last outcome: a stall, a hold or a retry is longer."""

QUOTA: Final = QuotaPolicy(facts=4, bodies=2, life_s=3600)

BEAT_S: Final = 20.0

BESIDE: Final = "beside"
"""Kind of the process beside a worker."""

LANES: Final = (keys.SEQUENCER, "default", "side", keys.DOCUMENTS)


class World:
    """Everything of one schedule. ``run`` may be called once."""

    def __init__(self, seed: int, mutant: Mutant, trace: Trace) -> None:
        rng = Random(seed)
        policy = FaultPolicy.drawn(rng)
        self.harmless = policy.harmless
        """Whether nothing goes wrong at all."""
        self.size = plan.Size.drawn(rng)
        self.shown: dict[str, dict[str, Any]] = {}
        """What the API shows of each stream's request in the end."""
        genuine = traffic.drawn(rng, self.shown)
        forged = traffic.forged(Random(f"{seed}|forged"), genuine)
        self.sent = sorted([*genuine, *forged], key=lambda each: each.at)
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
        self.appended: Counter[str] = Counter()
        """Events that were made of what the API shows, by their stream."""
        if plan.synthesises(seed):
            self.acts.synthesise = self._synthesise
        erase_at = plan.erasure(seed)
        self.erased = None if erase_at is None else Subject("default", "signature_request/r0")
        """What an operator erases in this schedule."""
        self._erase_at = erase_at or inf
        self._erasures = 0
        self._asks = False
        self._pauses = plan.pauses(seed)
        """Pauses that are still to be made, or to end."""
        self._deploys = plan.deployments(seed)
        """When the next version is deployed, and the old one again: actions change their lanes."""
        self.subscribed: dict[int, Registry] = {}
        """Generation of what is subscribed -> the actions that it names."""
        self._rollout = Rollout(self.scheduler, self.acts.registries, LANES)
        self._mutant = mutant
        last_at = max((each.at for each in self.sent), default=START)
        self.faults = Faults(
            policy, self.scheduler, last_at + rng.random() * 6, self._replace, self._redeliver
        )
        self._born = 0
        self._published = 0
        self._bodies: dict[str, Callable[[Process], None]] = {
            "bridge": self._bridge,
            "sequencer": self._sequencer,
            "sweeper": self._sweeper,
            "eraser": self._eraser,
            "operator": self._operator,
            "asker": self._asker,
            "default": partial(self._worker, "default"),
            "side": partial(self._worker, "side"),
            keys.DOCUMENTS: partial(self._worker, keys.DOCUMENTS),
        }

    def run(self) -> None:
        """Let it all happen; laws are checked by ``laws``."""
        self.scheduler.before_step = self.faults.step
        self.scheduler.on_idle = self._at_rest
        for at in self._deploys:
            self.scheduler.at(at, self._rollout.begin)
        size = self.size
        counts = {"bridge": size.bridges, "sequencer": size.sequencers, "sweeper": size.sweepers,
                  "default": size.workers, "side": 1, keys.DOCUMENTS: 1,
                  "eraser": int(self.erased is not None), "operator": int(bool(self._pauses)),
                  "asker": int(self.acts.tracking is not None)}  # fmt: skip
        data_keys._caches.clear()  # the keys of another schedule's Redis
        with installed(self.scheduler, self.limits):
            ingress = Process("ingress", "ingress")
            self.scheduler.spawn(ingress, "ingress", self._publish)
            for kind, count in counts.items():
                for _ in range(count):
                    self._give_birth(kind)
            self.scheduler.run()
        self.remember_generation()

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
        if process.kind == BESIDE:
            return  # it is missed by none: the next worker has its own
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
            Wire(process, self.scheduler, self.server, self.faults.lose, self.faults.gives_up, self._watch)
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
            Archivist(scripts, self.size.archive_after_s).once,
            retention=RETENTION,
        )
        sweeper.run(
            lambda: process.stopping, lambda wait_s: self.scheduler.sleep(wait_s * self.size.sweep_pace)
        )

    def _eraser(self, process: Process) -> None:
        assert self.erased is not None
        self.scheduler.pause(self._erase_at)
        eraser = Eraser(Scripts(self._client(process)), DocumentStore(FileTree(Path("nowhere"))), RETENTION)
        while True:
            try:
                eraser.erase(self.erased, documents=False, by=Asker.OPERATOR)
                break
            except (Unavailable, RedisError):
                self.scheduler.sleep(1)
        self._erasures += 1
        self.scheduler.pause(inf, lambda: process.stopping)

    def _asker(self, process: Process) -> None:
        """Change read models meanwhile. One that was killed does not come back to it."""
        if self.acts.tracking is not None and not self._asks:
            self._asks = True
            self.acts.tracking.ask(self._client(process), self.scheduler.pause)
        self.scheduler.pause(inf, lambda: process.stopping)

    def _operator(self, process: Process) -> None:
        """Pause and resume, and in the end resume whatever a late request has paused again."""
        pauser = Pauser(Scripts(self._client(process)))
        while not process.stopping:
            try:
                if self._pauses:
                    planned = self._pauses[0]
                    self.scheduler.pause(planned.at)
                    with suppress(DeedboxError):
                        pauser.pause(planned.target, by="operator")
                    self.scheduler.sleep(planned.lasts_s)
                    pauser.resume(planned.target)
                    self._pauses = self._pauses[1:]
                else:
                    self.scheduler.sleep(5)
                    for each in pauses.read(self._client(process)):
                        pauser.resume(each.target)
            except (Unavailable, RedisError):
                self.scheduler.sleep(1)

    def _synthesise(self, event: Event) -> None:
        """Do what ``reconcile`` does where lost callbacks are synthesised; the API is asked for nothing here."""
        stream, later = f"{event.source}:{event.ordering_key}", traffic.CREATED_AT + 10_000.0
        redis = self._client(self.scheduler.current.process)
        with outages_are_waited_for():
            here = known(redis, [stream], fetches=True, synthesises=True).get(stream)
            if here is None or stream not in self.shown:
                return
            events = lost(here, self.shown[stream], later, 20_000.0, has_document=True)
            synthesised = self._mutant.synthesis(Scripts(redis), self._ringer(redis))
            synthesised.release(stream, events, self.shown[stream], "ab" * 16, later)
            self.appended[stream] += len(events)

    def _sequencer(self, process: Process) -> None:
        redis = self._client(process)
        scripts, ring = Scripts(redis), self._ringer(redis)
        policy = SequencerPolicy(
            OrderingPolicy(hold_s=self.size.hold_s),
            retention=RETENTION,
            gap_after_s=GAP_AFTER_S,
            quotas=QUOTA,
        )
        sequencer = Sequencer(scripts, policy, ring)
        if self._declare(scripts, self._rollout.registry(process), runs_actions=False):
            self._answer_bells(process, redis, keys.SEQUENCER, scripts, sequencer.drain, ring)

    def _worker(self, lane: str, process: Process) -> None:
        redis = self._client(process)
        scripts, ring = Scripts(redis), self._ringer(redis)
        registry = self._rollout.registry(process)
        if not self._declare(scripts, registry):
            return  # as the real process: its supervisor starts another
        self.scheduler.spawn(process, f"{process.name}/announcement", lambda: self._keep(scripts, registry))
        guard = SimulatedGuard(lambda: self._end_itself(process))
        runner = self._mutant.runner(
            lane, scripts, registry, ring, self.scheduler.rng.random, RETENTION, guard=guard
        )
        self._stand_by(process, lane, guard.ledger)
        self._answer_bells(process, redis, lane, scripts, runner.drain, ring, registry.actions_of(lane))

    def _stand_by(self, worker: Process, lane: str, ledger: ClaimLedger) -> None:
        beside = Process(f"{worker.name}-beside", BESIDE)
        redis = self._client(beside)
        bystander = self._mutant.bystander(lane, ledger, Scripts(redis), self._ringer(redis), RETENTION)

        def look() -> None:
            while worker.alive:
                self.scheduler.pause(inf, lambda: not worker.alive or bystander.due() is not None)
                try:
                    bystander.look()
                except (Unavailable, RedisError):
                    self.scheduler.sleep(1)

        self.scheduler.spawn(beside, beside.name, look)

    def _declare(self, scripts: Scripts, registry: Registry, *, runs_actions: bool = True) -> bool:
        try:
            announce(scripts, registry, runs_actions=runs_actions)
        except Unavailable:
            return False
        return True

    def _keep(self, scripts: Scripts, registry: Registry) -> None:
        while True:
            self.scheduler.sleep(BEAT_S)
            self._declare(scripts, registry)

    def _answer_bells(
        self, process: Process, redis: SimulatedRedis, lane: str, scripts: Scripts, drain: Drain,
        ring: Callable[[str], None], actions: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Do what RQ does: take a doorbell, run the job; a job that fails is gone, and the worker goes on."""

        def stopping() -> bool:
            return process.stopping

        lease = Lease(lane, drain, scripts, ring, stopping, lambda: self.scheduler.now, actions)
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

    def _watch(self, process: Process, name: str, reply: Any) -> None:
        if name in {"announce", "release"} and reply is None:
            self.remember_generation()
        self.journal.watch(process, name, reply)

    def remember_generation(self) -> None:
        """Note what is subscribed now: the next announcement, or the end, changes it."""
        generation, digest = self.server.execute("HMGET", keys.SUBSCRIPTIONS, "generation", "digest")
        if generation:
            self.subscribed[int(generation)] = self.acts.by_digest[digest.decode()]

    def _redeliver(self) -> None:
        if self._published:
            self._deliver(self.sent[int(self.scheduler.rng.random() * self._published)])

    def _note(self, what: str) -> None:
        self.scheduler.note(lambda: what)

    # --- the end

    def _at_rest(self) -> bool:
        """Tell whether the schedule is over: calm, and either nothing is left or too long ago."""
        calm_since = self.faults.calm_since
        if calm_since is None or self._published < len(self.sent):
            return False
        if self.erased is not None and not self._erasures:
            return self.scheduler.now - calm_since > REST_S
        return self.scheduler.now - calm_since > REST_S or (
            not self._pauses and rest.nothing_left(self.server)
        )
