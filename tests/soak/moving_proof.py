"""Proves of the action that moves between lanes: it got every event, in order, and no two calls of a unit ran side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deedbox.ops.demo.evidence import RecordedCall
from deedbox.ops.demo.report import dispatched_twice, out_of_order
from deedbox.shared.simulator.lifecycle import SimulatedFact
from tests.soak import moving


def problems(
    lines: Sequence[str], facts: Iterable[Sequence[Any]], dead: Iterable[Mapping[str, str]]
) -> Iterable[str]:
    """Yield what is wrong. ``facts``: what was acknowledged, in the form of ``sent.json``; ``dead``: all dead letters."""
    rows = [json.loads(line) for line in lines]
    calls = [
        RecordedCall.parse(line) for line, row in zip(lines, rows, strict=True) if row["edge"] == moving.BEGIN
    ]
    ended = {row["idempotency_key"] for row in rows if row["edge"] == moving.END}
    made = {call.fact for call in calls if call.idempotency_key in ended}
    buried = {each.get("event") for each in dead if each.get("action") == moving.NAME}
    lost = sum(
        SimulatedFact(*fact) not in made and fingerprint not in buried for *fact, fingerprint, _acks in facts
    )
    if lost:
        yield f"{lost} acknowledged facts never reached the action that moves"
    if twice := dispatched_twice(calls):
        yield f"{twice} facts were dispatched to the action that moves under two idempotency keys"
    first: dict[str, RecordedCall] = {}
    for call in calls:
        first.setdefault(call.idempotency_key, call)
    if below := len(out_of_order(first.values())):
        yield f"{below} calls of the action that moves came out of order"
    if overlapping := _overlapping(rows):
        yield f"{overlapping} calls of the action that moves ran beside another one of their unit"


def _overlapping(rows: Sequence[Mapping[str, Any]]) -> int:
    """Count calls that began while another one of their key ran; one that never ended was killed."""
    ends = {_call_of(row): number for number, row in enumerate(rows) if row["edge"] == moving.END}
    running: dict[str, int] = {}
    found = 0
    for number, row in enumerate(rows):
        if row["edge"] == moving.BEGIN:
            found += running.get(row["key"], -1) > number
            running[row["key"]] = max(running.get(row["key"], -1), ends.get(_call_of(row), -1))
    return found


def _call_of(row: Mapping[str, Any]) -> tuple[str, int, int]:
    return row["idempotency_key"], row["attempt"], row["pid"]
