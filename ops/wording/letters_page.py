"""Dead letters for people. E-mail addresses in errors are masked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from deedbox.ops.repair.causes import causes
from deedbox.ops.repair.deadletters import DeadLetter
from deedbox.ops.repair.redrive import RedrivePlan, RedriveTally, RefusedLetter
from deedbox.ops.wording import commands
from deedbox.ops.wording.output import clock, counted, masked, without_addresses, write_line, write_table

IDS_SHOWN: Final = 10
DETAIL_CHARS: Final = 60
DETAIL_READ: Final = 1_000
"""Cut before it is filtered, far behind what is shown: half an address is not one."""
LABELS: Final = {
    "at": "filed",
    "key": "request",
    "type": "event type",
    "event": "fingerprint",
    "trace_id": "trace id",
}
"""What people read for a field's name."""

INTERNAL: Final = frozenset({"unit", "entry"})
"""Fields that say how a letter goes back, and nothing to people."""


def write_list(letters: Sequence[DeadLetter], total: int, *, limited: bool) -> None:
    """Write a table. ``limited``: there may be more that match."""
    if not letters:
        write_line("No dead letters." if not total else f"None of the {total} dead letters matches.")
        return
    headings = ("id", "filed (UTC)", "reason", "action", "event", "request", "detail")
    rows = [
        (letter.id, clock(letter.at), letter.reason, letter.action or "-", letter.type or "-",
         _stream(letter), _shortened(masked(letter.detail[:DETAIL_READ])))
        for letter in letters
    ]  # fmt: skip
    write_table(headings, rows, cut={*headings} - {"request"})
    if limited and total > len(letters):
        write_line(f"{len(letters)} of {total} shown; --limit shows more.")
    write_line(
        "`deedbox dead show ID` shows one with its traceback; `deedbox runbook REASON` says what to do."
    )


def details(letter: DeadLetter, traceback: str, *, masking: bool) -> dict[str, Any]:
    """Return a letter's fields as JSON values, without empty ones."""
    fields = {
        name: value for name, value in letter.document().items() if value != "" and name not in INTERNAL
    }
    fields["at"] = letter.at
    if traceback:
        fields["traceback"] = traceback
    return dict(without_addresses(fields)) if masking else fields


def write_details(document: dict[str, Any]) -> None:
    """Write a letter's fields; long texts come last, as they are."""
    for name, value in document.items():
        if name == "at":
            write_line(f"{LABELS[name]:<12} {clock(float(value))} UTC")
        elif name not in {"traceback", "raw"}:
            write_line(f"{LABELS.get(name, name):<12} {value}")
    for name in ("traceback", "raw"):
        if name in document:
            write_line(f"\n{name}:\n{document[name]}")
    write_line(f"\n`{commands.runbook(document['reason'])}` says what to do.")


def write_summary(letters: Sequence[DeadLetter], what: str) -> None:
    """Say how many letters of which kinds are meant, and the first ids."""
    if not letters:
        write_line(f"No dead letters {what}.")
        return
    write_line(f"{counted(len(letters), 'dead letter')} {what}:")
    for cause, count in causes(letters):
        of, error = (
            (f" of {cause.action}" if cause.action else ""),
            (f": {cause.error}" if cause.error else ""),
        )
        write_line(f"  {count:>6}  {cause.reason}{of}{error}")
    more = f" and {len(letters) - IDS_SHOWN} more" if len(letters) > IDS_SHOWN else ""
    write_line(f"  ids: {', '.join(letter.id for letter in letters[:IDS_SHOWN])}{more}")


def write_plan(plan: RedrivePlan) -> None:
    """Say what a redrive would do."""
    write_summary([step.letter for step in plan.steps], "to redrive")
    late = sum(step.late for step in plan.steps)
    if late:
        events = counted(late, "event")
        write_line(
            f"  {events} will be flagged late: later events of the same request were already passed on"
        )
    _write_refused(plan.refused)


def write_tally(tally: RedriveTally) -> None:
    """Say what a redrive did."""
    write_line(f"Redriven: {counted(tally.redriven, 'dead letter')}.")
    if tally.gone:
        write_line(f"Gone meanwhile (another operator was faster): {tally.gone}.")
    _write_refused(tally.refused[tally.refused_before :])


def _write_refused(refused: Sequence[RefusedLetter]) -> None:
    if not refused:
        return
    ids = " ".join(each.letter.id for each in refused[:IDS_SHOWN])
    write_line(f"{counted(len(refused), 'dead letter')} cannot be redriven:")
    for why, count in Counter(each.why for each in refused).most_common():
        write_line(f"  {count:>6}  {why}")
    write_line(f"  they can only be removed: `deedbox dead discard {ids}`")


def _shortened(text: str) -> str:
    return text if len(text) <= DETAIL_CHARS else f"{text[: DETAIL_CHARS - 1]}…"


def _stream(letter: DeadLetter) -> str:
    return f"{letter.source}:{letter.key}" if letter.key else "-"
