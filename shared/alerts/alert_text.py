"""How an alert reads. Ids and counts, never a name or an address; titles only if the settings allow them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from deedbox.shared.alerts.alerting import IDS_SHOWN, Kind, Message
from deedbox.shared.alerts.conditions import DANGER_FROM

_REQUESTS: Final = "`deedbox trace ID` shows what happened to each."
_URL: Final = "`deedbox check` says what the URL is now, and `deedbox runbook callback-url-gone` what to do."

HEADLINES: Final[Mapping[str, str]] = {
    "file_error": "a document could not be processed",
    "signature_request_invalid": "a signature request is invalid",
    "template_error": "a template could not be created",
    "unknown_error": "Dropbox Sign reports an error",
    "signature_request_declined": "a signer declined",
    "deedbox.reconciled": "callbacks were missing",
    Kind.DEAD_LETTERS: "dead letters",
    Kind.SIGNATURE_FAILURES: "callbacks with a wrong signature",
    Kind.URL_IN_DANGER: "callback URL in danger",
    Kind.URL_DROPPED: "callback URL removed",
    Kind.URL_WRONG: "callback URL is not what it should be",
    Kind.API_REFUSED: "the API refuses the key",
    Kind.SPOOL_SILENT: "a host is silent, with acknowledged callbacks on its disk",
    Kind.LIMIT: "no more alerts in this hour",
    Kind.TEST: "this is a test",
}

ADVICE: Final[Mapping[str, str]] = {
    "deedbox.reconciled": _REQUESTS + " Many at once: an outage, see `deedbox runbook missing-callbacks`.",
    Kind.DEAD_LETTERS: "`deedbox dead list` shows them, and `deedbox runbook REASON` says what to do.",
    Kind.SIGNATURE_FAILURES: "If the API key was changed, add the new one to DEEDBOX_API_KEYS at once: after 10 "
    "failures in a row Dropbox Sign removes the callback URL. `deedbox runbook bad_event_hash` says more.",
    Kind.URL_IN_DANGER: "After 10 in a row Dropbox Sign removes the callback URL. " + _URL,
    Kind.URL_DROPPED: "Fix the cause, then: `deedbox callback-url set`. " + _URL,
    Kind.URL_WRONG: "`deedbox callback-url set` sets it again. " + _URL,
    Kind.API_REFUSED: "Documents and repairs wait or fail until a valid key is first in the key ring: `deedbox runbook callback-url-gone`.",
    Kind.SPOOL_SILENT: "Start its web process, or run `deedbox spool drain` there. If it is gone for good, its callbacks "
    "are lost with it: `deedbox spool forget HOST`. `deedbox runbook a-host-vanished-with-its-spool` says more.",
    Kind.LIMIT: "Further alerts are counted, and sent together when the hour has room again. `deedbox status` shows what is "
    "wrong now; DEEDBOX_ALERT_PER_HOUR is the limit.",
    Kind.TEST: "Alerts of this Deedbox arrive here.",
}


_SENTENCES: Final[Mapping[str, str]] = {
    Kind.URL_IN_DANGER: f"{DANGER_FROM} or more callbacks in a row were refused",
    Kind.URL_DROPPED: "The API says that no callback URL is set",
    Kind.URL_WRONG: "The callback URL is missing, or another one than it should be",
    Kind.API_REFUSED: "The API refuses the key",
    Kind.SPOOL_SILENT: "A host does not report any more, and has acknowledged callbacks on its disk",
    Kind.TEST: "This is a test",
}
_ONE_AT_A_TIME: Final = frozenset({Kind.URL_IN_DANGER, Kind.URL_DROPPED})
"""Kinds whose label says nothing that the sentence does not."""

_NOUNS: Final[Mapping[str, tuple[str, str]]] = {
    Kind.DEAD_LETTERS: ("new dead letter", "new dead letters"),
    Kind.SIGNATURE_FAILURES: ("callback with a wrong signature", "callbacks with a wrong signature"),
    Kind.LIMIT: ("alert was kept back", "alerts were kept back"),
}


def title(message: Message) -> str:
    """Return the subject line."""
    headline = HEADLINES.get(message.kind, message.kind)
    if message.recovered:
        return f"Deedbox: resolved: {headline}"
    many = f" ({message.count})" if message.count > 1 else ""
    return f"Deedbox: {headline}{many}"


def body(message: Message) -> str:
    """Return the text: what, how many, which, what to do."""
    source = f"source {message.source}, " if message.source else ""
    if message.recovered:
        what = HEADLINES.get(message.kind, message.kind)
        return f"This is over: {what} ({source}from {_at(message.since)} to {_at(message.at)})."
    lines = [f"{_what(message)} ({source}since {_at(message.since)})."]
    if message.shown:
        lines.append(_which(message))
    if message.kind not in _ONE_AT_A_TIME:
        lines += [f"{label}: {count}" for label, count in message.labels.items()]
    lines.append(ADVICE.get(message.kind, _REQUESTS))
    return "\n".join(lines)


def _what(message: Message) -> str:
    """Say what happened, with its number."""
    if message.kind in _SENTENCES:
        return _SENTENCES[message.kind]
    one, many = _NOUNS.get(message.kind, (f"{message.kind} event", f"{message.kind} events"))
    return f"{message.count} {one if message.count == 1 else many}"


def severity(message: Message) -> str:
    """Return how bad it is, in Apprise's words."""
    if message.recovered:
        return "success"
    if message.kind in {Kind.LIMIT, Kind.TEST}:
        return "info"
    return "failure" if message.kind in set(Kind) else "warning"


def _which(message: Message) -> str:
    more = message.count - len(message.shown)
    listed = ("ids: " if message.kind == Kind.DEAD_LETTERS else "") + ", ".join(
        message.shown
    )  # they are numbers
    return f"{listed} and {more} more" if more > 0 and len(message.shown) >= IDS_SHOWN else listed


def _at(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
