"""Events and steps for the tests of the ordering rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deedbox.shared.core.ordering import (
    Arrival,
    Decision,
    OrderingPolicy,
    SequenceState,
    step,
)
from deedbox.shared.core.snapshot import arrival_of

T = 1_700_000_000
HOLD_S = 30.0
POLICY = OrderingPolicy(hold_s=HOLD_S)

P = "signature_request_"
SENT, VIEWED, SIGNED = P + "sent", P + "viewed", P + "signed"
ALL_SIGNED, DOWNLOADABLE, REMIND = P + "all_signed", P + "downloadable", P + "remind"

Row = tuple[str, int | None, int | None]


def event(
    event_type: str,
    at: int,
    related: str | None = None,
    *,
    created_at: object = None,
    rows: Sequence[Row] = (),
    complete: object = False,
    name: str = "",
) -> Arrival:
    """Return an arrival whose snapshot shows (signature, last_viewed_at, signed_at) rows."""
    request: dict[str, Any] = {
        "created_at": created_at,
        "is_complete": complete,
        "signatures": [
            {"signature_id": signature, "last_viewed_at": viewed, "signed_at": signed}
            for signature, viewed, signed in rows
        ],
    }
    fingerprint = name or f"{event_type}@{at}/{related}"
    return arrival_of(event_type, at, related, fingerprint, {"signature_request": request})


def arrive(
    state: SequenceState, *arrivals: Arrival, now: float = T, policy: OrderingPolicy = POLICY
) -> Decision:
    return step(state, [(arrival, now) for arrival in arrivals], now, policy)


def out(decision: Decision) -> list[str]:
    return [released.arrival.type.removeprefix(P) for released in decision.release]


def after(*arrivals: Arrival) -> SequenceState:
    """Return the state after events that arrived one by one and waited for as long as they had to."""
    state = SequenceState()
    for arrival in arrivals:
        state = arrive(state, arrival).state
        state = step(state, [], T + HOLD_S, POLICY).state
    return state
