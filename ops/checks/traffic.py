"""Checks of what runs: lanes, workers, and what real traffic showed about body signatures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from redis.exceptions import RedisError

from deedbox.ops.checks.finding import Finding, failed, ok, warning
from deedbox.ops.installation import Installation
from deedbox.ops.readmodels.stages import Lane, Survey, survey
from deedbox.ops.wording import actions_page, spools_page
from deedbox.ops.wording.output import counted
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.ordering import DAY_S
from deedbox.shared.core.signature import ENOUGH_VALID, RECENT_S, SignatureEvidence
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated


def check(installation: Installation) -> Iterator[Finding]:
    """Look at the workers and at the counters."""
    try:
        found = survey(installation.redis)
    except Unavailable as error:
        yield failed("workers", installation.explained(error))
        return
    yield from _workers(found)
    yield from _spools(found)
    mode = installation.settings.body_signature
    try:
        seen = {source: _evidence(installation, source) for source in installation.source_names()}
    except RedisError as error:
        yield failed("body signatures", installation.explained(translated(error)))
        return
    for source, evidence in seen.items():
        yield body_signatures(source, evidence, mode, found.now)


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


def _evidence(installation: Installation, source: str) -> SignatureEvidence:
    names = ["valid", "last_valid_at", "wrong_at"]
    row: Any = installation.redis.hmget(keys.evidence(source), names)
    return SignatureEvidence.read(*row)


def body_signatures(source: str, seen: SignatureEvidence, mode: str, now: float) -> Finding:
    """Say what recent traffic has shown about ``Content-Sha256``: what a forger sends decides nothing."""
    name = f"body signatures of {source}"
    if mode in {"check", "require"}:
        return ok(
            name,
            f"DEEDBOX_BODY_SIGNATURE={mode} is on; {counted(seen.valid, 'new event')} had a valid header",
        )
    if seen.proves(now):
        does = (
            "what has no valid header is set aside"
            if mode == "auto"
            else "DEEDBOX_BODY_SIGNATURE=auto is safe"
        )
        return ok(name, f"{counted(seen.valid, 'new event')} had a valid header: {does}")
    if seen.wrong_at is not None and now - seen.wrong_at < RECENT_S:
        fix = "leave DEEDBOX_BODY_SIGNATURE as it is, and report it: Deedbox may read the header wrongly"
        return warning(name, "the API confirmed an event whose header was wrong; nothing is set aside", fix)
    count = f"{seen.valid} of {ENOUGH_VALID} new events with a valid header"
    return ok(
        name, f"{count} so far, the latest at most {RECENT_S / DAY_S:.0f} days ago: nothing is set aside"
    )
