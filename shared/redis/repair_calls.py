"""Each script of a repair, a replay or an erasure as a function: ``script_calls`` has the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import SERVER_CLOCK, Operand, Scripts, text
from deedbox.shared.retention import Retention


def discard(scripts: Scripts, letters: Iterable[str], *, event_life_s: int) -> int:
    """Remove dead letters for good. Returns how many were still there."""
    return int(scripts.call("discard", SERVER_CLOCK, event_life_s, *letters))


def pause(scripts: Scripts, *, target: str, by: str, why: str, at_most: int, stream: str) -> int:
    """Pause something. Returns the script's code."""
    return int(scripts.call("pause", SERVER_CLOCK, target, by, why, at_most, stream)[0])


def audit(scripts: Scripts, *, line: bytes, keep: int) -> None:
    """Record an operation of a person."""
    scripts.call("audit", SERVER_CLOCK, keep, line)


def redrive(
    scripts: Scripts, *, letter: str, retention: Retention, lane: str, unit: str, entry: str, stream: str,
    arrived_at: float,
) -> tuple[int, bool]:  # fmt: skip
    """Put a dead letter's entry back into its queue. Returns the script's code, and whether to ring the lane."""
    code, *ring = scripts.call(
        "redrive", SERVER_CLOCK, letter, retention.events_s, lane, unit, entry, stream, arrived_at, retention.state_s
    )  # fmt: skip
    return int(code), bool(ring and ring[0])


def redrive_raw(
    scripts: Scripts, *, message: bytes, stream: str, letter: str = "", event_life_s: int = 0
) -> int:
    """Hand a message to the bridge: a dead letter's, or (without one) another body of a known fact."""
    return int(scripts.call("redrive_raw", SERVER_CLOCK, letter, event_life_s, message, stream))


def end_calls(scripts: Scripts, *, action: str, at_most: int, retention: Retention) -> tuple[int, int]:
    """Make dead letters of an undeclared action's calls. Returns how many, and how many are left."""
    ended, left = scripts.call(
        "end_calls", SERVER_CLOCK, action, at_most, retention.events_s, keys.TIMELINE_KEEP, retention.state_s
    )
    return ended, left


def rename_calls(scripts: Scripts, *, action: str, to: str, at_most: int) -> tuple[int, int, bool, str]:
    """Give an undeclared action's calls to another. Returns moved and left ones, whether to ring, and the lane."""
    moved, left, ring, lane = scripts.call("rename_calls", SERVER_CLOCK, action, to, at_most)
    return moved, left, bool(ring), text(lane)


def replay(
    scripts: Scripts, *, number: int, retention: Retention, stream: str, done: bytes, then_done: bytes,
    calls: Iterable[tuple[str, Sequence[tuple[str, str, str]]]],
) -> tuple[int, list[bytes]]:  # fmt: skip
    """Append a piece of a replay. Returns events that are gone, or the script's code, and lanes to ring.

    ``calls``: of each event its fingerprint, and lane, unit and entry of each call.
    """
    flat: list[Operand] = []
    for fingerprint, entries in calls:
        flat += [fingerprint, len(entries), *(operand for entry in entries for operand in entry)]
    gone, *lanes = scripts.call(
        "replay", SERVER_CLOCK, number, retention.state_s, retention.events_s, stream, done, then_done, *flat
    )
    return gone, lanes


def erase(
    scripts: Scripts, *, stream: str, shard: int, life_s: int, by: str, items: int, letters: Sequence[str],
    replays: Sequence[tuple[int, int]], strays: Sequence[str],
) -> list[int | bytes]:  # fmt: skip
    """Remove so many items of a stream. ``strays``: events that only their waiting calls still name.

    Returns 1 if nothing is left, how many of each kind were removed, and at the end the id of the destroyed data key.
    """
    flat = [operand for replay in replays for operand in replay]
    reply: list[int | bytes] = scripts.call(
        "erase", SERVER_CLOCK, stream, shard, life_s, by, items, len(letters), *letters, len(replays), *flat, *strays
    )  # fmt: skip
    return reply
