"""What needs a person: one list for ``status``, the pages and the alerts, the most urgent first. Pure.

Each row knows its kind; no reader recognises it by its sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from deedbox.ops.readmodels.intake import FAILURES_MAX, SourceView
from deedbox.ops.wording import actions_page, commands, spools_page
from deedbox.ops.wording.output import counted, duration
from deedbox.shared.broker.fullness import FULL_FROM
from deedbox.shared.core.routing import DELIVERING
from deedbox.shared.pauses import LONG_S

if TYPE_CHECKING:  # a Status lists its own attentions
    from deedbox.ops.readmodels.status import Status

OVERDUE_MAX_S: Final = 15.0
"""A sweeper looks four times a second; after this long there is none."""

BRIDGE_SLACK_S: Final = 15.0
"""A bridge's claim lasts 10 s: callbacks that wait for longer than this wait for a bridge."""

OLD_WORK_S: Final = 15 * 60.0
"""Work that is ready for so long: its workers live, and do not keep up."""

URGENT_FROM: Final = 5
"""Failures in a row from which a source is urgent: half of what costs the URL."""

NOTED_FROM: Final = 2
"""One failure is what any scanner of the internet causes."""

CRASHES_FROM: Final = 2
"""Ends of one process within a minute; a single one is what a deployment or an operator causes."""

LOST_TOLD_S: Final = 600.0
"""Calls that were lost with their process are news for so long; a single one is what any kill causes."""

FREE_MIN_BYTES: Final = 256 << 20
"""Room on a disk below which Redis, the spool or the documents will soon be refused."""

RETRYING_LONG_S: Final = 6 * 3600.0
"""Calls that fail or are put off for so long need a person; as in the alert DeedboxRetryingOld."""

AWAY_S: Final = 60.0
"""A destination that takes no message for so long is more than being restarted."""

PAUSES_TOLD: Final = 10
"""A person who paused a hundred requests knows it."""

_WAITING_LINK: Final = "/runbook#where-callbacks-wait"


class Severity(StrEnum):
    """How soon a person should look."""

    URGENT = "urgent"
    """Now: callbacks wait, or may be lost."""
    NOTICE = "notice"
    """Soon: nothing waits behind it."""


class AttentionKind(StrEnum):
    """What it is about: closed, so that programs can decide by it."""

    REDIS_AWAY = "redis_away"
    BROKER_AWAY = "broker_away"
    NO_BRIDGE = "no_bridge"
    BRIDGE_SLOW = "bridge_slow"
    REDIS_FULL = "redis_full"
    BROKER_DEAD_LETTERS = "broker_dead_letters"
    NO_WORKER = "no_worker"
    OLD_WORK = "old_work"
    NO_SWEEPER = "no_sweeper"
    UNKNOWN_ACTION = "unknown_action"
    UNUSED_LANE = "unused_lane"
    CRASH_LOOP = "crash_loop"
    LOST_CALLS = "lost_calls"
    DESTINATION_AWAY = "destination_away"
    PAUSED = "paused"
    PAUSED_LONG = "paused_long"
    FOREIGN_JOBS = "foreign_jobs"
    FOREIGN_KEYS = "foreign_keys"
    DISK_FULL = "disk_full"
    REFUSALS = "refusals"
    DEAD_LETTERS = "dead_letters"
    BUDGET = "budget_used_up"
    RETRYING_LONG = "retrying_long"
    SPOOL = "spool"
    SPOOL_FULL = "spool_full"
    SPOOL_SILENT = "spool_silent"
    SPOOL_UNREADABLE = "spool_unreadable"


@dataclass(frozen=True, slots=True)
class Attention:
    """One sentence; commands are written between backticks."""

    kind: AttentionKind
    severity: Severity
    text: str
    link: str = ""
    """Page of the dashboard that helps, as a path."""
    about: str = ""
    """Which one of its kind: a lane, a source, a process; empty if there can be only one."""

    @property
    def advice(self) -> str:
        """A sentence that names the command for the runbook's section; empty if the text says it all."""
        page, _, section = self.link.partition("#")
        return f"`{commands.runbook(section)}` says what to do." if page == "/runbook" else ""

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"kind": self.kind, "severity": self.severity, "about": self.about, "text": self.text}


def attentions(found: Status) -> list[Attention]:
    """Say what needs a person; empty if nothing does."""
    said = [each for rule in _RULES for each in rule(found)]
    return sorted(said, key=lambda each: each.severity is not Severity.URGENT)


