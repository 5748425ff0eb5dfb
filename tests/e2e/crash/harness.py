"""Runs an ordinary process that dies by SIGKILL at a named point, once.

``python -m tests.e2e.crash.harness FOLDER POINT[,POINT] -- ingress|workers words...``

Production code has no hooks for this: one function at the point is wrapped, then the ordinary main runs. The
death leaves ``FOLDER/<point>.json``, which says what the process had in hand; while it is there, the point is
harmless, so that the workers of one gunicorn master do not die for ever.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, Final

import deedbox.ingress.spool.writer
import deedbox.shared.broker.amqp_broker
import deedbox.shared.broker.redis_broker
import deedbox.shared.documents.file_tree
import deedbox.shared.redis.doorbells
import deedbox.shared.redis.inbox
import deedbox.shared.redis.scripting
import deedbox.workers.builtins.fetch_documents
import deedbox.workers.builtins.recorder
import deedbox.workers.lanes.calls
import deedbox.workers.sequencer.sequencer
import deedbox.workers.sequencer.shard_claim
from deedbox.shared import codec
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.envelope import Envelope, decode_inbox
from deedbox.shared.core.identity import Fact, identify


class Point(StrEnum):
    """Where a process dies."""

    WEB_AFTER_PUBLISH = "web_after_publish"
    """The broker has the callback, the sender has no answer."""
    WEB_AFTER_SPOOL = "web_after_spool"
    """The spool has the callback, the sender has no answer."""
    BRIDGE_AFTER_CLAIM = "bridge_after_claim"
    BRIDGE_AFTER_APPEND = "bridge_after_append"
    """The inbox has the callbacks, the broker still shows them as claimed, and nobody was rung."""
    SEQUENCER_BEFORE_RELEASE = "sequencer_before_release"
    SEQUENCER_AFTER_RELEASE = "sequencer_after_release"
    """Committed, but the lane that must be rung is not."""
    LANE_IN_ACTION = "lane_in_action"
    """The call began, its effect is not there."""
    LANE_AFTER_EFFECT = "lane_after_effect"
    """The effect is there, the commit is not."""
    DOCUMENT_BEFORE_RENAME = "document_before_rename"
    DOCUMENT_BEFORE_SIDECAR = "document_before_sidecar"
    DOCUMENT_AFTER_RECORD = "document_after_record"
    """Stored and written down, but not committed: the key's other actions are not told."""
    SWEEPER_BEFORE_RING = "sweeper_before_ring"
    SWEEPER_BEFORE_ARCHIVE = "sweeper_before_archive"
    """The stream is read and packed."""
    SWEEPER_AFTER_ARCHIVE = "sweeper_after_archive"
    SEQUENCER_BEFORE_RESTORE = "sequencer_before_restore"
    SEQUENCER_AFTER_RESTORE = "sequencer_after_restore"
    """The keys are there again, and nothing of the batch in hand is decided."""


ARCHIVES: Final = frozenset(
    {
        Point.SWEEPER_BEFORE_ARCHIVE,
        Point.SWEEPER_AFTER_ARCHIVE,
        Point.SEQUENCER_BEFORE_RESTORE,
        Point.SEQUENCER_AFTER_RESTORE,
    }
)
"""Points that no request reaches while it is busy: ``test_archives.py`` makes one quiet."""


