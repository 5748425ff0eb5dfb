"""Each script as a function, whose parameters name its operands; ``repair_calls`` has those of repairs.

No other module knows the order of the operands. ``scripts`` is where the script runs, and its first lines say what it
does. Every function raises Unavailable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from deedbox.shared.core.request_snapshot import TERMS_MAX
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import SERVER_CLOCK, Operand, Scripts, text
from deedbox.shared.retention import Retention


class RawClaim(NamedTuple):
    """What a bridge read of its claimed list. Only that may be dropped: more may have come since."""

    name: str
    length: int
    newest: bytes


NO_BATCH: Final = ("", b"")
"""Of an append that no bridge makes."""


class DrainClaim(NamedTuple):
    """What a drainer asks for."""

    drainer: str
    lease_s: float
    idle_s: float
    """How long it waits for the bell if nothing is ready."""
    at_most: int
    bytes_at_most: int


NO_CLAIM: Final = DrainClaim("", 0, 0, 0, 0)
"""Of a commit that claims nothing."""


class FiledEvent(NamedTuple):
    """An internal event for one action."""

    lane: str
    unit: str
    entry: str
    fingerprint: str
    fields: Sequence[str | bytes]
    """Of the stored event: name, value, and so on."""


class LookEnd(NamedTuple):
    """The end of one look for gaps."""

    stream: str
    due: float | None
    """The score that was read; None: an operator asked."""
    event: FiledEvent | None


# Broker to inbox.


def claim_raw(
    scripts: Scripts, *, bridge: str, lease_s: float, at_most: int, bytes_at_most: int
) -> list[bytes]:
    """Claim raw callbacks for a bridge, the oldest first."""
    found: list[bytes] = scripts.call(
        "claim_raw", SERVER_CLOCK, keys.RAW_QUEUE, bridge, lease_s, at_most, bytes_at_most
    )
    return found


def restore_raw(scripts: Scripts) -> int:
    """Give back what dead bridges had claimed. Returns how many callbacks."""
    return int(scripts.call("restore_raw", SERVER_CLOCK, keys.RAW_QUEUE))


def drop_raw(scripts: Scripts, claim: RawClaim) -> None:
    """Drop what a bridge has appended from its claimed list."""
    scripts.call("drop_raw", SERVER_CLOCK, *claim)


def beat(scripts: Scripts, *, bridge: str, lease_s: float) -> None:
    """Say that a bridge lives."""
    scripts.call("beat", SERVER_CLOCK, bridge, lease_s)


def append(
    scripts: Scripts,
    *,
    entries: Sequence[tuple[int, bytes]] = (),
    redriven: Sequence[bytes] = (),
    letters: Iterable[Mapping[str, str | bytes]] = (),
    claim: RawClaim | None = None,
    batch: tuple[str, bytes] = NO_BATCH,
) -> bool:
    """Append to the inbox and file dead letters. Returns whether the sequencer must be rung.

    ``entries``: shard and packed envelope. ``batch``: the key that remembers the last batch, and this one's digest.
    """
    flat: list[Operand] = [*(claim or ("", 0, "")), *batch, len(entries)]
    flat += [operand for entry in entries for operand in entry]
    flat += [len(redriven), *redriven]
    for letter in letters:
        flat += [2 * len(letter), *(operand for pair in letter.items() for operand in pair)]
    return bool(scripts.call("append", SERVER_CLOCK, *flat))


# Sequencer and lanes.


def claim_shard(scripts: Scripts, claim: DrainClaim) -> Sequence[Any]:
    """Claim a shard of the inbox."""
    found: Sequence[Any] = scripts.call("claim_shard", SERVER_CLOCK, *claim)
    return found


def release(
    scripts: Scripts, *, shard: bytes, token: bytes, taken: int, retention: Retention, claim: DrainClaim,
    operations: Sequence[Operand],
) -> tuple[list[bytes], Sequence[Any]] | None:  # fmt: skip
    """Commit a batch of a shard and claim the next. Returns lanes to ring and the claim; None if the lease was lost."""
    done, *rest = scripts.call(
        "release", SERVER_CLOCK, shard, token, taken, retention.state_s, retention.events_s, keys.TIMELINE_KEEP,
        *claim, *operations,
    )  # fmt: skip
    return (rest[0], rest[1]) if done else None


def claim_entries(scripts: Scripts, *, lane: str, claim: DrainClaim, actions: Sequence[str]) -> Sequence[Any]:
    """Claim heads of the actions' queues."""
    found: Sequence[Any] = scripts.call("claim_entries", SERVER_CLOCK, lane, *claim, *actions)
    return found


