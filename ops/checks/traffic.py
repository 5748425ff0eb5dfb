"""Checks of what runs: lanes, workers, and what real traffic showed about body signatures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from deedbox.ops.checks.finding import Finding, failed, ok, warning
from deedbox.ops.installation import Installation
from deedbox.ops.readmodels.stages import Lane, Survey, survey
from deedbox.ops.wording import actions_page, spools_page
from deedbox.shared.core.errors import Unavailable

ENOUGH: Final = 100
"""Callbacks with a valid signature and none with a wrong one, after which checking counts as safe."""


def check(installation: Installation) -> Iterator[Finding]:
    """Look at the workers and at the counters."""
    try:
        found = survey(installation.redis)
    except Unavailable as error:
        yield failed("workers", installation.explained(error))
        return
    yield from _workers(found)
    yield from _spools(found)
    yield body_signatures(found.counters, installation.settings.body_signature)


def _workers(found: Survey) -> Iterator[Finding]:
    staff = Counter(worker.lane for worker in found.workers)
    announced = [lane for lane in found.lanes if lane.actions or staff[lane.name] or lane.stage.depth]
    if not staff and not announced:
        yield warning(
            "workers", "no worker has run here yet", "start `deedbox up`, or the lines of the Procfile"
        )
        return
    for lane in announced:
        if lane.unused:
            if not lane.stage.depth:
                yield ok("workers", f"no action uses the lane {lane.name} any more, and it is empty")
        elif not staff[lane.name]:
            yield _unstaffed(lane)
    if staff:
        rows = ", ".join(f"{lane} {count}" for lane, count in sorted(staff.items()))
        yield ok("workers", f"alive per lane: {rows}")
    for each in found.unknown:
        yield failed(
            "workers",
            actions_page.waiting(each.action, each.calls),
            actions_page.advice(each.action),
        )


def _spools(found: Survey) -> Iterator[Finding]:
    for mark in found.spools.live.values():
        if mark.nearly_full:
            yield failed("spool", spools_page.filled(mark), spools_page.FILLED_ADVICE)


def _unstaffed(lane: Lane) -> Finding:
    fix = f"start `deedbox worker --lane {lane.name}`"
    if lane.stage.depth:
        return failed("workers", f"lane {lane.name} has work and no living worker", fix)
    return warning("workers", f"lane {lane.name} has no living worker", fix)


def body_signatures(counters: Mapping[str, int], mode: str) -> Finding:
    """Say whether ``DEEDBOX_BODY_SIGNATURE=check`` is safe, from the verdicts on accepted callbacks."""
    name = "body signatures"
    valid, wrong, absent = (
        counters.get(f"body_signature_{verdict}", 0) for verdict in ("valid", "wrong", "absent")
    )
    seen = f"{valid} valid, {wrong} wrong, {absent} absent so far"
    if mode != "record":
        return ok(name, f"DEEDBOX_BODY_SIGNATURE={mode} is on; {seen}")
    if wrong:
        fix = "leave DEEDBOX_BODY_SIGNATURE=record: refusing genuine callbacks makes Dropbox Sign remove the URL"
        return warning(name, f"{seen}: checking is not safe", fix)
    if valid >= ENOUGH:
        return ok(name, f"{seen}: DEEDBOX_BODY_SIGNATURE=check is safe")
    if valid:
        return ok(
            name, f"{seen}: too few to tell whether DEEDBOX_BODY_SIGNATURE=check is safe ({ENOUGH} needed)"
        )
    return ok(name, f"{seen}: not enough data yet; keep DEEDBOX_BODY_SIGNATURE=record")
