"""The stages as cards: a name, what it means, and how much it matters. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from deedbox.ops.readmodels.overview import Overview
from deedbox.ops.readmodels.stages import Stage
from deedbox.shared.redis import keys

LANE: Final = "lane:"


class Tone(StrEnum):
    """How a card looks; its words say the same."""

    QUIET = "quiet"
    BUSY = "busy"
    NOTICE = "notice"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Card:
    """One stage."""

    name: str
    """As ``deedbox status`` names it."""
    title: str
    meaning: str
    stage: Stage
    tone: Tone
    note: str = ""
    link: str = ""
    names: tuple[str, ...] = ()
    """Of a lane: its actions."""


_MEANING: Final[Mapping[str, tuple[str, str]]] = {
    "broker": ("Broker", "acknowledged, waiting for a bridge"),
    "claimed": ("Claimed", "on the way from broker to inbox"),
    "inbox": ("Inbox", "waiting for the sequencer"),
    "held": ("Held", "waiting for an earlier event"),
    "retrying": ("Retrying", "waiting for their next attempt"),
    "dead": ("Dead letters", "waiting for a person"),
    "spool": ("Spool", "on the disks of web hosts"),
}
FLOW: Final = ("broker", "claimed", "inbox", "held")
ASIDE: Final = ("retrying", "dead", "spool")


def flow(seen: Overview) -> list[Card]:
    """Return the stages that every callback passes."""
    return [_card(seen, name) for name in FLOW]


def aside(seen: Overview) -> list[Card]:
    """Return the stages that only some callbacks meet."""
    return [_card(seen, name) for name in ASIDE]


def lanes(seen: Overview) -> list[Card]:
    """Return a card per lane."""
    return [_lane(seen, name) for name in seen.status.stages if name.startswith(LANE)]


def _card(seen: Overview, name: str) -> Card:
    stage = seen.status.stages[name]
    title, meaning = _MEANING[name]
    note = ""
    if name == "broker":
        note = "a bridge runs" if seen.status.view.bridges else "no bridge runs"
    stuck = name in {"broker", "claimed"} and not seen.status.view.bridges and bool(stage.depth)
    tone = _tone(stage, stuck=stuck, notice=name in {"dead", "spool"})
    return Card(name, title, meaning, stage, tone, note, "/dead" if name == "dead" else "")


def _lane(seen: Overview, name: str) -> Card:
    stage = seen.status.stages[name]
    lane = name.removeprefix(LANE)
    survey = seen.status.survey
    workers = [worker for worker in survey.workers if worker.lane == lane]
    busy = sum(worker.state == "busy" for worker in workers)
    note = f"{len(workers)} worker{'' if len(workers) == 1 else 's'}, {busy} busy" if workers else "no worker"
    names = next((each.actions for each in survey.lanes if each.name == lane), ())
    meaning = "orders the inbox" if lane == keys.SEQUENCER else ""
    paused = {each.target.field for each in survey.pauses}
    if f"lane|{lane}" in paused:
        note += ", paused"
    elif stopped := [name for name in names if f"action|{name}" in paused]:
        note += f", paused: {', '.join(sorted(stopped))}"
    stuck = bool(stage.depth) and not workers
    return Card(name, lane, meaning, stage, _tone(stage, stuck=stuck, notice=False), note, names=names)


def _tone(stage: Stage, *, stuck: bool, notice: bool) -> Tone:
    if stage.depth is None or stuck:
        return Tone.BAD
    if not stage.depth:
        return Tone.QUIET
    return Tone.NOTICE if notice else Tone.BUSY
