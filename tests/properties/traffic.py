"""Traffic for the ordering rule: honest stories, arbitrary events, and how both reach us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from hypothesis import Phase, settings
from hypothesis import strategies as st

from tests.properties.oracle import (
    ALL_SIGNED,
    BARE,
    DOWNLOADABLE,
    PREFIX,
    SENT,
    SIGNED,
    VIEWED,
    Event,
    in_order,
)

PHASES: Final = (Phase.explicit, Phase.generate, Phase.shrink)
"""Without the explanation of a failure: on stories of this size it takes longer than the suite."""

LAW: Final = settings(derandomize=True, max_examples=70, deadline=None, phases=PHASES)
"""The same examples on every run, so that a red suite is a change of ours."""

CREATED_AT: Final = 1_700_000_000
DAY_S: Final = 86_400
FAR_AWAY: Final = CREATED_AT + 1000 * DAY_S
"""Clocks stop here: events may claim any time, but floats of it must stay exact."""

QUARTERS: Final = 0.25
"""All times are multiples of it, so that sums of floats are exact and `<=` means what it says."""

HOLD_S: Final = 30.0


@dataclass(frozen=True)
class Delivery:
    """An event on its way: appended to the inbox at ``at`` (seconds)."""

    event: Event
    at: float


def seconds(most: float) -> st.SearchStrategy[float]:
    """Draw a time from 0 to ``most`` (seconds), in quarters."""
    return st.integers(0, int(most / QUARTERS)).map(lambda count: count * QUARTERS)


@dataclass(frozen=True)
class _Told:
    kind: str
    signer: int | None
    time: int


@st.composite
def _script(draw: st.DrawFn, signers: int) -> list[_Told]:
    """Draw what happens: each signer looks at most once before signing; the rest follows."""
    gaps = st.sampled_from([0, 0, 0, 1, 2, 7, 3600, 2 * DAY_S, 5 * DAY_S])
    looks = draw(st.lists(st.booleans(), min_size=signers, max_size=signers))
    todo = {
        signer: [VIEWED, SIGNED] if looked or signer == 0 else [SIGNED] for signer, looked in enumerate(looks)
    }
    now = CREATED_AT + draw(st.integers(0, 3))
    told = [_Told(SENT, None, now)]
    while todo:
        signer = draw(st.sampled_from(sorted(todo)))
        now += draw(gaps)
        told.append(_Told(todo[signer].pop(0), signer, now))
        if not todo[signer]:
            del todo[signer]
    # all_signed follows the last signature at once: its proof carries the signature's time.
    now += draw(st.sampled_from([0, 0, 1, 3600]))
    told.append(_Told(ALL_SIGNED, None, now))
    told.append(_Told(DOWNLOADABLE, None, now + draw(gaps)))
    return told


@st.composite
def stories(draw: st.DrawFn) -> list[Event]:
    """Draw an honest request of 1 to 4 signers, in position order.

    Each event's snapshot shows exactly what has happened up to it in position order.
    """
    ids = draw(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4, unique=True))
    told = draw(_script(len(ids)))
    prints = draw(st.permutations([f"{number:032x}" for number in range(len(told))]))
    bare = [
        Event(each.kind, each.time, fingerprint, None if each.signer is None else ids[each.signer])
        for each, fingerprint in zip(told, prints, strict=True)
    ]
    early = draw(st.booleans())
    ordered = in_order(bare)
    return [
        replace(event, request=_snapshot(ids, ordered[: number + 1], early=early))
        for number, event in enumerate(ordered)
    ]


def _snapshot(ids: Sequence[str], happened: Sequence[Event], *, early: bool) -> dict[str, Any]:
    """Show what happened. ``early``: complete with the last signature, not with the event that says so."""
    times = {(event.type, event.related): event.time for event in happened}
    rows = [
        {
            "signature_id": name,
            "last_viewed_at": times.get((VIEWED, name)),
            "signed_at": times.get((SIGNED, name)),
        }
        for name in ids
    ]
    complete = all(row["signed_at"] for row in rows) if early else (ALL_SIGNED, None) in times
    return {"created_at": CREATED_AT, "is_complete": complete, "signatures": rows}


ANY_TYPE: Final = st.sampled_from(
    [
        *(SENT, VIEWED, VIEWED, SIGNED, SIGNED, ALL_SIGNED, DOWNLOADABLE, *BARE),
        *(PREFIX + name for name in ("prepared", "remind", "declined", "canceled", "destroyed", "novel")),
        "callback_test",
        "sent",
    ]
)
_SIGNERS: Final = ("a", "b", "c")
_CLOSE: Final = st.integers(CREATED_AT, CREATED_AT + 12)
ANY_TIME: Final = st.one_of(
    _CLOSE, _CLOSE, st.sampled_from([0, CREATED_AT - 5 * DAY_S, CREATED_AT + 4 * DAY_S + 3, 2**53])
)
_CLAIMED: Final = st.one_of(
    st.none(), _CLOSE, _CLOSE, st.sampled_from([0, CREATED_AT - 4 * DAY_S, 2**60, -1, "soon", True])
)


@st.composite
def _lies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a snapshot that says anything."""
    names = draw(st.lists(st.sampled_from(_SIGNERS), unique=True))
    rows = [
        {"signature_id": name, "last_viewed_at": draw(_CLAIMED), "signed_at": draw(_CLAIMED)}
        for name in names
    ]
    return {"created_at": draw(_CLAIMED), "is_complete": draw(st.booleans()), "signatures": rows}


