"""The composition root of every worker process: reads settings, opens clients, builds what the process runs."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Final

from redis import Redis

from deedbox.shared.alerts.alerting import Policy
from deedbox.shared.alerts.targets import AlertTarget, receivers
from deedbox.shared.archives.archiving import Archivist
from deedbox.shared.broker import brokers
from deedbox.shared.broker.address import BrokerAddress
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.documents import DocumentStore, open_store
from deedbox.shared.records.presence import Presence
from deedbox.shared.redis import connections, keys
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.redis.connections import is_of_wrong_type
from deedbox.shared.redis.doorbells import Bells
from deedbox.shared.redis.erasure import Eraser
from deedbox.shared.redis.key_types import suspect
from deedbox.shared.redis.replicas import ReplicatedScripts
from deedbox.shared.redis.request_keys import Holdings
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import DAY_S
from deedbox.shared.runtime import stopping
from deedbox.shared.settings import Settings
from deedbox.workers import announcement
from deedbox.workers.actions.interface import ActionFunction, Context, Event
from deedbox.workers.actions.loading import load_module
from deedbox.workers.actions.registry import RegisteredAction, Registry
from deedbox.workers.bridge.bridge import Bridge, remember
from deedbox.workers.builtins import (
    alert,
    deliver,
    erase_destroyed,
    fetch_documents,
    publish_event,
    reconcile,
    track_status,
    watch_callback_url,
)
from deedbox.workers.builtins.alert_desk import AlertDesk
from deedbox.workers.builtins.synthesis import Synthesis
from deedbox.workers.dropbox_sign.account import Accounts
from deedbox.workers.dropbox_sign.call_budgets import CallBudgets
from deedbox.workers.dropbox_sign.client import SignApi
from deedbox.workers.internal_events import Filing
from deedbox.workers.lanes.bystander import Bystander, stand_by
from deedbox.workers.lanes.runner import LaneRunner
from deedbox.workers.lanes.watchdog import Watchdog
from deedbox.workers.lease import Drain, Lease
from deedbox.workers.presence import Announcer
from deedbox.workers.sequencer.quota_policy import QuotaPolicy
from deedbox.workers.sequencer.sequencer import Sequencer, SequencerPolicy
from deedbox.workers.sweeper.alert_conditions import ConditionWatch
from deedbox.workers.sweeper.callback_url_watch import CallbackUrlWatch
from deedbox.workers.sweeper.foreign_keys import ForeignKeys
from deedbox.workers.sweeper.gaps import GapDesk, GapDetector
from deedbox.workers.sweeper.sweeper import Sweeper

START_PATIENCE_S: Final = 5.0
"""How long a process waits at its start for a Redis that is starting beside it."""


@dataclass
class Process:
    """Everything that one worker process works with. Nothing is opened before it is asked for."""

    settings: Settings
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    stop: threading.Event = field(default_factory=threading.Event)
    lane: str | None = None
    """The lane that it works for: it can run the built-in actions of this one. None: all of them."""
    _watchdog: Watchdog = field(default_factory=Watchdog)
    _runners: dict[str, LaneRunner] = field(default_factory=dict)

    def ask_to_stop(self) -> None:
        """Stop soon, and within the grace of a supervisor whatever happens. For signal handlers."""
        if not self.stop.is_set():
            stopping.ask(self.stop)
            stopping.end_within(stopping.STOP_WITHIN_S, self._farewell)

    def _farewell(self) -> None:
        for runner in self._runners.values():
            runner.leave()

    def stand_by(self, lane: str) -> None:
        """Start the process beside this one. Before anything else: a fork copies what there is."""
        ledger = self._watchdog.ledger

        def bystander() -> Bystander:
            redis = connections.brisk_redis(self.redis_address)
            return Bystander(lane, ledger, Scripts(redis), Bells(redis).ring, self.settings.retention)

        stand_by(ledger, bystander)

    def announcer(self, lane: str) -> Announcer:
        """Return what says that this process lives and works for a lane."""

        def describe() -> Presence:
            runner = self._runners.get(lane)
            running = runner.at_work() if runner is not None else None
            return Presence(lane) if running is None else Presence(lane, *running)

        return Announcer(Scripts(connections.brisk_redis(self.redis_address)), self.name, describe)

    @cached_property
    def redis(self) -> Redis:
        """State and RQ. Raises SettingsError if it does not answer or drops keys."""
        client = connections.patient_redis(self.redis_address, self.stop.is_set)
        connections.demand(connections.brisk_redis(self.redis_address), patience_s=START_PATIENCE_S)
        return client

    @cached_property
    def redis_address(self) -> RedisAddress:
        """State and RQ."""
        return connections.redis_address(self.settings)

    @cached_property
    def scripts(self) -> Scripts:
        """The scripts on the state's Redis."""
        return Scripts(self.redis)

    @cached_property
    def bells(self) -> Bells:
        """Doorbells."""
        return Bells(self.redis)

    @cached_property
    def registry(self) -> Registry:
        """All actions: the built-in ones, then the user's. Raises SettingsError."""
        return build_registry(self.settings, self._builtin)

    def _builtin(self, name: str) -> RegisteredAction:
        listed = describe_builtin(name, self.settings.alert_types)
        if self.lane not in {None, listed.lane}:
            return listed  # what only another lane needs, an API key for example, this process may be without
        functions: Mapping[str, Callable[[], ActionFunction]] = {
            track_status.NAME: lambda: track_status.track,
            fetch_documents.NAME: lambda: self._fetch,
            reconcile.NAME: self._reconcile,
            erase_destroyed.NAME: self._erase_destroyed,
            alert.NAME: self._alert,
            watch_callback_url.NAME: self._watch_callback_url,
            publish_event.NAME: self._publish_event,
        }
        return replace(listed, function=functions[name]())

    def _reconcile(self) -> reconcile.Reconcile:
        settings = self.settings
        fetch = self._fetch if fetch_documents.NAME in settings.enabled_builtins else None
        synthesised = Synthesis(self.scripts, self.bells.ring) if settings.synthesise == "on" else None
        return reconcile.Reconcile(self.scripts, self.accounts, fetch, settings.retention, synthesised)

    def _erase_destroyed(self) -> erase_destroyed.EraseDestroyed:
        settings = self.settings
        eraser = Eraser(self.scripts, self.documents, settings.retention)
        documents = settings.erase_documents == "on"
        return erase_destroyed.EraseDestroyed(
            eraser, Holdings(self.redis), self.accounts, self.scripts, settings.retention, documents=documents
        )

    def _alert(self) -> alert.Alert:
        details = self.settings.alert_details == "on"
        return alert.Alert(self.alert_desk, self._receivers_by_identity, details=details)

    def _watch_callback_url(self) -> watch_callback_url.WatchCallbackUrl:
        desk = self.alert_desk if alert.NAME in self.settings.enabled_builtins else None
        return watch_callback_url.WatchCallbackUrl(self.accounts, self.settings.watched_sources, desk)

    def _publish_event(self) -> publish_event.PublishEvent:
        bus = self._broker(brokers.events_address(self.settings)).topics()
        return publish_event.PublishEvent(bus, with_payload=self.settings.events_payload == "on")

    @cached_property
    def _fetch(self) -> fetch_documents.FetchDocuments:
        settings = self.settings
        policy = fetch_documents.FetchPolicy(
            settings.document_type, settings.downloadable_grace_s, settings.retention
        )
        return fetch_documents.FetchDocuments(self.scripts, self.accounts, self.documents, policy)

    @cached_property
    def documents(self) -> DocumentStore:
        """The document store. Raises SettingsError."""
        return open_store(self.settings.documents)

    @cached_property
    def apis(self) -> Mapping[str, SignApi]:
        """The API of every source."""
        url, limit = self.settings.api_url, self.settings.document_max_bytes
        sources = self.settings.sources().values()
        return {each.name: SignApi(url, each.api_keys[0], document_max_bytes=limit) for each in sources}

    @cached_property
    def budgets(self) -> CallBudgets:
        """The accounts' budgets."""
        return CallBudgets(self.scripts, self.settings.call_budgets)

    @cached_property
    def accounts(self) -> Accounts:
        """The API of every source, within its budget."""
        return Accounts(self.apis, self.budgets)

    def lease(self, lane: str) -> int:
        """Drain a lane for about two seconds. Returns the units of work done."""
        try:
            return self._leases[lane].run(self.name)
        except Unavailable as error:
            if is_of_wrong_type(error):
                suspect(self.redis)
            raise

    @cached_property
    def drains(self) -> Mapping[str, Drain]:
        """What works off each lane."""
        lanes = (lane for lane in self.registry.lanes if lane != keys.SEQUENCER)
        return {keys.SEQUENCER: self._sequencer().drain} | {lane: self._runner(lane).drain for lane in lanes}

    @cached_property
    def _leases(self) -> Mapping[str, Lease]:
        ring, stopping = self.bells.ring, self.stop.is_set
        actions = self.registry.actions_of
        return {
            lane: Lease(lane, drain, self.scripts, ring, stopping, actions=actions(lane))
            for lane, drain in self.drains.items()
        }

    def _sequencer(self) -> Sequencer:
        settings = self.settings
        maxmemory = int(self.redis.info("memory").get("maxmemory", 0))
        quotas = QuotaPolicy.of(settings.max_event_age_s, settings.retention.state_s, maxmemory)
        policy = SequencerPolicy(
            settings.order_policy, settings.max_event_age_s, settings.retention, settings.gap_look_after_s,
            settings.events_keep, settings.body_signature, quotas,
        )  # fmt: skip
        return Sequencer(self.scripts, policy, self.bells.ring)

    def _runner(self, lane: str) -> LaneRunner:
        runner = LaneRunner(
            lane, self.scripts, self.registry, self.bells.ring, retention=self.settings.retention,
            guard=self._watchdog,
        )  # fmt: skip
        self._runners[lane] = runner
        return runner

    def announce(self, lane: str) -> None:
        """Say which actions there are. Raises SettingsError if Redis refuses."""
        try:
            self._declare(lane)
        except Unavailable as error:
            raise SettingsError(
                f"DEEDBOX_REDIS_URL: Redis refused a write ({error}); it must be writable."
            ) from None

    def keep_announced(self, lane: str) -> None:
        """Say so again and again, until the end: its own thread, because a call may take long."""
        threading.Thread(target=self._keep_announced, args=(lane,), name="announcement", daemon=True).start()

    def _declare(self, lane: str) -> None:
        announcement.announce(self.scripts, self.registry, runs_actions=lane != keys.SEQUENCER)

    def _keep_announced(self, lane: str) -> None:
        while not self.stop.wait(announcement.BEAT_S):
            with suppress(Unavailable):
                self._declare(lane)

    def bridge(self) -> Bridge:
        """Return the bridge of the broker. Raises SettingsError."""
        _ = self.redis  # refuses one that cannot serve
        broker = self._broker(brokers.broker_address(self.settings))
        broker.demand()
        # Not a patient client: the bridge itself waits, and meanwhile answers the broker's heartbeats.
        redis = connections.brisk_redis(self.redis_address, connections.SOCKET_TIMEOUT_S)
        same = broker.address == self.redis_address
        if not same:
            remember(redis, str(broker.address), time.time())
        state = Scripts(redis) if same else ReplicatedScripts(redis, self.settings.redis_wait_replicas)
        return Bridge(self.name, broker.consumers(self.name, self.redis_address), state, self.bells.ring)

    def _broker(self, where: BrokerAddress) -> Broker:
        return brokers.open_broker(where, wait_replicas=self.settings.redis_wait_replicas)

    def sweeper(self) -> Sweeper:
        """Return the sweeper. Raises SettingsError."""
        builtins = self.settings.enabled_builtins
        archivist = Archivist(self.scripts, self.settings.archive_after_s)
        also: list[Callable[[], object]] = [ForeignKeys(self.scripts).once, archivist.once]
        if reconcile.NAME in builtins:  # also where no look is due: applications ask for confirmation
            also.append(GapDetector(self.desk).once)
        if alert.NAME in builtins:
            also.append(ConditionWatch(self.redis, self.alert_desk).once)
        if watch_callback_url.NAME in builtins:
            filing = self._filing(describe_builtin(watch_callback_url.NAME), DAY_S)
            also.append(CallbackUrlWatch(filing, self.settings.watched_sources).once)
        return Sweeper(self.scripts, self.bells.ring, *also, retention=self.settings.retention)

    @cached_property
    def alert_desk(self) -> AlertDesk:
        """Where alerts are decided on."""
        policy = Policy(self.settings.alert_window_s, self.settings.alert_per_hour)
        filing = self._filing(describe_builtin(alert.NAME), alert.MESSAGE_LIFE_S)
        return AlertDesk(self.redis, filing, tuple(self._receivers_by_identity()), policy)

    def _receivers_by_identity(self) -> Mapping[str, AlertTarget]:
        return {receiver.identity: receiver for receiver in receivers(self.settings)}

    def _filing(self, action: RegisteredAction, event_life_s: int) -> Filing:
        return Filing(self.scripts, self.bells.ring, action, event_life_s)

    @property
    def desk(self) -> GapDesk:
        """Where gaps are looked up and handed to ``reconcile``."""
        settings = self.settings
        fetches = fetch_documents.NAME in settings.enabled_builtins
        synthesises = settings.synthesise == "on"
        return GapDesk(
            self.scripts, self.bells.ring, settings.retention, fetches=fetches, synthesises=synthesises
        )


