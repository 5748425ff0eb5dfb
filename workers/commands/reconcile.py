"""``python -m deedbox.workers reconcile``: people use ``deedbox reconcile``.

Lists signature requests through the API, shows what callbacks missed, and hands each to the action ``reconcile``,
which repairs within the account's budgets. Asking twice is harmless: the action looks again before it does anything.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from deedbox.shared.audit import AuditedOperation
from deedbox.shared.command_options import ReconcileOptions
from deedbox.shared.core.errors import SettingsError
from deedbox.workers.commands.asking import audited, confirm, demand_source, say
from deedbox.workers.commands.listing import Lister, ListingTally, MissingRequest, compare
from deedbox.workers.sweeper.gaps import LOOK_AT_MOST, GapLook, operators_mark

if TYPE_CHECKING:
    from deedbox.workers.process import Process

SHOWN: Final = 20
"""Requests that are named on a terminal; --json names all."""

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(min|m|h|d)", re.ASCII)
_UNIT_S: Final = {"min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION_MAX_S: Final = 10 * 366 * 86_400.0


def run(process: Process, options: ReconcileOptions) -> int:
    """List, show, ask, and hand over. Returns the exit code. Raises DeedboxError."""
    now = time.time()
    since = moment("--since", options.since, now)
    reach_s = duration("--reach", options.reach)
    source = _source(process, options.source)
    tally = _list(process, source, since, reach_s, now)
    if not options.as_json:
        _show(tally)
    filed = 0
    if tally.missing and not options.dry_run and _wanted(tally, options):
        asked = {"since": options.since, "reach": options.reach}
        with audited(process, options, AuditedOperation.RECONCILE, **asked) as done:
            done.count = filed = _file(process, tally.missing)
        if not options.as_json:
            say(f"Handed over {_requests(filed)}; `deedbox status` shows the lane documents at work,")
            say("`deedbox trace ID` what was repaired.")
    if options.as_json:
        say(json.dumps(_document(tally, source, since, filed, dry_run=options.dry_run)))
    return 0


def _source(process: Process, name: str) -> str:
    settings = process.settings
    if "reconcile" not in settings.enabled_builtins:
        raise SettingsError("DEEDBOX_BUILTINS leaves out reconcile, which does the repair; add it.")
    return demand_source(settings.sources(), name).name


def _list(process: Process, source: str, since: float, reach_s: float, now: float) -> ListingTally:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    tally = ListingTally()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Listing signature requests", total=None)

        def waiting(wait_s: float) -> None:
            progress.update(task, description=f"Waiting {wait_s:.0f} s for the account's budget of calls")

        lister = Lister(source, process.apis[source], process.budgets, waiting)
        desk = process.desk
        for page in lister.pages(since - reach_s, now):
            compare(desk, source, page, tally, since, now)
            progress.update(
                task, description="Listing signature requests", total=page.results, completed=tally.listed
            )
    return tally


def _file(process: Process, missing: Sequence[MissingRequest]) -> int:
    desk, mark, filed = process.desk, operators_mark(), 0
    for start in range(0, len(missing), LOOK_AT_MOST):
        part = missing[start : start + LOOK_AT_MOST]
        looks = [GapLook(each.stream, None, each.findings, each.test_mode, mark) for each in part]
        filed += desk.file(looks, time.time())
    return filed


def _show(tally: ListingTally) -> None:
    say(f"{_requests(tally.listed)} listed, {len(tally.missing)} with something missing here.")
    for gap, count in _gaps(tally).items():
        say(f"  {gap:<22} {count}")
    for each in tally.missing[:SHOWN]:
        gaps = ", ".join(each.findings.gaps)
        say(f"  {each.request_id}  {each.state}{' (test)' if each.test_mode else ''}: {gaps}")
    if len(tally.missing) > SHOWN:
        say(f"  and {len(tally.missing) - SHOWN} more; --json names all.")
    if tally.too_fresh:
        say(f"{_requests(tally.too_fresh)} changed in the last two minutes: callbacks may be on their way.")


def _document(tally: ListingTally, source: str, since: float, filed: int, *, dry_run: bool) -> dict[str, Any]:
    return {
        "source": source,
        "since": round(since, 3),
        "listed": tally.listed,
        "too_fresh": tally.too_fresh,
        "gaps": _gaps(tally),
        "requests": [
            {"signature_request_id": each.request_id, "state": each.state, **each.findings.dump()}
            for each in tally.missing
        ],
        "handed_over": filed,
        "dry_run": dry_run,
    }


def _gaps(tally: ListingTally) -> dict[str, int]:
    return dict(sorted(Counter(str(gap) for each in tally.missing for gap in each.findings.gaps).items()))


def _requests(count: int) -> str:
    return f"{count} signature request{'' if count == 1 else 's'}"


def _wanted(tally: ListingTally, options: ReconcileOptions) -> bool:
    question = f"Read {_requests(len(tally.missing))} again from the API and repair?"
    return confirm(question, yes=options.yes)


def moment(option: str, text: str, now: float) -> float:
    """Read a moment: so long ago (``24h``), or a date with or without a time (UTC unless it says otherwise).

    Returns unix seconds. Raises SettingsError.
    """
    if _DURATION.fullmatch(text):
        return now - duration(option, text)
    with suppress(ValueError, OverflowError, OSError):
        at = datetime.fromisoformat(text)
        found = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        if now - _DURATION_MAX_S < found <= now:
            return found
    raise SettingsError(
        f"{option} is not usable; write 90min, 24h, 7d, or a past time like 2026-03-01T14:00."
    )


def duration(option: str, text: str) -> float:
    """Read a duration such as ``90min``, ``24h`` or ``7d``. Returns seconds. Raises SettingsError."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNIT_S[match[2]] if match else -1.0
    if not 0 <= seconds <= _DURATION_MAX_S:
        raise SettingsError(f"{option} is not usable; write 90min, 24h or 7d, at most ten years.")
    return seconds
