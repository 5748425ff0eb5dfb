"""Known faults, planted in the code under test only: the simulation must find each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.shared.broker.redis_consumer import RedisConsumer
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.gaps import ProvenEvent
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import inbox, keys
from deedbox.shared.redis.connections import translated
from deedbox.workers.builtins.synthesis import Synthesis, callback_of
from deedbox.workers.lanes.batch import Claim, LaneBatch
from deedbox.workers.lanes.bystander import Bystander
from deedbox.workers.lanes.ledger import Unstarted
from deedbox.workers.lanes.runner import LaneRunner


class HastyConsumer(RedisConsumer):
    """Acknowledges before anything is appended."""

    def take(self, load: inbox.Load) -> int:
        there = super().take(load)
        try:
            self._scripts.redis.delete(keys.claimed(self._bridge))
        except RedisError as error:  # as the consumer itself does: only the order of the steps is wrong here
            raise translated(error) from error
        return there


def _without(line: str) -> Callable[[str], str]:
    def edit(source: str) -> str:
        if line not in source:
            raise AssertionError(f"the line to leave out is gone: {line}")
        return source.replace(line, "")

    return edit


def _leased_by_lane(source: str) -> str:
    """Look for a lease of a unit only where its action is now: as if each lane had leases of its own."""
    here = """local function leased_here(pool, unit)
  for _, action in ipairs(cjson.decode(redis.call('HGET', P .. 'subscriptions', 'actions') or '[]')) do
    if unit == action.name .. string.match(unit, '|.*$') then
      return redis.call('HGET', P .. 'leased_in', unit) == action.lane
    end
  end
  return true
end
local function by_pool(units)"""
    source = _swapped("local function by_pool(units)", here)(source)
    claimed = "for i, unit in ipairs(units) do\n    redis.call('HSET', P .. 'leased_in', unit, lane)\n    tokens[unit]"
    source = _swapped("for i, unit in ipairs(units) do tokens[unit]", claimed)(source)
    source = _swapped(":' .. drainer end\n", ":' .. drainer\n  end\n")(source)
    ready = "if not (leased[j - i + 1] and (pool == P .. 'shards:' or leased_here(pool, mine[j]))) and not waiting[j - i + 1]"
    return _swapped("if not leased[j - i + 1] and not waiting[j - i + 1]", ready)(source)


def _swapped(before: str, after: str) -> Callable[[str], str]:
    def edit(source: str) -> str:
        return _without(before)(source) and source.replace(before, after)

    return edit


class HastyBystander(Bystander):
    """Looks while entries may still begin."""

    def due(self) -> Unstarted | None:
        found = self._ledger.unstarted(inf)
        return None if found is None or found.batch == self._done else found


class HastyRunner(LaneRunner):
    """Begins an entry before the outcome of the one before it is committed."""

    def _next(self, batch: LaneBatch) -> Claim | None:
        return batch.take()


class UnmarkedSynthesis(Synthesis):
    """Passes what it makes off as callbacks of the vendor's."""

    def release(
        self, stream: str, events: Sequence[ProvenEvent], request: Mapping[str, Any], trace_id: str, now: float
    ) -> None:  # fmt: skip
        load = inbox.Load()
        for each in events:
            body = callback_of(each, request)
            load.add(Envelope(stream.partition(":")[0], now, BodySignature.VALID, trace_id, body))
        inbox.append(self._scripts, load)
        self._ring(keys.SEQUENCER)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted fault."""

    consumer: type[RedisConsumer] = RedisConsumer
    bystander: type[Bystander] = Bystander
    runner: type[LaneRunner] = LaneRunner
    synthesis: type[Synthesis] = Synthesis
    edits: Mapping[str, Callable[[str], str]] = field(default_factory=dict)


SOUND: Final = Mutant()
MUTANTS: Final[Mapping[str, Mutant]] = {
    "ack_before_append": Mutant(consumer=HastyConsumer),
    "gives_back_what_may_still_begin": Mutant(bystander=HastyBystander),
    "an_earlier_event_is_repeated_after_a_later_one": Mutant(runner=HastyRunner),
    "what_is_synthesised_gives_way_to_nothing": Mutant(synthesis=UnmarkedSynthesis),
    "release_without_fencing": Mutant(
        edits={"release": _without("if not holds(shard, ARGV[3]) then return { 0 } end")}
    ),
    "erasure_undone_by_a_release": Mutant(
        edits={"release": _swapped("gone = is_erased(stream)", "gone = false")}
    ),
    "erasure_undone_by_a_call": Mutant(
        edits={"finish": _swapped("gone = some_erased and is_erased_unit(unit)", "gone = false")}
    ),
    "better_body_is_not_taken": Mutant(
        edits={"release": _without("write_event(ARGV[i + 1], in_pieces(i + 7, i + 6 + n))")}
    ),
    "a_model_that_changed_meanwhile_is_overwritten": Mutant(
        edits={
            "finish": _swapped(
                "(surely(now, 'GET', P .. 'request:' .. stream_changed) or '') ~= ARGV[at + 2]", "false"
            )
        }
    ),
    "an_archive_of_what_changed_since_it_was_read": Mutant(
        edits={"archive": _swapped("if is_open() or has_changed() then", "if is_open() then")}
    ),
    "event_ends_before_its_outcome": Mutant(
        edits={"release": _swapped("if bump(key, 'open', by) > 0 then", "if by == -1 then")}
    ),
    "each_lane_has_leases_of_its_own": Mutant(
        edits=dict.fromkeys(("claim_entries", "finish", "release", "sweep"), _leased_by_lane)
    ),
    "a_flood_that_starts_again_with_each_batch": Mutant(
        edits={"release": _without("bump(quota, 'facts', ARGV[i + 2])")}
    ),
    "a_pause_of_a_request_that_is_not_looked_at": Mutant(
        edits=dict.fromkeys(
            ("claim_entries", "finish"), _swapped("elseif keeps(unit) then", "elseif false then")
        )
    ),
    "a_pause_of_an_action_that_is_not_looked_at": Mutant(
        edits=dict.fromkeys(
            ("claim_entries", "finish"), _swapped("if not pauses['action|' .. action] and", "if")
        )
    ),
    "a_resume_that_wakes_nothing": Mutant(
        edits={"sweep": _without("if lane ~= 'sequencer' then unpark(pool) end")}
    ),
    "a_limit_that_counts_nothing": Mutant(
        edits=dict.fromkeys(
            ("claim_entries", "finish"),
            _swapped("if not limit then return true end", "if true then return true end"),
        )
    ),
    "wake_up_lost_after_drain": Mutant(
        edits={
            "leave": _without(
                "if any_ready(ARGV[2], pools_of(ARGV[2], 4, #ARGV), now) and wake(ARGV[2], now) == 1 then return 2 end"
            ),
            "sweep": _swapped(
                "if lane ~= '' and any_ready(lane, pools, now) then", "if abandoned + due > 0 then"
            ),
        }
    ),
}
