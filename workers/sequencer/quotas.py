"""Drops what one ``event_hash`` sends beyond its quota, before anything of it is written; one dead letter counts it.

Sequencers that work side by side read what was used before any of them has written: each may store a whole quota.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deedbox.shared.core.fields import count_of
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.redis import keys
from deedbox.workers.commit import Commit
from deedbox.workers.sequencer.arrivals import Delivered, StreamWork
from deedbox.workers.sequencer.quota_policy import QuotaGroup, QuotaPolicy, QuotaUse


class BatchQuotas:
    """The quotas that the callbacks of one batch use."""

    def __init__(self, policy: QuotaPolicy, streams: Iterable[StreamWork]) -> None:
        self._policy = policy
        self.groups = list(
            dict.fromkeys(_group(each) for work in streams for each in work.delivered if _is_counted(each))
        )
        self._uses: dict[QuotaGroup, QuotaUse] = {}
        self._first: dict[QuotaGroup, Delivered] = {}

    def read(self, pipeline: Any) -> None:
        """Ask for what the groups have used."""
        for group in self.groups:
            pipeline.hmget(keys.quota(group.key), "facts", "bytes")

    def take(self, replies: Iterable[Sequence[bytes | None]]) -> None:
        """Take the answers."""
        for group, (facts, size) in zip(self.groups, replies, strict=True):
            self._uses[group] = QuotaUse(count_of(facts), count_of(size))

    def part(self, streams: Mapping[str, StreamWork]) -> None:
        """Take away from the streams what is beyond."""
        for work in streams.values():
            bodies = {name: {known.digest} for name, known in work.known.items()}
            others = {name: known.other_bodies for name, known in work.known.items()}
            work.delivered = [each for each in work.delivered if self._admits(each, bodies, others)]

    def commit(self) -> Commit:
        """Return the operations that count, and file or renew the dead letter of each flood."""
        commit = Commit()
        for group, use in self._uses.items():
            if use.new_facts or use.new_bytes or use.beyond:
                letter = self._letter(group, use) if use.beyond else {}
                commit.quota(
                    group.key, facts=use.new_facts, size_bytes=use.new_bytes, beyond=use.beyond,
                    life_s=self._policy.life_s, letter=letter,
                )  # fmt: skip
        flooded = sum(use.beyond for use in self._uses.values())
        if flooded:
            commit.count("arrived", flooded).count("flooded", flooded)
        return commit

    @property
    def flooded(self) -> int:
        """How many callbacks were taken away."""
        return sum(use.beyond for use in self._uses.values())

    def _admits(self, each: Delivered, bodies: dict[str, set[str]], others: dict[str, int]) -> bool:
        name, digest = each.fact.fingerprint, each.stored.body_digest
        known = bodies.get(name)
        if known is not None and digest in known:
            return True
        if _is_counted(each):
            group = _group(each)
            other_bodies = None if known is None else others.get(name, 0)
            if not self._uses[group].admits(self._policy, len(each.stored.body), other_bodies=other_bodies):
                self._first.setdefault(group, each)
                return False
        if known is not None:
            others[name] = others.get(name, 0) + 1
        bodies.setdefault(name, set()).add(digest)
        return True

    def _letter(self, group: QuotaGroup, use: QuotaUse) -> dict[str, str | bytes]:
        policy = self._policy
        return {
            "reason": DeathReason.FLOODED, "source": group.source, "type": group.event_type,
            "trace_id": self._first[group].stored.trace_id, "count": str(use.beyond),
            "detail": f"more callbacks of this type came for the second {group.event_time} than are kept: {policy.facts} "
            f"events, {policy.bytes} bytes, {policy.bodies} other bodies of an event. count: those that were dropped",
        }  # fmt: skip


def _is_counted(each: Delivered) -> bool:
    return not (each.is_vouched_for or each.redriven)


def _group(each: Delivered) -> QuotaGroup:
    return QuotaGroup(each.stored.source, each.stored.event_type, each.stored.event_time)