def redis_away(sentence: str, free_bytes: Mapping[str, int]) -> list[Attention]:
    """Say that the state cannot be read, what still works, and which disk is full: that is often why Redis is away."""
    full = list(disks(free_bytes))
    meanwhile = (
        "A disk is nearly full, which stops Redis and the spool too. Callbacks that find no room get 503, and Dropbox Sign "
        "sends them again; nothing accepted is lost."
        if full
        else "Callbacks are still accepted and kept in the broker or on the web hosts' disks, as long as these have room; "
        "nothing accepted is lost."
    )
    link = "/runbook#deedboxredisdown"
    return [*full, Attention(AttentionKind.REDIS_AWAY, Severity.URGENT, f"{sentence} {meanwhile}", link)]


def disks(free_bytes: Mapping[str, int]) -> Iterator[Attention]:
    """Name the directories on whose disk little room is left."""
    for place, left in free_bytes.items():
        if left < FREE_MIN_BYTES:
            text = f"The disk of {place} has {left >> 20} MiB left: make room on that disk."
            yield _urgent(AttentionKind.DISK_FULL, text, place, "/runbook#a-disk-is-nearly-full")


def _urgent(kind: AttentionKind, text: str, about: str = "", link: str = _WAITING_LINK) -> Attention:
    return Attention(kind, Severity.URGENT, text, link, about)


def _broker(found: Status) -> Iterator[Attention]:
    view = found.view
    waiting_s = max(view.broker.oldest_age_s or 0.0, view.claimed.oldest_age_s or 0.0)
    if view.trouble:
        text = f"The broker does not answer ({view.trouble}). Is it running? `deedbox check` shows details."
        yield _urgent(AttentionKind.BROKER_AWAY, text, link="/runbook#deedboxbrokerdown")
    if not view.bridges and (view.broker.depth or view.claimed.depth):
        text = "Callbacks wait in the broker and no bridge runs: start `deedbox bridge`."
        yield _urgent(AttentionKind.NO_BRIDGE, text)
    elif view.bridges and waiting_s > BRIDGE_SLACK_S:
        text = f"Callbacks have waited in the broker for {duration(waiting_s)}: the bridge does not keep up."
        yield _urgent(AttentionKind.BRIDGE_SLOW, text)
    if view.dead_letters:
        text = (
            f"The broker gave up delivering {counted(view.dead_letters, 'message')}: `deedbox dead collect` makes "
            "dead letters of them."
        )
        yield _urgent(AttentionKind.BROKER_DEAD_LETTERS, text, link="/runbook#undeliverable")


def _room(found: Status) -> Iterator[Attention]:
    for name, share in found.fullness.items():
        if share >= FULL_FROM:
            text = f"The Redis of the {name} is {share:.0%} full: `deedbox check` says of what."
            yield _urgent(AttentionKind.REDIS_FULL, text, name, "/runbook#redis-is-full")
    yield from disks(found.free_bytes)


def _lanes(found: Status) -> Iterator[Attention]:
    staffed = {worker.lane for worker in found.survey.workers}
    for lane in found.survey.lanes:
        depth, age_s = lane.stage.depth, lane.open_age_s
        if lane.unused:
            text = (
                f"No action uses the lane {lane.name} any more: end its workers, nothing has to run for it."
            )
            yield Attention(AttentionKind.UNUSED_LANE, Severity.NOTICE, text, about=lane.name)
        elif depth and lane.name not in staffed:
            text = (
                f"Lane {lane.name} has work (depth {depth}) and no living worker: "
                f"start `deedbox worker --lane {lane.name}`. If one runs and gives no sign of life, end it first."
            )
            yield _urgent(AttentionKind.NO_WORKER, text, lane.name, "/runbook#deedboxworkersgone")
        elif depth and age_s > OLD_WORK_S:
            text = (
                f"Work of lane {lane.name} has been ready for {duration(age_s)}, and its workers do not get to it: "
                "add processes, look for a call that does not end, or raise the rate or concurrency of its actions."
            )
            yield _urgent(AttentionKind.OLD_WORK, text, lane.name, "/runbook#deedboxstageold")
    inbox_s = found.survey.inbox.oldest_age_s or 0.0
    if inbox_s > OLD_WORK_S:
        text = f"Callbacks have waited in the inbox for {duration(inbox_s)}: the sequencer does not keep up."
        yield _urgent(AttentionKind.OLD_WORK, text, "inbox", "/runbook#deedboxstageold")


def _unknown_actions(found: Status) -> Iterator[Attention]:
    for each in found.survey.unknown:
        text = (
            f"{actions_page.waiting(each.action, each.calls)} (since {duration(each.oldest_s)}). "
            f"{actions_page.advice(each.action)}"
        )
        yield _urgent(AttentionKind.UNKNOWN_ACTION, text, each.action, "/runbook#unknown-actions")