def describe_builtin(name: str, types: tuple[str, ...] = ()) -> RegisteredAction:
    """Return a built-in action that can be listed but not run: it needs neither Redis nor a key.

    ``types``: event types of the one action whose types are a setting.
    """

    def unusable(_event: Event, _context: Context) -> None:
        raise RuntimeError("this registry was built for listing")

    specs: dict[str, Callable[[ActionFunction], RegisteredAction]] = {
        track_status.NAME: track_status.registered,
        erase_destroyed.NAME: erase_destroyed.registered,
        fetch_documents.NAME: fetch_documents.registered,
        publish_event.NAME: publish_event.registered,
        reconcile.NAME: reconcile.registered,
        alert.NAME: partial(alert.registered, types=types),
        watch_callback_url.NAME: watch_callback_url.registered,
    }
    return specs[name](unusable)


def build_registry(settings: Settings, builtin: Callable[[str], RegisteredAction]) -> Registry:
    """Collect the actions of a deployment. ``builtin`` makes a built-in action from its name."""
    registry = Registry(events_keep=settings.events_keep)
    for name in settings.enabled_builtins:
        registry.add(builtin(name))
    for destination in settings.destinations().values():
        registry.add(deliver.registered(destination, deliver.Deliver(destination)))
    known: set[tuple[int, str]] = set()
    for module in settings.actions:
        for registered in load_module(module):
            # One function that two listed modules export is one action, not two of one name.
            identity = (id(registered.function), registered.name)
            if identity not in known:
                known.add(identity)
                registry.add(registered)
    return registry


_current: list[Process] = []


def install(process: Process) -> None:
    """Make a process's composition root known to RQ's entry point."""
    _current[:] = [process]


def current() -> Process:
    """Return the composition root that RQ's entry point works with."""
    if not _current:
        raise RuntimeError(
            "this process was not started by `python -m deedbox.workers`; doorbells need its worker"
        )
    return _current[0]
