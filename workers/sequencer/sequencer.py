"""The sequencer: drains shards of the inbox, deduplicates, restores order, and releases to the actions' queues.

A lease, about 2 s of one RQ job: claim a shard, read a batch, load the streams' states, ``step`` each, commit
everything in one script call that checks the lease. It decides nothing itself (``deedbox.shared.core.ordering``
does) and runs no user code. A crash anywhere before the commit changes nothing; after it, everything is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.shared import sealing
from deedbox.shared.archives.restoring import restore
from deedbox.shared.core.envelope import decode_inbox
from deedbox.shared.core.errors import BadCallback, Undecodable
from deedbox.shared.core.identity import shard_of
from deedbox.shared.core.ordering import OrderingPolicy, pass_through, step
from deedbox.shared.core.reasons import ArrivalVerdict
from deedbox.shared.core.signature import SignatureEvidence
from deedbox.shared.records import order_state
from deedbox.shared.records.spool_mark import SpoolMarks
from deedbox.shared.records.stored_event import ASIDE, FIELDS
from deedbox.shared.redis import data_keys, keys, script_calls
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.script_calls import NO_CLAIM, DrainClaim
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs
from deedbox.workers.actions.registry import CLEAN_STREAM_KEEP
from deedbox.workers.commit import Commit
from deedbox.workers.lease import LEASE_S, LINGER_S, LeaseReport
from deedbox.workers.pacing import Gathering
from deedbox.workers.sequencer.arrivals import Delivered, KnownBody, StreamWork, delivered, part_unsigned
from deedbox.workers.sequencer.hop_log import Judgements
from deedbox.workers.sequencer.quota_policy import QuotaPolicy
from deedbox.workers.sequencer.quotas import BatchQuotas
from deedbox.workers.sequencer.releases import (
    StreamSection,
    add_arrivals,
    add_gaps,
    add_releases,
    add_stranded,
    add_too_old,
    add_undecodable,
    add_unreadable,
    add_unsigned,
)
from deedbox.workers.sequencer.shard_claim import ShardClaim
from deedbox.workers.sequencer.stranded import stranded

BATCH: Final = 250
"""Callbacks of one commit: large enough that round trips cost little, small enough (about 1 MB) that one
script call does not stall Redis for longer than some ms."""

BATCH_BYTES: Final = 4 * 1024 * 1024
"""A batch ends here, whatever its count: bodies may be as large as DEEDBOX_BODY_MAX_BYTES."""

TEXT_BYTES: Final = 4 * BATCH_BYTES
"""The same for what the bodies are uncompressed, which Redis cannot measure: bodies that compress a thousandfold would
else be gigabytes to parse under one lease."""

_OF_KNOWN: Final = (*FIELDS, ASIDE, "bodies")

log = logs.get("sequencer")


@dataclass(frozen=True, slots=True)
class SequencerPolicy:
    """How the sequencer treats arrivals."""

    order: OrderingPolicy = OrderingPolicy()
    max_event_age_s: float = 0.0
    """An event older than this at receipt is dead-lettered; 0: never."""
    retention: Retention = Retention()
    gap_after_s: float = 0.0
    """When to look for gaps in a request that is complete or whose predecessor was given up; 0: never."""
    events_keep: int = CLEAN_STREAM_KEEP
    """Entries that the clean stream is cut to; 0: there is none."""
    body_signature: str = "record"
    """``auto``: what is not signed is set aside once recent traffic of its source has shown that the source signs."""
    quotas: QuotaPolicy = QuotaPolicy()


class Sequencer:
    """Drains shards. One per process."""

    def __init__(self, scripts: Scripts, policy: SequencerPolicy, ring: Callable[[str], None]) -> None:
        self._scripts = scripts
        self._ring = ring
        self._redis = scripts.redis
        self._policy = policy
        self._gathering = Gathering()

    def drain(self, drainer: str, go_on: Callable[[], bool]) -> LeaseReport:
        """Drain shards while ``go_on`` says so. Raises Unavailable."""
        claim = DrainClaim(drainer, LEASE_S, LINGER_S + 1, BATCH, BATCH_BYTES)
        reply: Sequence[Any] | None = script_calls.claim_shard(self._scripts, claim)
        units = 0
        while reply:
            shard, token, ring, now, entries, due, behind = reply
            if ring:
                self._ring(keys.SEQUENCER)
            batch = ShardClaim(
                shard.decode("utf-8", "surrogateescape"),
                token.decode("utf-8", "surrogateescape"),
                float(now),
                entries,
                due,
                more=behind > 0,
            )
            units += 1
            if not go_on():
                self.commit(batch)
                return LeaseReport(units, idle=False)
            gathers = self._gathering.found(len(entries), len(entries) if behind else BATCH)
            reply = self.commit(batch, NO_CLAIM if gathers else claim)
            if gathers:
                self._gathering.pause()
            if gathers or reply is None:
                reply = script_calls.claim_shard(self._scripts, claim)
        self._gathering.found(0, BATCH)
        return LeaseReport(units, idle=True)

    def drain_one(self, drainer: str) -> bool:
        """Claim one shard and commit one batch of it. Returns whether there was one."""
        return self.drain(drainer, lambda: False).units > 0

    def commit(self, batch: ShardClaim, claim: DrainClaim = NO_CLAIM) -> Sequence[Any] | None:
        """Decide about a batch, write the decision, and claim what is ready next.

        Returns the claim; None if the lease of this batch was lost, and then nothing was written or claimed.
        """
        judgements = Judgements()
        commit = Commit()
        streams, taken = self._identify(batch, commit, judgements)
        if taken < len(batch.entries):
            batch = replace(batch, entries=batch.entries[:taken], more=True)
        quotas = BatchQuotas(self._policy.quotas, streams.values())
        spooled_since = self._load(streams, batch.now, quotas)
        quotas.part(streams)
        commit.append(quotas.commit())
        self._seal(streams, commit)
        for stream, work in streams.items():
            if not work.is_touched:
                continue
            commit.append(self._decide(stream, work, batch, spooled_since, judgements))
        reply = script_calls.release(
            self._scripts, shard=_sent(batch.shard), token=_sent(batch.token), taken=len(batch.entries),
            retention=self._policy.retention, claim=claim, operations=commit.operands(),
        )  # fmt: skip
        if reply is None:
            # Another process took the shard over after this one was paused for longer than its lease.
            log.warning("sequencer.fenced", shard=batch.shard)
            return None
        lanes, claimed = reply
        for lane in lanes:
            self._ring(lane.decode())
        if quotas.flooded:
            log.warning("sequencer.flooded", reason="flooded", callbacks=quotas.flooded)
        judgements.tell(self._redis)
        return claimed

    def _identify(
        self, batch: ShardClaim, commit: Commit, judgements: Judgements
    ) -> tuple[dict[str, StreamWork], int]:
        """Group the batch by stream. What cannot be decoded becomes a dead letter: it never wedges the shard.

        Returns also how many entries were taken: to parse all of them may take longer than the lease.
        """
        streams: dict[str, StreamWork] = {}
        for name in batch.due:
            try:
                stream = name.decode()
                home = shard_of(stream)
            except UnicodeDecodeError:
                commit.move_wake(name, None)
                continue
            if home == batch.number:
                streams[stream] = StreamWork(is_due=True)
            else:
                commit.move_wake(name, home)
        room = TEXT_BYTES
        for number, entry in enumerate(batch.entries):
            if room <= 0:
                return streams, number
            try:
                appended_at, envelope = decode_inbox(entry)
                each = delivered(judgements.begin(envelope), appended_at, entry)
            except (Undecodable, BadCallback, RecursionError) as error:
                room -= len(entry)
                set_aside(commit, entry, error)
                continue
            room -= each.text_bytes
            stream = each.fact.stream
            work = streams.get(stream)
            if work is None:
                if (home := shard_of(stream)) != batch.number:
                    # A later version may derive another key, a header may be wrong: two shards must not write one state.
                    commit.move_entry(entry, home).count("misplaced")
                    continue
                work = streams[stream] = StreamWork()
            work.ordered = each.fact.key.ordered
            work.delivered.append(each)
        return streams, len(batch.entries)

    def _load(self, streams: dict[str, StreamWork], now: float, quotas: BatchQuotas) -> float | None:
        """Read every stream's state and dedupe memory in one round trip, and what repeats are compared with in another.

        Returns since when some host's spool holds callbacks, if any does: what no living host says counts for nothing.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.exists(*map(keys.archive, streams or ("",)))
        pipeline.hgetall(keys.SPOOLS)
        sources = sorted({stream.partition(":")[0] for stream in streams})
        for source in sources:
            pipeline.hmget(keys.evidence(source), "valid", "last_valid_at", "wrong_at")
        quotas.read(pipeline)
        pipeline.mget(map(keys.order, streams or ("",)))
        for stream, work in streams.items():
            if work.delivered:
                pipeline.zmscore(keys.seen(stream), [each.fact.fingerprint for each in work.delivered])
        try:
            replies = iter(pipeline.execute())
        except RedisError as error:
            raise translated(error) from error
        if next(replies):
            # No stream of this shard is archived again as long as the shard is leased.
            restore(self._scripts, streams)
            return self._load(streams, now, quotas)
        spooled_since = SpoolMarks.of(next(replies), now).oldest_received_at
        automatic = self._policy.body_signature == "auto"
        signed = {
            name for name in sources if SignatureEvidence.read(*next(replies)).proves(now) and automatic
        }
        quotas.take([next(replies) for _ in quotas.groups])
        repeats: list[tuple[StreamWork, str]] = []
        for (stream, work), document in zip(streams.items(), next(replies), strict=False):
            work.signed = stream.partition(":")[0] in signed
            if document:
                self._take_state(stream, work, document)
            scores = next(replies) if work.delivered else []
            known = {
                each.fact.fingerprint
                for each, score in zip(work.delivered, scores, strict=True)
                if score is not None
            }
            repeats += [(work, name) for name in known]
        self._load_bodies(repeats, {stream: work for stream, work in streams.items() if work.unvouched()})
        # A digest is a part of what the encryption of a body vouches for.
        encrypts = sealing.ring() is not None
        for work in streams.values():
            work.name_bodies(all_of_them=encrypts)
        return spooled_since

    def _seal(self, streams: dict[str, StreamWork], commit: Commit) -> None:
        """Encrypt what is about to be stored, if this process encrypts. Without its stream's key a callback is set aside."""
        if sealing.ring() is None:
            return
        written = [stream for stream, work in streams.items() if work.delivered]
        found = data_keys.ensure(self._scripts, written, self._policy.retention.state_s)
        for stream in written:
            work = streams[stream]
            if (error := found.missing.get(stream)) is None:
                for each in work.delivered:
                    each.stored = found.sealed(each.stored)
                continue
            for each in work.delivered:
                set_aside(commit, each.entry, error)
            work.delivered = []

    def _take_state(self, stream: str, work: StreamWork, document: bytes) -> None:
        """Read a stream's state. One that cannot be read isolates its stream; the shard's other streams go on."""
        state = order_state.load(document)
        if state:
            work.state = state
            return
        work.stranded = stranded(self._redis, stream)
        # An operator who sends an event again, knowing the reason, begins a new state.
        work.unreadable = not any(each.redriven for each in work.delivered)
        log.error(
            "sequencer.state_unreadable", reason="state_unreadable", stream=stream, isolated=work.unreadable
        )

    def _load_bodies(
        self, repeats: Sequence[tuple[StreamWork, str]], unsigned: Mapping[str, StreamWork]
    ) -> None:
        """Read what repeats are compared with, and which of the unsigned bodies were set aside before."""
        if not (repeats or unsigned):
            return
        pipeline = self._redis.pipeline(transaction=False)
        for stream, work in unsigned.items():
            for each in work.unvouched():
                each.name_body()
            pipeline.zmscore(keys.seen(stream), [each.body_name for each in work.unvouched()])
        for _, fingerprint in repeats:
            pipeline.hmget(keys.event(fingerprint), _OF_KNOWN)
        try:
            replies = iter(pipeline.execute())
        except RedisError as error:
            raise translated(error) from error
        for work in unsigned.values():
            names = [each.body_name for each in work.unvouched()]
            work.set_aside = {
                name for name, score in zip(names, next(replies), strict=True) if score is not None
            }
        for (work, fingerprint), values in zip(repeats, replies, strict=True):
            fields = {
                name.encode(): each for name, each in zip(_OF_KNOWN, values, strict=True) if each is not None
            }
            work.known[fingerprint] = KnownBody.read(fields)

    def _decide(
        self,
        stream: str,
        work: StreamWork,
        batch: ShardClaim,
        spooled_since: float | None,
        judgements: Judgements,
    ) -> StreamSection:
        """Turn one stream's decision into the operations of the commit."""
        if work.unreadable:
            section = StreamSection(stream, b"", None, batch.now)
            add_stranded(section, work)
            add_unreadable(section, work)
            return section
        fresh, old = self._split_by_age(work)
        fresh, unsigned = part_unsigned(work, fresh)
        refused = [*((each, ArrivalVerdict.TOO_OLD) for each in old),
                   *((each, ArrivalVerdict.UNSIGNED) for each in unsigned)]  # fmt: skip
        arrivals = [(each.arrival, each.stored.arrived_at) for each in fresh]
        if work.ordered:
            decision = step(
                work.state, arrivals, batch.judged_at, self._policy.order, work.known, spooled_since
            )
            state = order_state.dump(decision.state)
        else:
            decision = pass_through(arrivals, work.known)
            state = b""
        judgements.add(work, fresh, refused, decision, batch.now)
        section = StreamSection(stream, state, decision.wake_at, batch.now, self._policy.events_keep)
        add_stranded(section, work)
        for each in old:
            add_too_old(section, each)
        for each in unsigned:
            add_unsigned(section, work, each)
        add_arrivals(section, work, fresh, decision)
        add_releases(section, work, decision, batch.now)
        if self._policy.gap_after_s:
            add_gaps(section, stream, decision, self._policy.gap_after_s)
        return section

    def _split_by_age(self, work: StreamWork) -> tuple[list[Delivered], list[Delivered]]:
        """Part the arrivals that are too old. Repeats of known facts go on: they end as duplicates."""
        limit = self._policy.max_event_age_s
        fresh: list[Delivered] = []
        old: dict[str, Delivered] = {}
        for each in work.delivered:
            known = each.fact.fingerprint in work.known
            age_s = each.stored.received_at - each.stored.event_time
            excused = each.redriven or each.is_reconciled
            if limit and not known and not excused and age_s > limit:
                old[each.fact.fingerprint] = each
                work.known[each.fact.fingerprint] = replace(KnownBody.of(each.stored), aside=True)
            else:
                fresh.append(each)
        return fresh, list(old.values())


def set_aside(commit: Commit, entry: bytes, error: Exception) -> None:
    """Make a dead letter of an entry that cannot be read."""
    reason = add_undecodable(commit, entry, error)
    log.warning("sequencer.undecodable", reason=reason.value, error=type(error).__name__)


def _sent(name: str) -> bytes:
    """Return a name as it was read, whatever bytes it was."""
    return name.encode("utf-8", "surrogateescape")
