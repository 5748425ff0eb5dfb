"""Known faults, planted in the code under test only: the simulation must find each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from redis.exceptions import RedisError

from deedbox.shared.redis import inbox, keys
from deedbox.shared.redis.connections import translated
from deedbox.workers.bridge.redis_bridge import RedisBridge


class HastyBridge(RedisBridge):
    """Acks before it appends."""

    def _move(self, messages: Sequence[bytes]) -> None:
        try:
            self._broker.redis.delete(keys.claimed(self._id))
        except RedisError as error:  # as the bridge itself does: only the order of the steps is wrong here
            raise translated(error) from error
        load = inbox.Load()
        for message in messages:
            load.add_message(message)
        if inbox.append(self._state, load):
            self._ring(keys.SEQUENCER)


def _without(line: str) -> Callable[[str], str]:
    def edit(source: str) -> str:
        if line not in source:
            raise AssertionError(f"the line to leave out is gone: {line}")
        return source.replace(line, "")

    return edit


def _swapped(before: str, after: str) -> Callable[[str], str]:
    def edit(source: str) -> str:
        return _without(before)(source) and source.replace(before, after)

    return edit


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted fault."""

    bridge: type[RedisBridge] = RedisBridge
    edits: Mapping[str, Callable[[str], str]] = field(default_factory=dict)


SOUND: Final = Mutant()
MUTANTS: Final[Mapping[str, Mutant]] = {
    "ack_before_append": Mutant(bridge=HastyBridge),
    "release_without_fencing": Mutant(
        edits={"release": _without("if not holds('sequencer', shard, ARGV[3]) then return { 0 } end")}
    ),
    "erasure_undone_by_a_release": Mutant(
        edits={"release": _swapped("gone = is_erased(stream)", "gone = false")}
    ),
    "erasure_undone_by_a_call": Mutant(
        edits={"finish": _swapped("gone = is_erased_unit(unit)", "gone = false")}
    ),
    "event_ends_before_its_outcome": Mutant(
        edits={"release": _swapped("if redis.call('HINCRBY', key, 'open', by) > 0 then", "if by == -1 then")}
    ),
    "wake_up_lost_after_drain": Mutant(
        edits={
            "leave": _without(
                "if any_ready(pools_of(ARGV[2], 4, #ARGV)) and wake(ARGV[2], now) == 1 then return 2 end"
            ),
            "sweep": _swapped("if lane ~= '' and any_ready(pools) then", "if abandoned + due > 0 then"),
        }
    ),
}
