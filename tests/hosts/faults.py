"""What happens to the hosts while a soak plays, drawn from its seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from tests.soak.plan import CUT, CUT_OFF_S, OFF, SETTLE_S, UPGRADE, Kill, Options

STATES: Final = ("state1", "state2", "state3")
NODES: Final = ("mq1", "mq2", "mq3")
WEBS: Final = ("web1", "web2")
WORKERS: Final = ("work1", "work2")

ORDER: Final = (*WORKERS, "ops", *WEBS)
"""In which hosts are upgraded, as docs/hosts.md says."""

MASTER: Final = "master"
"""The host of the Redis that is master then."""

_FIRST: Final = ((NODES, OFF), (NODES, CUT), ((MASTER,), CUT))
"""Of every soak, however short."""

_MORE: Final = (
    *_FIRST,
    ((MASTER,), OFF),
    (STATES, CUT),
    (WEBS, CUT),
    (WEBS, OFF),
    (WORKERS, CUT),
    (WORKERS, OFF),
)

_RECOVERS_S: Final = 4.0
"""From a host's return to the next fault: two of three must always agree."""


def draw_faults(options: Options) -> list[Kill]:
    """Return the faults by time: one host at a time vanishes, while all are upgraded in turn."""
    rng = random.Random(f"faults {options.seed}")
    return sorted([*_vanishing(options, rng), *_upgrades(options)], key=lambda each: each.at_s)


def _vanishing(options: Options, rng: random.Random) -> Iterator[Kill]:
    deck = rng.sample(_FIRST, len(_FIRST))
    at_s = SETTLE_S
    while at_s + CUT_OFF_S < options.seconds:
        names, how = deck.pop()
        yield Kill(at_s, rng.choice(names), how)
        deck = deck or rng.sample(_MORE, len(_MORE))
        at_s += CUT_OFF_S + _RECOVERS_S * rng.uniform(0.5, 1.5)


def _upgrades(options: Options) -> Iterator[Kill]:
    step_s = (options.seconds - SETTLE_S) / (len(ORDER) + 1)
    for number, name in enumerate(ORDER):
        yield Kill(SETTLE_S + (number + 0.5) * step_s, name, UPGRADE)
    yield Kill(SETTLE_S + (len(ORDER) + 0.5) * step_s, "lane", "MOVE")
