"""A timeline for people: one line per entry, with what it waited for and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from deedbox.ops.readmodels.timeline import Timeline
from deedbox.ops.wording import pauses_page
from deedbox.ops.wording.output import clock, counted, duration, masked
from deedbox.shared.core.signature import Origin

SHORT_CHARS: Final = 12
"""Of a digest or id: enough to tell two apart by eye."""

Row = Mapping[str, Any]


def lines(timeline: Timeline) -> Iterator[str]:
    """Write the page, line by line."""
    entries = timeline.entries
    first_at, last_at = float(entries[0]["at"]), float(entries[-1]["at"])
    yield f"{timeline.ordering_key}  (source {timeline.source})"
    yield f"{counted(len(entries), 'entry', 'entries')} from {clock(first_at)} UTC on, over {duration(last_at - first_at)}"
    yield ""
    width = max(len(subject(row)) for row in entries)
    for row in entries:
        offset = f"+{duration(float(row['at']) - first_at)}"
        yield f"{offset:>14}  {row['kind']:<10}  {subject(row):<{width}}  {told(row)}".rstrip()
    if timeline.model:
        yield ""
        yield _standing(timeline.model)
    for each in timeline.pauses:
        yield pauses_page.told(each, timeline.now)


def erased(source: str, key: str, at: float) -> str:
    """Say that a key was erased (``at``: unix seconds)."""
    return (
        f"{key} of source {source} was erased at {clock(at)} UTC. Callbacks that arrive for it are ignored."
    )


def unknown(command: str, source: str, key: str, places: Sequence[tuple[str, str]], why: str = "") -> str:
    """Say to a command that a key is not known, and where its id is: ``places`` are pairs of source and key."""
    sentence = f"Nothing is known about {key} of source {source}"
    if not places:
        return f"{sentence}; check the id and --source.{why}"
    hints = " or ".join(f"`deedbox {command} {other} --source {name}`" for name, other in places[:3])
    return f"{sentence}; try {hints}."


def subject(row: Row) -> str:
    """Name what an entry is about: the event's type, and the action."""
    event_type = str(row.get("type", "")).removeprefix("signature_request_")
    return f"{event_type} -> {row['action']}" if "action" in row else event_type


def told(row: Row) -> str:
    """Say what happened, without e-mail addresses; an entry of another version is shown as it is."""
    tell = _TELL.get(row["kind"], _other)
    try:
        return masked(tell(row))
    except (KeyError, TypeError, ValueError, AttributeError):
        return masked(_other(row))  # a line of another version


def _arrived(row: Row) -> str:
    sent_s = row["received_at"] - row["event_time"]
    when = f"{duration(abs(sent_s))} {'after' if sent_s >= 0 else 'before'} its event time"
    if row.get("origin") == Origin.RECONCILED:
        return f"made of what the API shows, {duration(sent_s)} after its event time: no callback had come"
    way_s = max(0.0, row["at"] - row["received_at"])
    return f"received {when}, {duration(way_s)} to the inbox, body signature {row['body_signature']}: {row['trust']}"


def _held(row: Row) -> str:
    missing = [_proof(name) for name in row["waits_for"]]
    return "waits for " + (
        ", ".join(missing) if missing else "its turn behind an earlier event, or to settle"
    )


def _proof(name: str) -> str:
    event_type, _, signature = name.partition("|")
    event_type = event_type.removeprefix("signature_request_")
    return f"{event_type} of signature {signature[:SHORT_CHARS]}" if signature else event_type


def _released(row: Row) -> str:
    return "at once" if row["waited_s"] < 1e-3 else f"after {duration(row['waited_s'])}"  # noqa: PLR2004 - a millisecond


def _late(row: Row) -> str:
    return f"released {_released(row)}, behind a later event that was already passed on"


def _duplicate(row: Row) -> str:
    if row.get("better"):
        return f"the same event again, now {row['better']}"
    if row.get("of") == Origin.RECONCILED:
        return "the callback of an event that was synthesised; nothing to do"
    return "the same event again; nothing to do"


def _conflict(row: Row) -> str:
    if row.get("better"):
        return (
            f"the same event with a better body ({row['better']}), which counts from now on; the other one "
            f"({row['body'][:SHORT_CHARS]}) is kept aside; see `deedbox conflict list`"
        )
    return f"the same event with another body ({row['body'][:SHORT_CHARS]}), kept aside; see `deedbox conflict list`"


def _action(row: Row) -> str:
    return f"{row['outcome']} in {duration(row['took_s'])}{_attempt(row)}"


def _retry(row: Row) -> str:
    if row["outcome"] == "lost":
        return str(row["detail"])
    why = {"retry": "put off", "timeout": "timed out", "error": "failed"}.get(row["outcome"], row["outcome"])
    wait_s = max(0.0, row["next_at"] - row["at"])
    return (
        f"{why} after {duration(row['took_s'])}{_attempt(row)}: {row['detail']}; again in {duration(wait_s)}"
    )


def _dead(row: Row) -> str:
    detail = f": {row['detail']}" if row.get("detail") else ""
    return f"set aside, {row['reason']}{detail}{_attempt(row)}; see `deedbox dead list`"


def _document(row: Row) -> str:
    return f"sha256 {row['sha256'][:SHORT_CHARS]}, {row['size']} bytes, {row['url']}"


def _reconciled(row: Row) -> str:
    gaps = ", ".join(row["gaps"]).replace("_", " ")
    missed = ", ".join(_proof(name) for name in row["missed"])
    released = ", ".join(_proof(name) for name in row.get("released", ()))
    repaired = " and ".join(row["repaired"]) or "nothing"
    told = f"{gaps or 'lost callbacks'}; repaired from the API: {repaired}; now {row['state']}"
    return "".join((
        f"{told}; never came: {missed}" if missed else told,
        f"; released: {released}" if released else "",
        f"; {row['reason']}" if row["reason"] else "",
    ))  # fmt: skip


def _note(row: Row) -> str:
    return str(row["detail"])


def _attempt(row: Row) -> str:
    late = ", late" if row.get("late") else ""
    replay = f", replay {row['replay']}" if row.get("replay") else ""
    return (f", attempt {row['attempt']}" if "attempt" in row else "") + late + replay


def _other(row: Row) -> str:
    return ", ".join(f"{k} {v}" for k, v in row.items() if k not in {"at", "kind", "type", "event", "action"})


_TELL: Final[Mapping[str, Callable[[Row], str]]] = {
    "arrived": _arrived,
    "held": _held,
    "released": _released,
    "late": _late,
    "duplicate": _duplicate,
    "conflict": _conflict,
    "action": _action,
    "retry": _retry,
    "dead": _dead,
    "document": _document,
    "reconciled": _reconciled,
    "note": _note,
}


def _standing(model: Mapping[str, Any]) -> str:
    """Say the request's state. Its title is left out: people put names into titles."""
    signers = model.get("signers")
    states = list(signers.values()) if isinstance(signers, dict) else []
    signed = f", {states.count('signed')} of {counted(len(states), 'signer')} signed" if states else ""
    mode = ", test mode" if model.get("test_mode") else ""
    level = model.get("trust", {}).get("state")
    return f"now: {model.get('state', 'unknown')}{f' ({level})' if level else ''}{signed}{mode}"
