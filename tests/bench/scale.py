"""Past one machine, and past one Redis: what carries how much, what breaks first, and what that costs.

``python -m tests.bench.sizing --scale`` prints it, from the figures of ``deploy/capacity.md``. ``docs/scale.md`` explains it.
Everything is one significant digit at best: prices, machines and traffic differ by more than that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.sizing import BUSY, FULL

RATES: Final = (1, 1_000, 100_000)
"""Callbacks per second at the peak that the page has columns for."""

DAY_S: Final = 86_400

BRIDGE_LEFT: Final = 0.5
"""Share of the bridge's work in Redis that is left when RabbitMQ is the broker."""

REWRITE: Final = 2.0
"""Memory of the machine over that of Redis, for rewrites of its file."""


@dataclass(frozen=True, slots=True)
class World:
    """What the model assumes."""

    days: int = 7
    """Retention: the least that can be set."""
    peak: float = 4.0
    """The busiest minute over the mean of the day."""
    action_s: float = 0.02
    share: float = 0.2
    """Of the events that have an action that takes that long."""
    per_request: float = 10.0
    """Callbacks of one signature request."""
    files_per_minute: float = 15.0
    """Documents that one account may fetch: DEEDBOX_FILES_PER_MINUTE."""
    state_gb: float = 256.0
    """Memory of a machine for Redis."""
    cores: int = 8
    """Of any other machine."""
    gb: float = 32.0
    core_month: float = 25.0
    """Dollars a month, of a common cloud's list."""
    gb_month: float = 4.0


def redis_ms(costs: Mapping[str, float], *, broker_apart: bool) -> float:
    """Return the time of Redis for one callback, in ms."""
    after = costs["r_seq"] + costs["r_lane"] + costs["r_archive"]
    if broker_apart:
        return BRIDGE_LEFT * costs["r_bridge"] + after
    return costs["r_web"] + costs["r_bridge"] + after


def kept_at(gb: float, world: World, costs: Mapping[str, float], days: int | None = None) -> float:
    """Return the callbacks/s at the peak whose kept events fill a machine of this size."""
    room = gb * 1e9 / REWRITE * FULL
    return room / (costs["b_kept"] * (days or world.days) * DAY_S) * world.peak


def limits(world: World, costs: Mapping[str, float]) -> list[tuple[float, str, str]]:
    """Return (callbacks/s at the peak, what carries no more, what to add), the first limit first. Pure."""
    files = world.files_per_minute / 60 * world.per_request * world.peak
    found = [
        (files, "the documents of one account: the budget of its API", "more accounts; until then documents wait for their turn"),
        (kept_at(16, world, costs, 14), "memory: a machine of 16 GB for Redis, 14 days", f"less retention: {world.days} days"),
        (kept_at(world.state_gb, world, costs), f"memory: a machine of {world.state_gb:.0f} GB for Redis, {world.days} days", "one more installation, with a part of the tenants"),
        (1000 * BUSY / costs["c_web"] * world.cores, f"one machine of {world.cores} cores for web", "web hosts behind one proxy"),
        (1000 * BUSY / redis_ms(costs, broker_apart=False), "the core of a Redis that is broker and state", "RabbitMQ as the broker"),
        (1000 * BUSY / redis_ms(costs, broker_apart=True), "the core of a Redis that is state only", "one more installation"),
        (costs["p_mq"], "one quorum queue of RabbitMQ", "one more installation"),
        (1000 * BUSY * 16 / (costs["c_seq"] - costs["r_seq"]), "16 sequencers on cores of their own", "one more installation"),
    ]  # fmt: skip
    return sorted(found)


def installations(per_s: float, world: World, costs: Mapping[str, float]) -> tuple[int, str]:
    """Return how many Deedboxes carry this together, and what decides that."""
    needed = {
        "memory": per_s / kept_at(world.state_gb, world, costs),
        "Redis's core": per_s * redis_ms(costs, broker_apart=True) / 1000 / BUSY,
        "RabbitMQ": per_s / costs["p_mq"],
    }
    why = max(needed, key=lambda name: needed[name])
    count = max(1, math.ceil(needed[why]))
    return count, why if count > 1 else "nothing"


def scale(per_s: float, world: World, costs: Mapping[str, float]) -> dict[str, str]:
    """Return need -> how much, for this many callbacks per second at the peak. Pure."""
    count, why = installations(per_s, world, costs)
    web = per_s * costs["c_web"] / 1000 / BUSY
    noop = (costs["c_lane"] - costs["r_lane"]) / 1000
    calls = max(1, math.ceil(per_s * world.share * (noop + world.action_s) / BUSY))
    work = per_s * (costs["c_bridge"] - costs["r_bridge"] + costs["c_seq"] - costs["r_seq"]) / 1000 / BUSY
    work += per_s * (world.share * noop + (costs["c_archive"] - costs["r_archive"]) / 1000) / BUSY
    memory = per_s / world.peak * DAY_S * world.days * costs["b_kept"] / FULL
    state_gb = max(1.0, memory / 1e9 * REWRITE / count)
    if web + work < 1 and state_gb < 16:
        machines, cores, gb = 1, 2.0, 16.0
        rows = {"machines for web / workers / Redis": "one for all (`deedbox up`)"}
    else:
        webs = max(2 * count, math.ceil(web / world.cores))
        by_memory = calls * costs["m_worker"] / 1000 / world.gb
        workers = max(2 * count, math.ceil(max(work / world.cores, by_memory)))
        machines = webs + workers + 2 * count
        cores = float((webs + workers) * world.cores + 2 * count * 4)
        gb = (webs + workers) * world.gb + 2 * count * state_gb
        rows = {
            "machines for web / workers / Redis": f"{_about(webs)} / {_about(workers)} / {_about(2 * count)}"
        }
    month = cores * world.core_month + gb * world.gb_month
    files = per_s / world.peak / world.per_request * 60 / world.files_per_minute
    return {
        "callbacks a day": _about(per_s / world.peak * DAY_S),
        "accounts whose documents keep pace": _about(max(1, files)),
        "installations": f"{_about(count)}",
        "what decides their number": why,
        "memory of Redis, all together": f"{_about(memory / 1e9)} GB",
        "busy cores: web / workers": f"{_about(web)} / {_about(work)}",
        "processes for the actions": _about(calls),
        **rows,
        "machines": _about(machines),
        "dollars a month": f"10^{round(math.log10(month))}",
    }


def _about(amount: float) -> str:
    """Return a number with one significant digit, in words where it is large."""
    if amount < 1:
        return "less than 1"
    digit = 10 ** math.floor(math.log10(amount))
    rounded = round(amount / digit) * digit if amount >= 10 else round(amount)
    for size, word in ((1e9, " billion"), (1e6, " million")):
        if rounded >= size:
            return f"{rounded / size:.0f}{word}"
    return f"{rounded:,}"


def report(rates: Sequence[float], world: World, costs: Mapping[str, float]) -> str:
    """Return the two Markdown tables of docs/scale.md."""
    first = ["| callbacks/s at the peak | what carries no more | add |", "|---|---|---|"]
    first += [f"| {rate:,.0f} | {what} | {then} |" for rate, what, then in limits(world, costs)]
    columns = [scale(rate, world, costs) for rate in rates]
    second = ["| |" + "".join(f" {rate:,.0f}/s |" for rate in rates), "|---" * (1 + len(rates)) + "|"]
    second += [f"| {need} | " + " | ".join(column[need] for column in columns) + " |" for need in columns[0]]
    return "\n".join([*first, "", *second])