@st.composite
def any_events(draw: st.DrawFn, most: int = 12) -> list[Event]:
    """Draw events of any type and time, with honest-looking, lying or missing snapshots."""
    prints = draw(st.lists(st.integers(0, 255), min_size=1, max_size=most, unique=True))
    return [draw(event_of(f"{number:032x}")) for number in prints]


@st.composite
def event_of(draw: st.DrawFn, fingerprint: str) -> Event:
    """Draw one event of any kind."""
    return Event(
        draw(ANY_TYPE),
        draw(ANY_TIME),
        fingerprint,
        draw(st.sampled_from([None, *_SIGNERS, "z"])),
        draw(st.one_of(_lies(), _lies(), st.none())),
    )


@st.composite
def deliveries(draw: st.DrawFn, events: Sequence[Event], most_s: float) -> list[Delivery]:
    """Draw how events arrive: each within ``most_s`` of its happening, repeats at any later time."""
    sent: list[Delivery] = []
    for event in events:
        first = min(event.time, FAR_AWAY) + draw(seconds(most_s))
        sent.append(Delivery(event, first))
        sent += [Delivery(event, first + again) for again in draw(st.lists(seconds(200.0), max_size=2))]
    shuffled = draw(st.permutations(sent))
    return sorted(shuffled, key=lambda delivery: delivery.at)


@st.composite
def jumbles(draw: st.DrawFn, events: Sequence[Event]) -> list[Delivery]:
    """Draw arrivals that have nothing to do with when things happened."""
    sent = [
        Delivery(event, at)
        for event in events
        for at in draw(st.lists(seconds(90.0), min_size=1, max_size=3))
    ]
    return sorted(draw(st.permutations(sent)), key=lambda delivery: delivery.at)


@st.composite
def batches(draw: st.DrawFn, sent: Sequence[Delivery]) -> list[list[Delivery]]:
    """Cut deliveries, in arrival order, into batches; what was appended at one time is taken at one time."""
    parts: list[list[Delivery]] = []
    for _, same in groupby(sent, key=lambda delivery: delivery.at):
        joined: bool = draw(st.booleans())
        if parts and joined:
            parts[-1].extend(same)
        else:
            parts.append(list(same))
    return parts