def finish(
    scripts: Scripts, *, lane: str, retention: Retention, claim: DrainClaim, actions: Sequence[str],
    operations: Sequence[Operand],
) -> tuple[int, list[bytes], Sequence[Any], list[bytes]]:  # fmt: skip
    """Commit outcomes and claim what is ready next.

    Returns outcomes refused, lanes to ring, the claim, and units of which no further entry may begin.
    """
    refused, lanes, claimed, over = scripts.call(
        "finish", SERVER_CLOCK, lane, retention.state_s, retention.events_s, keys.TIMELINE_KEEP, *claim,
        len(actions), *actions, *operations,
    )  # fmt: skip
    return refused, lanes, claimed, over


def renew(scripts: Scripts, *, unit: str, token: str, lease_s: float) -> None:
    """Extend the lease of a call that runs."""
    scripts.call("renew", SERVER_CLOCK, unit, token, lease_s)


def leave(scripts: Scripts, *, lane: str, drainer: str, actions: Sequence[str]) -> bool:
    """Let a drainer end its job. Returns whether it must ring a successor first."""
    return int(scripts.call("leave", SERVER_CLOCK, lane, drainer, *actions)) == _RING_FIRST


_RING_FIRST: Final = 2


def sweep(
    scripts: Scripts, *, lane: str, shards: int, at_most: int, losses_max: int, lost_keep: int, retention: Retention,
    actions: Sequence[str],
) -> tuple[int, int, bool, Sequence[Any], bool]:  # fmt: skip
    """Find what is due in a lane.

    Returns leases taken back, retries due, whether to ring, what was lost, and whether there may be more of it.
    """
    abandoned, due, ring, _dead, lost, more = scripts.call(
        "sweep", SERVER_CLOCK, lane, shards, at_most, losses_max, keys.TIMELINE_KEEP, retention.state_s,
        retention.events_s, lost_keep, *actions,
    )  # fmt: skip
    return abandoned, due, bool(ring), lost, bool(more)


def set_aside(scripts: Scripts, wrong: Mapping[str, str]) -> list[str]:
    """Move keys of another type than ours away. ``wrong``: name -> our type. Returns those that were moved."""
    return [
        text(moved)
        for moved in scripts.call(
            "set_aside", SERVER_CLOCK, *(each for pair in wrong.items() for each in pair)
        )
    ]


def note_streams(scripts: Scripts, streams: Iterable[str]) -> int:
    """Put streams into their index that are not in it. Returns how many."""
    return int(scripts.call("note_streams", SERVER_CLOCK, *streams))


# Internal events, and what actions know about a stream.


def gaps_due(scripts: Scripts, *, at_most: int) -> tuple[float, dict[str, float], dict[str, float]]:
    """Return Redis's time, the streams whose look for gaps is due, and those to be confirmed, with their scores."""
    now, due, asked = scripts.call("gaps_due", SERVER_CLOCK, at_most)
    return float(now), _scored(due), _scored(asked)


def _scored(rows: Sequence[bytes]) -> dict[str, float]:
    return {text(s): float(score) for s, score in zip(rows[::2], rows[1::2], strict=True)}


def suspect(
    scripts: Scripts, *, retention: Retention, lane: str, looks: Iterable[LookEnd]
) -> tuple[int, bool]:
    """End looks for gaps. Returns events filed, and whether to ring the lane."""
    flat: list[Operand] = []
    for stream, due, event in looks:
        flat += [stream, "" if due is None else repr(due)]
        if event is None:
            flat.append(0)
        else:
            flat += [len(event.fields), event.unit, event.entry, event.fingerprint, *event.fields]
    filed, ring = scripts.call("suspect", SERVER_CLOCK, retention.state_s, retention.events_s, lane, *flat)
    return int(filed), bool(ring)


def file_events(
    scripts: Scripts, *, key: str, before: str | bytes, value: str | bytes, life_s: int | None, event_life_s: int,
    events: Iterable[FiledEvent],
) -> list[bytes] | None:  # fmt: skip
    """File events and set the key that decides on them. Returns lanes to ring; None if its value is not ``before``."""
    flat: list[Operand] = []
    for event in events:
        flat += [event.lane, event.unit, event.entry, event.fingerprint, len(event.fields), *event.fields]
    done, *lanes = scripts.call(
        "file_events", SERVER_CLOCK, key, before, value, "" if life_s is None else life_s, event_life_s, *flat
    )
    return lanes if done else None


def remember(scripts: Scripts, *, stream: str, kind: str, value: bytes, life_s: int) -> None:
    """Keep what an action knows about a stream. Of an erased one nothing is kept."""
    scripts.call("remember", SERVER_CLOCK, stream, kind, value, life_s)


def remember_request(
    scripts: Scripts,
    *,
    stream: str,
    value: bytes,
    life_s: int,
    before: bytes,
    state: str,
    terms: Iterable[str],
) -> bool:
    """Keep the read model of a request. Returns False if the key holds another value than ``before``.

    ``state``: the term of its state; ``terms``: others by which it is found.
    """
    reply = scripts.call(
        "remember", SERVER_CLOCK, stream, "request", value, life_s, before, keys.REQUESTS_KEEP, state, TERMS_MAX, *terms
    )  # fmt: skip
    return int(reply) != _CHANGED


