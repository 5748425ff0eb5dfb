"""What happens to one signature request, and when: steps in position order, not yet callbacks.

Pure and seeded: every draw comes from the ``random.Random`` that is passed in.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from deedbox.shared.core.routing import DEFAULT_RANK, RANKS

_P: Final = "signature_request_"
SENT: Final = _P + "sent"
REMIND: Final = _P + "remind"
VIEWED: Final = _P + "viewed"
SIGNED: Final = _P + "signed"
DECLINED: Final = _P + "declined"
CANCELED: Final = _P + "canceled"
ALL_SIGNED: Final = _P + "all_signed"
DOWNLOADABLE: Final = _P + "downloadable"


class Ending(StrEnum):
    """How a signature request ends."""

    COMPLETED = "completed"
    DECLINED = "declined"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class LifecyclePolicy:
    """Shape of the generated signature requests. Rates are shares, 0..1; times are seconds."""

    begins_at: int
    """Unix seconds: the first request is created then or later."""
    marked: bool = False
    """Whether the requests' ids say that they are made up: beside a pipeline that asks the real API."""
    spread_s: int = 10
    """Requests are created evenly over this long."""
    life_s: int = 8
    """Longest life of a request. The last event_time is at most begins_at + spread_s + life_s + 1;
    a short life gives many events of one second."""
    signers_min: int = 1
    signers_max: int = 4
    declined_rate: float = 0.08
    canceled_rate: float = 0.06
    remind_rate: float = 0.15
    """Per signer."""
    second_view_rate: float = 0.25
    """Per signer."""
    intermediate_rate: float = 0.15
    """Per signature that is not the last: a downloadable before completion."""
    sequential_rate: float = 0.3
    """Share of requests whose signers sign one after the other."""
    test_mode_rate: float = 0.3


class StoryStep(NamedTuple):
    """One thing that happened: whole seconds since the creation, event type, signer (None: the request's)."""

    at_s: int
    event_type: str
    signer: int | None


class _Moment(NamedTuple):
    """A step before its time is scaled to the policy's life."""

    at: float
    event_type: str
    signer: int | None


def tell(
    rng: random.Random, signature_ids: Sequence[str], policy: LifecyclePolicy, *, sequential: bool
) -> tuple[Ending, list[StoryStep]]:
    """Draw one request's story; steps come in position order: time, causal rank, signature id.

    ``sequential``: each signer starts when the one before has signed.
    """
    moments = _signing(rng, len(signature_ids), policy, sequential=sequential)
    ending, close = _close(rng, moments, policy)
    moments = _until(moments, close)
    if ending is Ending.COMPLETED:
        moments.append(_Moment(close.at + rng.uniform(0.05, 1.0), DOWNLOADABLE, None))
    moments += _intermediates(rng, moments, policy)
    scale = policy.life_s * rng.uniform(0.4, 1.0) / max(moment.at for moment in moments)
    sent_at_s = rng.choice((0, 0, 0, 1))
    # A set: one signer's two views in the same second are one fact on the wire, there is nothing to tell them by.
    steps = {StoryStep(max(sent_at_s, int(m.at * scale)), m.event_type, m.signer) for m in moments}
    steps.add(StoryStep(sent_at_s, SENT, None))
    return ending, sorted(_honest(steps), key=lambda step: position_of(step, signature_ids))


def position_of(step: StoryStep, signature_ids: Sequence[str]) -> tuple[int, int, str]:
    """Return the place of a step in its request: time, causal rank, signature id."""
    signature_id = "" if step.signer is None else signature_ids[step.signer]
    return (step.at_s, RANKS.get(step.event_type, DEFAULT_RANK), signature_id)


def _signing(rng: random.Random, count: int, policy: LifecyclePolicy, *, sequential: bool) -> list[_Moment]:
    """Draw what the signers would do if none of them declined."""
    moments: list[_Moment] = []
    start = 0.1
    for signer in range(count):
        viewed = start + rng.expovariate(1.0)
        signed = viewed + rng.expovariate(1.0)
        moments += [_Moment(viewed, VIEWED, signer), _Moment(signed, SIGNED, signer)]
        if rng.random() < policy.remind_rate:
            moments.append(_Moment(rng.uniform(start, signed), REMIND, signer))
        if rng.random() < policy.second_view_rate:
            moments.append(_Moment(viewed + rng.expovariate(1.0), VIEWED, signer))
        start = signed if sequential else start
    return moments


def _close(rng: random.Random, moments: Sequence[_Moment], policy: LifecyclePolicy) -> tuple[Ending, _Moment]:
    """Draw the ending and the moment that closes the request."""
    signatures = sorted(moment for moment in moments if moment.event_type == SIGNED)
    draw = rng.random()
    if draw < policy.declined_rate:
        refusal = rng.choice(signatures)
        return Ending.DECLINED, _Moment(refusal.at, DECLINED, refusal.signer)
    if draw < policy.declined_rate + policy.canceled_rate:
        return Ending.CANCELED, _Moment(signatures[-1].at * rng.uniform(0.1, 0.9), CANCELED, None)
    return Ending.COMPLETED, _Moment(signatures[-1].at, ALL_SIGNED, None)


def _until(moments: Iterable[_Moment], close: _Moment) -> list[_Moment]:
    """Keep what happens up to the close. A completed document may still be viewed; a closed one changes no more."""
    if close.event_type == ALL_SIGNED:
        return [*moments, close]
    refused = close.signer if close.event_type == DECLINED else None
    return [
        *(m for m in moments if m.at <= close.at and not (m.event_type == SIGNED and m.signer == refused)),
        close,
    ]


def _intermediates(rng: random.Random, moments: Sequence[_Moment], policy: LifecyclePolicy) -> list[_Moment]:
    return [
        _Moment(moment.at + 0.01, DOWNLOADABLE, None)
        for moment in moments
        if moment.event_type == SIGNED and rng.random() < policy.intermediate_rate
    ]


def _honest(steps: Iterable[StoryStep]) -> list[StoryStep]:
    """Drop intermediate copies that whole seconds moved to or behind the close: they would claim to be final."""
    every = list(steps)
    close_at_s = next(s.at_s for s in every if s.event_type in {ALL_SIGNED, DECLINED, CANCELED})
    final = max((s for s in every if s.event_type == DOWNLOADABLE), default=None)
    completed = any(s.event_type == ALL_SIGNED for s in every)
    return [
        s for s in every if s.event_type != DOWNLOADABLE or s.at_s < close_at_s or (completed and s == final)
    ]