def _processes(found: Status) -> Iterator[Attention]:
    if found.survey.overdue_s > OVERDUE_MAX_S:
        text = (
            f"Holds, retries or leases have been due for {duration(found.survey.overdue_s)}, and no sweeper looks: "
            "start `deedbox sweeper`."
        )
        yield _urgent(AttentionKind.NO_SWEEPER, text, link="/runbook#deedboxsweepergone")
    for each in found.restarts:
        if each.count >= CRASHES_FROM:
            where = f"details: {each.log}" if each.log else "the output of `deedbox up` says why"
            text = (
                f"{each.process} on {each.host} {each.how} and was restarted, {each.count} times in a minute, last "
                f"{duration(max(0.0, found.survey.now - each.at))} ago; {where}."
            )
            yield _urgent(
                AttentionKind.CRASH_LOOP, text, f"{each.host}/{each.process}", "/runbook#worker_lost"
            )


def _lost_calls(found: Status) -> Iterator[Attention]:
    recent = [each for each in found.survey.lost if found.survey.now - each.at < LOST_TOLD_S]
    for action in dict.fromkeys(each.action for each in recent):
        last, *before = (each for each in recent if each.action == action)
        if not before:
            continue
        text = (
            f"Processes ended in calls of the action {action} without an outcome, {1 + len(before)} times in the last "
            f"{duration(LOST_TOLD_S)}. The last one was {last.process} of lane {last.lane}, "
            f"{duration(max(0.0, found.survey.now - last.at))} ago, with the event {last.event}, which has lost "
            f"{counted(last.losses, 'process', 'processes')} in a row."
        )
        yield _urgent(AttentionKind.LOST_CALLS, text, action, "/runbook#worker_lost")


def _destinations(found: Status) -> Iterator[Attention]:
    for head in found.survey.heads_of(DELIVERING):
        name = head.action.removeprefix(DELIVERING)
        if head.since_s > AWAY_S:
            calls = found.survey.depths.get(head.action, 0)
            source, _, key = head.stream.partition(":")
            text = (
                f"The destination {name} has not taken a message for {duration(head.since_s)}. "
                f"{counted(calls, 'message waits', 'messages wait')}, in order, and Deedbox tries again by itself: "
                f"`{commands.trace(key, source)}` shows the answers."
            )
            yield Attention(
                AttentionKind.DESTINATION_AWAY, Severity.NOTICE, text, "/runbook#a-destination-is-away", name
            )


def _retrying(found: Status) -> Iterator[Attention]:
    told_elsewhere = {each.action for each in found.survey.unknown}
    paused = {each.target.field for each in found.survey.pauses}
    for head in found.survey.heads_of(""):
        if head.action.startswith(DELIVERING) or head.action in told_elsewhere:
            continue
        if head.since_s > RETRYING_LONG_S and paused.isdisjoint(
            {f"action|{head.action}", f"lane|{head.lane}"}
        ):
            source, _, key = head.stream.partition(":")
            text = (
                f"Calls of the action {head.action} have failed or been put off for {duration(head.since_s)}: "
                f"`{commands.trace(key, source)}` shows the reasons."
            )
            yield Attention(
                AttentionKind.RETRYING_LONG, Severity.NOTICE, text, "/runbook#deedboxretryingold", head.action
            )


def _pauses(found: Status) -> Iterator[Attention]:
    for each in found.survey.pauses[:PAUSES_TOLD]:
        lasts_s = max(0.0, found.survey.now - each.at)
        why = f": {each.why}" if each.why else ""
        text = (
            f"{each.target.told} has been paused for {duration(lasts_s)} by {each.by}{why}. What comes for it waits, in "
            f"order; `{commands.resume(each.target)}` continues."
        )
        kind = AttentionKind.PAUSED_LONG if lasts_s > LONG_S else AttentionKind.PAUSED
        yield Attention(kind, Severity.NOTICE, text[:1].upper() + text[1:], "/pauses", each.target.told)
    if (more := len(found.survey.pauses) - PAUSES_TOLD) > 0:
        text = f"{counted(more, 'further pause')}: `deedbox status --json` lists them all."
        yield Attention(AttentionKind.PAUSED, Severity.NOTICE, text, "/pauses")


def _foreign_jobs(found: Status) -> Iterator[Attention]:
    for lane, count in found.survey.foreign_jobs.items():
        text = (
            f"{counted(count, 'job')} in the queue of lane {lane} {'was' if count == 1 else 'were'} not written by "
            "Deedbox. Nothing of them was run. Another program can write to this Redis: find it, and change the "
            "password."
        )
        yield _urgent(AttentionKind.FOREIGN_JOBS, text, lane, "/runbook#foreign-jobs")


