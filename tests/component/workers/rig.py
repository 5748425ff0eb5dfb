"""A deployment in one process: callbacks go in, lanes are drained by hand, and everything can be looked at."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

from redis import Redis

from deedbox.ops.demo.evidence import lines_of
from deedbox.shared import codec
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.attempts import AttemptPolicy
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import BadCallback
from deedbox.shared.core.identity import ordering_key
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.records import read_model
from deedbox.shared.redis import data_keys, inbox, keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.sealing.envelopes import sealed
from deedbox.workers.actions.interface import ActionFunction, Context, Event
from deedbox.workers.actions.registry import CLEAN_STREAM_KEEP, RegisteredAction, Registry
from deedbox.workers.announcement import announce
from deedbox.workers.lanes.runner import LaneRunner
from deedbox.workers.sequencer.sequencer import Sequencer, SequencerPolicy
from deedbox.workers.sweeper.gaps import GapDesk, GapDetector
from deedbox.workers.sweeper.sweeper import Sweeper
from tests.component.workers.server import until

P = "signature_request_"
CREATED_AT = 1_800_000_000
TRACE = "a" * 32


def callback(
    event_type: str, at_s: int = 0, request_id: str = "r1", *, related: str | None = None, reported_for: str = "account",
    signatures: Sequence[dict[str, Any]] = (), **request: Any,
) -> bytes:  # fmt: skip
    """Return the JSON text of a callback ``at_s`` seconds after the request was created, which its snapshot shows."""
    document = {
        "event": {
            "event_type": event_type,
            "event_time": str(CREATED_AT + at_s),
            "event_hash": "0" * 64,
            "event_metadata": {"related_signature_id": related, "reported_for": reported_for},
        },
        "signature_request": {
            "signature_request_id": request_id,
            "signatures": list(signatures),
            "is_complete": False,
            **request,
        },
    }
    return json.dumps(document).encode()


def sent(at_s: int = 0, request_id: str = "r1", **more: Any) -> bytes:
    """Return a ``sent`` callback."""
    return callback(P + "sent", at_s, request_id, created_at=CREATED_AT, **more)


def viewed(at_s: int, request_id: str = "r1", **more: Any) -> bytes:
    """Return a ``viewed`` callback whose snapshot proves the ``sent`` at 0."""
    return callback(P + "viewed", at_s, request_id, related="s1", created_at=CREATED_AT,
                    signatures=[{"signature_id": "s1", "last_viewed_at": CREATED_AT + at_s}], **more)  # fmt: skip


def envelope(
    body: bytes, source: str = "default", received_at: float | None = None, redrive: str = "",
    verdict: BodySignature = BodySignature.VALID,
) -> Envelope:  # fmt: skip
    """Wrap a body as ingress does, compressed."""
    at = time.time() if received_at is None else received_at
    key = ""
    with suppress(BadCallback):
        key = str(ordering_key(parse_callback(body)))
    return sealed(codec.packed(Envelope(source, at, verdict, TRACE, body, redrive, key=key)))


def message(body: bytes, **more: Any) -> bytes:
    """Return the broker message of a callback, as kombu's Redis transport stores it."""
    wrapped = envelope(body, **more)
    return encode_kombu(wrapped.headers(), wrapped.body)


def members(redis: Redis, key: str) -> list[bytes]:
    """Return a sorted set's members, by score."""
    return cast("list[bytes]", redis.zrange(key, 0, -1))


def expire(redis: Redis, key: str, at: float = 0) -> None:
    """Set the time of everything in a set of times: by default, let it be over."""
    for member in members(redis, key):
        redis.zadd(key, {member: at}, xx=True)


def units(redis: Redis, part: str) -> list[bytes]:
    """Return the units of all actions that are ready, leased or waiting, by action and time."""
    return [
        unit
        for key in sorted(redis.scan_iter(keys.action("*", part)))
        for unit in members(redis, key.decode())
    ]


def expire_units(redis: Redis, part: str, at: float = 0) -> None:
    """Set the time of everything that is ready, leased or waiting: by default, let it be over."""
    for key in redis.scan_iter(keys.action("*", part)):
        expire(redis, key.decode(), at)


def depth(redis: Redis, *actions: str) -> int:
    """Return how many entries the queues of actions (all, if none is named) are said to hold."""
    found = cast("dict[bytes, bytes]", redis.hgetall(keys.DEPTHS))
    return sum(int(count) for name, count in found.items() if not actions or name.decode() in actions)


def declare(redis: Redis, **lane_of: str) -> None:
    """Announce other actions, each in its lane, as a new deployment does."""
    actions = [action(Journal(), name=name, lane=lane) for name, lane in lane_of.items()]
    announce(Scripts(redis), Registry(actions))


def stored_model(redis: Redis, stream: str) -> dict[str, Any]:
    """Return a read model as readers see it; empty if there is none."""
    found = cast("bytes | None", redis.get(keys.request(stream)))
    return (read_model.load(data_keys.open_value(redis, stream, found)) or {}) if found else {}


def silent(_lane: str) -> None:
    """Ring nobody: the test drains by hand."""


class Journal:
    """An action that remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Event, Context]] = []

    def __call__(self, event: Event, context: Context) -> None:
        self.calls.append((event, context))

    def types(self, request_id: str = "r1") -> list[str]:
        """Return the types of one request's events, without their prefix, late ones marked."""
        return [
            event.type.removeprefix(P) + ("!" if event.late else "")
            for event, _ in self.calls
            if event.signature_request_id == request_id
        ]