class Death:
    """Dies at one point, unless that happened before."""

    def __init__(self, folder: Path, point: Point) -> None:
        self._note = folder / f"{point}.json"

    def now(self, streams: Iterable[str] = (), fingerprints: Iterable[str] = ()) -> None:
        """Write down what is in hand and die."""
        note = {
            "at": time.time(),
            "pid": os.getpid(),
            "streams": sorted(set(streams)),
            "fingerprints": sorted(set(fingerprints)),
        }
        try:
            descriptor = os.open(self._note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        os.write(descriptor, json.dumps(note).encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def with_envelopes(self, envelopes: Iterable[Envelope]) -> None:
        """Die with these callbacks in hand."""
        facts = [_fact(envelope) for envelope in envelopes]
        self.now((fact.stream for fact in facts), (fact.fingerprint for fact in facts))


def _fact(envelope: Envelope) -> Fact:
    return identify(envelope.source, parse_callback(codec.body_of(envelope)), envelope.redrive)


Act = Callable[..., None]


def _around(owner: Any, name: str, *, before: Act | None = None, after: Act | None = None) -> None:
    """Wrap a function: ``before`` gets its arguments, ``after`` its result and arguments."""
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args, **kwargs)
        result = original(*args, **kwargs)
        if after is not None:
            after(result, *args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def _web_after_publish(death: Death) -> None:
    for broker in (
        deedbox.shared.broker.redis_broker.RedisBroker,
        deedbox.shared.broker.amqp_broker.AmqpBroker,
    ):
        _around(broker, "publish", after=lambda _, _self, each: death.with_envelopes([each]))
        _around(broker, "publish_many", after=lambda _, _self, batch: death.with_envelopes(batch))


def _web_after_spool(death: Death) -> None:
    _around(
        deedbox.ingress.spool.writer.Spool,
        "append",
        after=lambda _, _self, each, *__: death.with_envelopes([each]),
    )


def _carried(load: deedbox.shared.redis.inbox.Load) -> list[Envelope]:
    return [Envelope.unpack(entry) for _, entry in load.entries]


def _bridge_after_claim(death: Death) -> None:
    _around(
        deedbox.shared.redis.inbox,
        "append",
        before=lambda _state, load, *_: death.with_envelopes(_carried(load)),
    )


def _bridge_after_append(death: Death) -> None:
    _around(
        deedbox.shared.redis.inbox,
        "append",
        after=lambda _, _state, load, *__: death.with_envelopes(_carried(load)),
    )


def _taken(batch: deedbox.workers.sequencer.shard_claim.ShardClaim) -> list[Envelope]:
    return [decode_inbox(entry)[1] for entry in batch.entries]


def _sequencer_before_release(death: Death) -> None:
    def die(
        _sequencer: object, batch: deedbox.workers.sequencer.shard_claim.ShardClaim, *_claim: object
    ) -> None:
        if batch.entries:
            death.with_envelopes(_taken(batch))

    _around(deedbox.workers.sequencer.sequencer.Sequencer, "commit", before=die)


def _sequencer_after_release(death: Death) -> None:
    in_hand: list[deedbox.workers.sequencer.shard_claim.ShardClaim] = []

    def begin(
        _sequencer: object, batch: deedbox.workers.sequencer.shard_claim.ShardClaim, *_claim: object
    ) -> None:
        in_hand[:] = [batch]

    def die(reply: list[object], _scripts: object, name: str, *_: object) -> None:
        """Die before the doorbells that the release asks for."""
        if name == "release" and reply[0] and reply[1] and in_hand[0].entries:
            death.with_envelopes(_taken(in_hand[0]))

    _around(deedbox.workers.sequencer.sequencer.Sequencer, "commit", before=begin)
    _around(deedbox.shared.redis.scripting.Scripts, "call", after=die)


def _lane_in_action(death: Death) -> None:
    def die(event: Any, context: Any) -> None:
        stream = f"{event.source}:{event.ordering_key}"
        death.now([stream], [context.idempotency_key.partition(":")[0]])

    _around(deedbox.workers.builtins.recorder, "facts", before=die)


def _lane_after_effect(death: Death) -> None:
    def die(failed: object, _caller: object, action: Any, event: Any, context: Any) -> None:
        if failed is None and action.name == "record":
            stream = f"{event.source}:{event.ordering_key}"
            death.now([stream], [context.idempotency_key.partition(":")[0]])

    _around(deedbox.workers.lanes.calls.ActionCaller, "attempt", after=die)


def _stream_of(document: Path) -> str:
    return f"default:signature_request/{document.parent.name}"


def _document_before_rename(death: Death) -> None:
    def die(_temporary: Path, target: Path) -> None:
        if target.suffix == ".pdf":
            death.now([_stream_of(target)])

    _around(deedbox.shared.documents.file_tree, "_linked", before=die)


def _document_before_sidecar(death: Death) -> None:
    def die(_: object, target: Path, _data: bytes, **_how: bool) -> None:
        if target.suffix == ".pdf":
            death.now([_stream_of(target)])

    _around(deedbox.shared.documents.file_tree, "_publish", after=die)


def _document_after_record(death: Death) -> None:
    fetch = deedbox.workers.builtins.fetch_documents.FetchDocuments
    _around(fetch, "_remember", after=lambda _, _self, _context, stream, *__: death.now([stream]))


def _sweeper_before_ring(death: Death) -> None:
    _around(deedbox.shared.redis.doorbells.Bells, "ring", before=lambda _bells, _lane: death.now())


def _before_script(script: str) -> Callable[[Death], None]:
    def patch(death: Death) -> None:
        def die(_scripts: object, name: str, _now: object, *operands: str) -> None:
            if name == script:
                death.now(operands[:1])

        _around(deedbox.shared.redis.scripting.Scripts, "call", before=die)

    return patch


def _after_script(script: str) -> Callable[[Death], None]:
    def patch(death: Death) -> None:
        def die(reply: object, _scripts: object, name: str, _now: object, *operands: str) -> None:
            if name == script and reply:
                death.now(operands[:1])

        _around(deedbox.shared.redis.scripting.Scripts, "call", after=die)

    return patch


PATCHES: dict[Point, Callable[[Death], None]] = {
    Point.WEB_AFTER_PUBLISH: _web_after_publish,
    Point.WEB_AFTER_SPOOL: _web_after_spool,
    Point.BRIDGE_AFTER_CLAIM: _bridge_after_claim,
    Point.BRIDGE_AFTER_APPEND: _bridge_after_append,
    Point.SEQUENCER_BEFORE_RELEASE: _sequencer_before_release,
    Point.SEQUENCER_AFTER_RELEASE: _sequencer_after_release,
    Point.LANE_IN_ACTION: _lane_in_action,
    Point.LANE_AFTER_EFFECT: _lane_after_effect,
    Point.DOCUMENT_BEFORE_RENAME: _document_before_rename,
    Point.DOCUMENT_BEFORE_SIDECAR: _document_before_sidecar,
    Point.DOCUMENT_AFTER_RECORD: _document_after_record,
    Point.SWEEPER_BEFORE_RING: _sweeper_before_ring,
    Point.SWEEPER_BEFORE_ARCHIVE: _before_script("archive"),
    Point.SWEEPER_AFTER_ARCHIVE: _after_script("archive"),
    Point.SEQUENCER_BEFORE_RESTORE: _before_script("restore"),
    Point.SEQUENCER_AFTER_RESTORE: _after_script("restore"),
}


def main(arguments: list[str]) -> None:
    """Patch, then become the ordinary process."""
    folder, points, separator, module, *words = arguments
    if separator != "--" or module not in {"deedbox.ingress", "deedbox.workers"}:
        raise SystemExit(__doc__)
    for point in points.split(","):
        PATCHES[Point(point)](Death(Path(folder), Point(point)))
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