def _foreign_keys(found: Status) -> Iterator[Attention]:
    names = found.survey.foreign_keys
    if names:
        text = (
            f"{counted(len(names), 'key')} of Redis held what Deedbox does not write, such as {names[-1]}. Each was moved to "
            "deedbox:foreign:<its name> and started anew. Another program can write to this Redis: find it."
        )
        yield _urgent(AttentionKind.FOREIGN_KEYS, text, link="/runbook#foreign-keys")


def _sources(found: Status) -> Iterator[Attention]:
    for source in found.sources:
        if source.failures_in_a_row >= NOTED_FROM:
            yield _of_source(source)


def _of_source(source: SourceView) -> Attention:
    count = source.failures_in_a_row
    reason = source.reasons[0] if source.reasons else ""
    why = f" (mostly `{reason}`)" if reason else ""
    refused = f"The last {count} callbacks of source {source.name} were refused{why}"
    if count >= FAILURES_MAX:
        text = (
            f"{refused}, or more. Dropbox Sign may have removed the callback URL: `deedbox check` asks the API. Fix "
            "the cause; if the URL is gone, `deedbox callback-url set` sets it again."
        )
    else:
        text = (
            f"{refused}. After {source.kept.failures_left} more in a row, Dropbox Sign removes the callback URL. See "
            "`deedbox check` and the log of the web process."
        )
    severity = Severity.URGENT if count >= URGENT_FROM else Severity.NOTICE
    link = f"/runbook#{reason}" if reason else "/runbook#refused-requests"
    return Attention(AttentionKind.REFUSALS, severity, text, link, source.name)


def _aside(found: Status) -> Iterator[Attention]:
    if dead := found.survey.dead.depth:
        text = (
            f"{dead} dead {'letter needs' if dead == 1 else 'letters need'} a decision: `deedbox dead list`."
        )
        yield Attention(AttentionKind.DEAD_LETTERS, Severity.NOTICE, text, "/dead")
    used_up = [each for each in found.budgets if each.left == 0]
    if waiting := found.survey.retrying.depth if used_up else 0:
        which = ", ".join(
            f"{each.kind} of source {each.source} ({each.per_minute} a minute)" for each in used_up
        )
        text = (
            f"The API budget is used up: {which}. {counted(waiting, 'call')} wait for their turn and continue by "
            "themselves; the bounds are DEEDBOX_FILES_PER_MINUTE and its like, below the vendor's."
        )
        yield Attention(AttentionKind.BUDGET, Severity.NOTICE, text, _WAITING_LINK)


def _spools(found: Status) -> Iterator[Attention]:
    spools = found.survey.spools
    for mark in spools.live.values():
        text = (
            f"{mark.callbacks} {'callback waits' if mark.callbacks == 1 else 'callbacks wait'} on the disk of host "
            f"{mark.host}, acknowledged and safe: they follow as soon as the broker takes them. Before the host is "
            "removed: `deedbox spool drain`."
        )
        yield Attention(AttentionKind.SPOOL, Severity.NOTICE, text, "/runbook#spool", mark.host)
        if mark.nearly_full:
            text = f"{spools_page.filled(mark)} {spools_page.FILLED_ADVICE}."
            yield _urgent(AttentionKind.SPOOL_FULL, text, mark.host, "/runbook#spool_full")
    for mark in spools.silent.values():
        text = (
            f"Host {mark.host} has {counted(mark.callbacks, 'callback')} in its spool and has been silent for "
            f"{duration(found.survey.now - mark.seen_at)}. Start its web process, or run `deedbox spool drain` there; "
            f"if the host is gone for good, they are lost with it: `deedbox spool forget {mark.host}`."
        )
        yield _urgent(AttentionKind.SPOOL_SILENT, text, mark.host, "/runbook#a-host-vanished-with-its-spool")
    for name in spools.unreadable:
        text = (
            f"What a host said of its spool cannot be read, and counts for nothing: `deedbox spool forget {name}` "
            "removes it."
        )
        yield Attention(AttentionKind.SPOOL_UNREADABLE, Severity.NOTICE, text, "/runbook#spool", name)


_RULES: Final[tuple[Callable[[Status], Iterator[Attention]], ...]] = (
    _broker, _room, _lanes, _unknown_actions, _processes, _lost_calls, _destinations, _retrying, _pauses, _foreign_jobs, _foreign_keys, _sources, _aside, _spools,
)  # fmt: skip