class Failing(Journal):
    """Fails while ``error`` is set, for the types that it is told."""

    def __init__(self, error: Any = None, *types: str) -> None:
        super().__init__()
        self.error = error
        self._types = types

    def __call__(self, event: Event, context: Context) -> None:
        super().__call__(event, context)
        if self.error is not None and (not self._types or event.type.removeprefix(P) in self._types):
            raise self.error


def action(
    function: ActionFunction, *patterns: str, name: str = "journal", attempts: int = 8, timeout_s: float = 60.0,
    **more: Any,
) -> RegisteredAction:  # fmt: skip
    """Register a function under a short name; all Dropbox Sign events unless told otherwise."""
    give_up_s = more.pop("give_up_s", 3600.0)
    policy = AttemptPolicy(attempts=attempts, give_up_s=give_up_s)
    return RegisteredAction(name, patterns or ("*",), function, timeout_s=timeout_s, policy=policy, **more)


class Deployment:
    """Sequencer, lanes and sweeper on one Redis."""

    def __init__(
        self,
        redis: Redis,
        *actions: RegisteredAction,
        order: OrderingPolicy = OrderingPolicy(),  # noqa: B008 - frozen
        max_event_age_s: float = 0,
        jitter: Callable[[], float] = lambda: 0.0,
        gap_after_s: float = 0,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        events_keep: int = CLEAN_STREAM_KEEP,
        body_signature: str = "record",
        synthesises: bool = False,
    ) -> None:
        self.redis = redis
        self.scripts = Scripts(redis)
        self.registry = Registry(actions, events_keep)
        self.rung: list[str] = []
        self.sequencer = Sequencer(
            self.scripts,
            SequencerPolicy(order, max_event_age_s, retention, gap_after_s, events_keep, body_signature),
            self.rung.append,
        )
        self.lanes = {
            lane: LaneRunner(lane, self.scripts, self.registry, self.rung.append, jitter, retention)
            for lane in self.registry.lanes
            if lane != keys.SEQUENCER
        }
        self._synthesises = synthesises
        self.sweeper = self.another_sweeper()
        announce(self.scripts, self.registry)

    def another_sweeper(self) -> Sweeper:
        """Return a sweeper as the process builds it."""
        desk = GapDesk(self.scripts, self.rung.append, fetches=True, synthesises=self._synthesises)
        return Sweeper(self.scripts, self.rung.append, GapDetector(desk).once)

    def deliver(self, *bodies: bytes, **more: Any) -> None:
        """Put callbacks into the inbox, as the bridge does."""
        load = inbox.Load()
        for body in bodies:
            load.add(envelope(body, **more))
        inbox.append(self.scripts, load)

    def drain(self) -> None:
        """Run the sequencer until nothing is ready."""
        while self.sequencer.drain_one("sequencer"):
            pass

    def work(self, *lanes: str) -> None:
        """Run lanes (all, if none is named) until nothing is ready."""
        for lane in lanes or tuple(self.lanes):
            while self.lanes[lane].drain_one("worker"):
                pass

    def run(self) -> None:
        """Drain and work once."""
        self.drain()
        self.work()

    def run_until(self, condition: Callable[[], Any], what: str) -> None:
        """Sweep, drain and work until something is so."""

        def settled() -> Any:
            self.sweeper.once()
            self.run()
            return condition()

        until(settled, what)

    def counters(self) -> Counter[str]:
        """Return the counters that ``status`` shows."""
        found = cast("dict[bytes, bytes]", self.redis.hgetall(keys.COUNTERS))
        return Counter({name.decode(): int(count) for name, count in found.items()})

    def letters(self) -> list[dict[str, bytes]]:
        """Return the dead letters, oldest first."""
        found = [self.redis.hgetall(keys.dead(each.decode())) for each in members(self.redis, keys.DEAD)]
        letters = cast("list[dict[bytes, bytes]]", found)
        named = [{name.decode(): value for name, value in letter.items()} for letter in letters]
        for letter in named:
            if "detail" in letter:
                stream = (letter.get("source", b"") + b":" + letter.get("key", b"")).decode()
                letter["detail"] = self._readable(stream, letter["detail"].decode()).encode()
        return named

    def reasons(self) -> list[str]:
        """Return why letters are dead."""
        return [letter["reason"].decode() for letter in self.letters()]

    def timeline(self, request_id: str = "r1", source: str = "default") -> list[dict[str, Any]]:
        """Return what ``trace`` shows of a request."""
        stream = f"{source}:signature_request/{request_id}"
        lines = lines_of(self.redis, stream)
        told = [
            {"detail": self._readable(stream, line["detail"])} if "detail" in line else {} for line in lines
        ]
        return [line | detail for line, detail in zip(lines, told, strict=True)]

    def _readable(self, stream: str, text: str) -> str:
        return data_keys.find(self.redis, (stream,)).readable_text(stream, text)

    def kinds(self, request_id: str = "r1") -> list[str]:
        """Return the kinds of a request's timeline."""
        return [line["kind"] for line in self.timeline(request_id)]

    def waiting(self) -> int:
        """Count the units that wait for a retry."""
        return len(units(self.redis, "waiting"))

    def left(self) -> int:
        """Count everything that is not worked off yet."""
        inboxes = sum(self.redis.llen(key) for key in self.redis.scan_iter(keys.PREFIX + "inbox:*"))
        queues = sum(self.redis.llen(key) for key in self.redis.scan_iter(keys.queue("*")))
        return int(inboxes + queues + self.redis.zcard(keys.HELD))
