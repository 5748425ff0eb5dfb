"""The course of a demo: wait for the processes, play, wait for the last event, gather the evidence."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.demo import view
from deedbox.ops.demo.evidence import (
    SOURCE,
    Traces,
    hash_documents,
    identify_callback,
    read_record,
    read_traces,
    waiting,
)
from deedbox.ops.demo.home import record_path
from deedbox.ops.demo.report import DemoFindings, DemoReport, Sent, judge
from deedbox.ops.demo.scenario import Scenario
from deedbox.ops.demo.view import Meter
from deedbox.ops.supervise import processes
from deedbox.ops.supervise.readiness import StartupCheck, callback_url
from deedbox.shared.core.errors import DeedboxError, Unavailable
from deedbox.shared.core.identity import Fact
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.ledger import Counts, Ledger
from deedbox.shared.simulator.lifecycle import SimulatedFact
from deedbox.shared.simulator.story import Ending
from deedbox.shared.simulator.traffic import DeliveryKind

LANES: Final = ("default", keys.DOCUMENTS)
"""Lanes of the actions that the demo registers: the built-in ones and the recorder."""

START_PATIENCE_S: Final = 60.0
DRAIN_PATIENCE_S: Final = 60.0
"""Several times what a killed worker costs an ordering key (15 s)."""

_REDIS_PATIENCE_S: Final = 15.0
_POLL_S: Final = 0.25
_WAIT: Final = frozenset({409, 429})


class Stopped(Exception):
    """The demo was told to stop before its end."""


@dataclass(slots=True)
class Course:
    """One run. Every method waits at most for its own patience, and not at all once ``stop`` is set."""

    settings: Settings
    scenario: Scenario
    files_api: FilesApi
    redis: Redis
    meter: Meter
    stop: threading.Event
    restarts: Mapping[str, int]
    began_at: float
    """Unix seconds: when the processes were started."""

    def run(self) -> DemoReport:
        """Go through the whole demo. Raises Stopped; DeedboxError if the processes do not start."""
        self.meter.phase("Starting the processes")
        self._wait_until_ready()
        self.meter.phase("Playing Dropbox Sign", len(self.scenario.deliveries))
        ledger = self._play()
        facts = self._acked(ledger)
        sent = self._sent(ledger, facts)
        self.meter.phase("Waiting for the last events", len(sent.acked) + len(sent.documents))
        unfinished = self._drain(sent)
        self.meter.phase("Checking the results")
        return judge(replace(sent, put_off=self._put_off()), self._found(facts, unfinished))

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Stopped

    def _wait_until_ready(self) -> None:
        lanes = processes.processes_per_lane(LANES)
        readiness = StartupCheck(self.settings, self.redis, lanes, self.began_at)
        missing = readiness.wait(self.stop, START_PATIENCE_S)
        self._check_stop()
        if missing:
            raise DeedboxError(
                f"The demo did not start: there is no answer from {', '.join(missing)}; "
                f"the logs in {self.settings.run_dir.absolute()} say why."
            )

    def _play(self) -> Ledger:
        def show(counts: Counts) -> None:
            settled = counts.acked + counts.refused + counts.forgeries_acked + counts.failed
            self.meter.step(settled, view.so_far(counts.acked, counts.refused))

        ledger = self.scenario.play(callback_url(self.settings), self.files_api, show, self.stop)
        self._check_stop()
        return ledger

    def _acked(self, ledger: Ledger) -> dict[SimulatedFact, Fact]:
        promised = ledger.acked_facts()
        callbacks = {
            callback.fact: callback for request in self.scenario.requests for callback in request.callbacks
        }
        return {fact: identify_callback(callbacks[fact]) for fact in promised}

    def _sent(self, ledger: Ledger, acked: Mapping[SimulatedFact, Fact]) -> Sent:
        requests, deliveries = self.scenario.requests, self.scenario.deliveries
        completed = [
            request.signature_request_id for request in requests if request.ending is Ending.COMPLETED
        ]
        return Sent(
            requests=len(requests),
            seed=self.scenario.seed,
            counts=ledger.counts(),
            forgeries=sum(delivery.kind is DeliveryKind.BAD_SIGNATURE for delivery in deliveries),
            scheduled=frozenset(callback.fact for request in requests for callback in request.callbacks),
            acked={fact: identity.fingerprint for fact, identity in acked.items()},
            redundant_acks=ledger.redundant_acks(),
            documents={request_id: self.files_api.sha256_of(request_id) for request_id in completed},
        )

    def _put_off(self) -> int:
        return sum(count for (_, status), count in self.files_api.calls().items() if status in _WAIT)

    def _drain(self, sent: Sent) -> str:
        """Wait until nothing is under way; tell what still is when the patience is over."""
        deadline = time.monotonic() + DRAIN_PATIENCE_S
        while under_way := self._under_way(sent):
            if time.monotonic() > deadline:
                return under_way
            self.stop.wait(_POLL_S)
            self._check_stop()
        return ""

    def _under_way(self, sent: Sent) -> str:
        recorded = {call.fact for call in read_record(record_path(self.settings.data_dir))}
        stored = hash_documents(self.settings.data_dir / "documents" / SOURCE)
        facts = len(sent.acked.keys() - recorded)
        documents = len(sent.documents.keys() - stored.keys())
        self.meter.step(
            len(sent.acked) - facts + len(sent.documents) - documents,
            f"{len(sent.documents) - documents} of {len(sent.documents)} documents",
        )
        try:
            stages = waiting(self.redis)
        except RedisError:
            return "Redis does not answer"
        parts = [f"{count} in {stage}" for stage, count in stages.items()]
        if facts:
            parts.append(f"{facts} acknowledged events not at the action yet")
        if documents:
            parts.append(f"{documents} documents not stored yet")
        return ", ".join(parts)

    def _found(self, acked: Mapping[SimulatedFact, Fact], unfinished: str) -> DemoFindings:
        traces = self._traces(list(acked.values()))
        return DemoFindings(
            calls=read_record(record_path(self.settings.data_dir)),
            traces=traces,
            documents=hash_documents(self.settings.data_dir / "documents" / SOURCE),
            restarts=dict(self.restarts),
            unfinished=unfinished,
            duration_s=time.time() - self.began_at,
        )

    def _traces(self, acked: list[Fact]) -> Traces:
        deadline = time.monotonic() + _REDIS_PATIENCE_S
        while True:
            try:
                return read_traces(self.redis, sorted({fact.stream for fact in acked}), acked)
            except RedisError as error:
                if time.monotonic() > deadline:
                    raise Unavailable("Redis did not answer at the end of the demo; run it again.") from error
                self.stop.wait(_POLL_S)
                self._check_stop()
