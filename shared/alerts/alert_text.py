"""How an alert reads. Ids and counts, never a name or an address; titles only if the settings allow them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from deedbox.shared.alerts.alerting import IDS_SHOWN, Kind, Message

_REQUESTS: Final = "`deedbox trace ID` shows what happened to each."
_URL: Final = "`deedbox check` says what the URL is now; the runbook's section is: callback URL gone."

HEADLINES: Final[Mapping[str, str]] = {
    "file_error": "a document could not be processed",
    "signature_request_invalid": "a signature request is invalid",
    "template_error": "a template could not be made",
    "unknown_error": "Dropbox Sign reports an error",
    "signature_request_declined": "a signer declined",
    "deedbox.reconciled": "callbacks were missing",
    Kind.DEAD_LETTERS: "dead letters",
    Kind.SIGNATURE_FAILURES: "callbacks with a wrong signature",
    Kind.URL_IN_DANGER: "callback URL in danger",
    Kind.URL_DROPPED: "callback URL dropped, most likely",
    Kind.URL_WRONG: "callback URL is not what it should be",
    Kind.API_REFUSED: "the API refuses the key",
    Kind.SPOOL_SILENT: "a host is silent, with acknowledged callbacks on its disk",
    Kind.NO_WORKER: "a lane has work and no worker",
    Kind.UNDECLARED: "calls wait for an action that no module declares",
    Kind.LIMIT: "this hour's alerts are used up",
    Kind.TEST: "this is a test",
}

ADVICE: Final[Mapping[str, str]] = {
    "deedbox.reconciled": _REQUESTS + " Many at once: an outage, see the runbook, missing callbacks.",
    Kind.DEAD_LETTERS: "`deedbox dead list` shows them; each reason is a heading of the runbook.",
    Kind.SIGNATURE_FAILURES: "If the API key was changed, add the new one to DEEDBOX_API_KEYS at once: after 10 "
    "failures in a row Dropbox Sign drops the callback URL. Runbook: bad_event_hash.",
    Kind.URL_IN_DANGER: "Callbacks are refused; after 10 in a row Dropbox Sign drops the callback URL. "
    + _URL,
    Kind.URL_DROPPED: "Ten callbacks in a row were refused. Mend the reason, then: `deedbox callback-url set`. "
    + _URL,
    Kind.URL_WRONG: "`deedbox callback-url set` puts it back. " + _URL,
    Kind.API_REFUSED: "Documents and repairs wait or die until a valid key stands first in the key ring.",
    Kind.SPOOL_SILENT: "Start its web process, or run `deedbox spool drain` there. If it is gone for good, its callbacks "
    "are lost with it: `deedbox spool forget HOST`. Runbook: a host vanished with its spool.",
    Kind.NO_WORKER: "Start `deedbox worker --lane NAME`. Nothing is lost: what waits has no end. Runbook: DeedboxWorkersGone.",
    Kind.UNDECLARED: "Declare the action again in DEEDBOX_ACTIONS. Runbook: unknown actions.",
    Kind.LIMIT: "What else comes is counted, and told when the hour has room again. `deedbox status` shows what is "
    "wrong now; DEEDBOX_ALERT_PER_HOUR is the limit.",
    Kind.TEST: "Alerts of this Deedbox arrive here.",
}


def title(message: Message) -> str:
    """Return the subject line."""
    headline = HEADLINES.get(message.kind, message.kind)
    if message.recovered:
        return f"Deedbox: over: {headline}"
    many = f" ({message.count})" if message.count > 1 else ""
    return f"Deedbox: {headline}{many}"


def body(message: Message) -> str:
    """Return the text: what, how many, which, what to do."""
    source = f", source {message.source}" if message.source else ""
    if message.recovered:
        return f"{message.kind}{source}: over at {_at(message.at)}, since {_at(message.since)}."
    lines = [f"{message.count} x {message.kind}{source}, since {_at(message.since)}."]
    if message.shown:
        lines.append(_which(message))
    lines += [f"{label}: {count}" for label, count in message.labels.items()]
    lines.append(ADVICE.get(message.kind, _REQUESTS))
    return "\n".join(lines)


def severity(message: Message) -> str:
    """Return how bad it is, in Apprise's words."""
    if message.recovered:
        return "success"
    if message.kind in {Kind.LIMIT, Kind.TEST}:
        return "info"
    return "failure" if message.kind in set(Kind) else "warning"


def _which(message: Message) -> str:
    more = message.count - len(message.shown)
    listed = ", ".join(message.shown)
    return f"{listed} and {more} more" if more > 0 and len(message.shown) >= IDS_SHOWN else listed


def _at(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
