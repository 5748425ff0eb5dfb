"""What needs a person, in plain words, the most urgent first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from deedbox.ops.readmodels import status
from deedbox.ops.readmodels.intake import FAILURES_MAX
from deedbox.ops.readmodels.status import Status
from deedbox.ops.readmodels.web_reports import SourceView

URGENT_FROM: Final = 5
"""Failures in a row from which a source is urgent: half of what costs the URL."""

NOTED_FROM: Final = 2
"""One failure is what any scanner of the internet causes."""

_DEAD_COMMAND: Final = "`deedbox dead list`"


class Severity(StrEnum):
    """How soon a person should look."""

    URGENT = "urgent"
    """Now: callbacks wait, or may be lost."""
    NOTICE = "notice"
    """Soon: nothing waits behind it."""


@dataclass(frozen=True, slots=True)
class Attention:
    """One sentence; commands stand between backticks."""

    severity: Severity
    text: str
    link: str = ""
    """Page of the dashboard that mends or explains it, as a path."""


def attentions(found: Status, sources: Iterable[SourceView]) -> list[Attention]:
    """Say what needs a person; empty if nothing does."""
    said = [_of_warning(text) for text in status.warnings(found)]
    said += [each for source in sources if (each := _of_source(source)) is not None]
    said += [
        Attention(Severity.NOTICE, text, "/runbook#where-callbacks-wait") for text in status.starvation(found)
    ]
    if found.survey.spool.depth:
        said.append(_of_spool(found.survey.spool.depth))
    return sorted(said, key=lambda each: each.severity is not Severity.URGENT)


def _of_warning(text: str) -> Attention:
    # Dead letters wait for a person and hold nobody up; everything else that `status` warns of holds up callbacks.
    if _DEAD_COMMAND in text:
        return Attention(Severity.NOTICE, text, "/dead")
    return Attention(Severity.URGENT, text, "/runbook#where-callbacks-wait")


def _of_source(source: SourceView) -> Attention | None:
    count = source.failures_in_a_row
    if count < NOTED_FROM:
        return None
    reason = source.reasons[0] if source.reasons else ""
    why = f", mostly `{reason}`" if reason else ""
    if count >= FAILURES_MAX:
        sentence = (
            f"Source {source.name} refused its last {count} callbacks or more{why}: if they came from Dropbox Sign, it "
            "has dropped the callback URL by now. Mend the cause, then set the URL again; `deedbox check` looks."
        )
    else:
        sentence = (
            f"Source {source.name} refused {count} callbacks in a row{why}: after {source.kept.failures_left} more, "
            "Dropbox Sign drops the callback URL."
        )
    severity = Severity.URGENT if count >= URGENT_FROM else Severity.NOTICE
    return Attention(severity, sentence, f"/runbook#{reason}" if reason else "/runbook#refused-requests")


def _of_spool(frames: int) -> Attention:
    wait = "callback waits" if frames == 1 else "callbacks wait"
    return Attention(
        Severity.NOTICE,
        f"{frames} {wait} on the disks of web hosts, acknowledged and safe: they follow as soon as the broker takes "
        "them. Before a host is taken away: `deedbox spool drain`.",
        "/runbook#spool",
    )