_CHANGED: Final = 2


def budget_take(
    scripts: Scripts, *, now: float | None, account: str, window_s: float, slack_s: float, grace_s: float,
    ticket: str, since: float | None, tries: int, group: str, rates: Iterable[tuple[str, int]],
) -> float:  # fmt: skip
    """Take a call of each kind, all or none. Returns 0, or the seconds to wait. ``now``: None for Redis's clock."""
    flat = [operand for rate in rates for operand in rate]
    reply = scripts.call(
        "budget_take", SERVER_CLOCK if now is None else now, account, window_s, slack_s, grace_s, ticket,
        "" if since is None else since, tries, group, *flat,
    )  # fmt: skip
    return float(reply)


def budget_used(scripts: Scripts, *, window_s: float, budgets: Iterable[tuple[str, int]]) -> list[int]:
    """Count the calls of the last window. ``budgets``: list and rate of each."""
    flat = [operand for budget in budgets for operand in budget]
    return [int(used) for used in scripts.call("budget_used", SERVER_CLOCK, window_s, *flat)]


# Archives.


def quiet(scripts: Scripts, *, after_s: float, at_most: int) -> tuple[float, list[str]]:
    """Return Redis's time, and the streams that have been quiet for longest, for so long at least."""
    now, streams = scripts.call("quiet", SERVER_CLOCK, after_s, at_most)
    return float(now), [text(stream) for stream in streams]


def archive(
    scripts: Scripts, *, stream: str, shard: int, before: bytes, lines: int, last_line: bytes, names: int,
    terms: int, values: Iterable[bytes], archive: bytes, ends_at: float, quiet_since: float | None, events: Iterable[bytes],
) -> bool:  # fmt: skip
    """Replace a stream's keys by its archive. Returns False if something is open, or changed since it was read.

    ``before``, ``lines``, ``last_line``, ``names``, ``terms`` and ``values`` (order state, read model, document record) are what was
    read.
    """
    since: Operand = "" if quiet_since is None else quiet_since
    done = scripts.call(
        "archive", SERVER_CLOCK, stream, shard, before, lines, last_line, names, terms, *values, archive, ends_at, since,
        *events,
    )  # fmt: skip
    return bool(done)


def restore(
    scripts: Scripts, *, stream: str, archive: bytes, ends_at: float | None, operations: Iterable[Operand]
) -> bool:
    """Replace an archive by the stream's keys. ``ends_at``: None if it cannot be read. Returns False if it is another one."""
    end = "" if ends_at is None else repr(ends_at)
    return bool(scripts.call("restore", SERVER_CLOCK, stream, archive, end, keys.TIMELINE_KEEP, *operations))


# Data keys.


def data_keys(
    scripts: Scripts, *, life_s: int, ring_key: str, offers: Iterable[tuple[str, str, bytes]]
) -> list[bytes | None]:
    """Return wrapped data keys; None for an erased stream. ``offers``: stream, id of a new key, the new key wrapped."""
    flat: list[Operand] = [operand for offer in offers for operand in offer]
    found: list[bytes | None] = scripts.call("data_keys", SERVER_CLOCK, life_s, ring_key, *flat)
    return found


def rewrap(scripts: Scripts, *, ring_key: str, rows: Iterable[tuple[str, bytes, bytes]]) -> int:
    """Replace wrapped data keys. ``rows``: stream, as it was read, wrapped anew. Returns how many were replaced."""
    flat: list[Operand] = [operand for row in rows for operand in row]
    return int(scripts.call("rewrap", SERVER_CLOCK, ring_key, *flat))


# What processes say of themselves.


def announce(
    scripts: Scripts, *, digest: str, declaration: str, silence_s: float, only_first: bool
) -> tuple[int, bool]:
    """Announce a declaration. Returns the generation that counts now, and whether this changed it."""
    generation, changed = scripts.call(
        "announce", SERVER_CLOCK, digest, declaration, silence_s, int(only_first)
    )
    return int(generation), bool(changed)


def present(scripts: Scripts, name: str, *, life_s: float, document: bytes) -> None:
    """Say what a worker does. ``life_s``: how long that counts; 0: it ends."""
    scripts.call("present", SERVER_CLOCK, name, life_s, document)


def report_intake(
    scripts: Scripts, *, process: str, report: bytes, answered: bool, ends: bool, life_s: float
) -> None:
    """Take over a web process's report. ``answered``: an earlier one was."""
    scripts.call("report_intake", SERVER_CLOCK, process, report, int(answered), int(ends), life_s)
