"""Sends one callback and explains the answer."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import urllib3
from urllib3.util import SKIP_HEADER

from deedbox.ops.wording import commands
from deedbox.shared.core.callback import ParsedCallback, parse_callback
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.identity import identify, ordering_key
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.core.routing import INTERNAL_PREFIX, look_alike
from deedbox.shared.core.snapshot import arrival_of
from deedbox.shared.simulator.single import CallbackWish, json_text
from deedbox.shared.simulator.wire import ACK, multipart_request

PATIENCE_S: Final = 25.0
"""The shorter of the two timeouts that the vendor's pages name."""

WAITS: Final = "It shows that earlier events happened: Deedbox waits for those, up to DEEDBOX_HOLD_S (30 s), before your actions run."

SHOWN_MAX_CHARS: Final = 400


@dataclass(frozen=True, slots=True)
class SentCallback:
    """What was sent and what came back."""

    url: str
    event_type: str
    subject_id: str
    status: int | None
    """HTTP status; None: no answer."""
    answer: str
    location: str = ""
    trace: str = ""
    """The command that shows its timeline."""
    shows_earlier: bool = False
    """Its content proves earlier events of the request, for which Deedbox waits."""

    @property
    def acknowledged(self) -> bool:
        """Whether Dropbox Sign would take it as received."""
        return self.status == HTTPStatus.OK and self.answer.encode() == ACK

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "url": self.url, "event_type": self.event_type, "id": self.subject_id, "status": self.status,
            "answer": self.answer, "acknowledged": self.acknowledged,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """Return it for people."""
        head = f"{self.event_type} about {self.subject_id} -> {self.url}"
        if self.status is None:
            return [head, f"No answer: {self.answer}"]
        return [head, *self._doubts(), f"HTTP {self.status}: {self.answer.strip()}", self._verdict()]

    def _doubts(self) -> list[str]:
        """Say so if the type looks misspelled. Another one is accepted too: the vendor adds some."""
        alike = look_alike(self.event_type)
        if alike in {"", self.event_type}:
            return []
        return [f"Dropbox Sign does not publish {self.event_type}; did you mean {alike}?"]

    def _verdict(self) -> str:
        if self.acknowledged:
            said = f"Acknowledged. With Deedbox, `{self.trace}` shows what became of it."
            return f"{said} {WAITS}" if self.shows_earlier else said
        if self.location:
            return f"Dropbox Sign does not follow redirects; give it the address {self.location} itself."
        reason = self._reason()
        if reason == Refusal.BAD_EVENT_HASH:
            return "The receiver has another API key than this callback was signed with; see --api-key."
        if reason:
            return f"Deedbox refused it: {reason}. `deedbox runbook {reason}` says what to do."
        return self._meaning()

    def _meaning(self) -> str:
        """Say what Dropbox Sign would make of the answer of a handler that is not Deedbox."""
        if self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return "The receiver did not accept it. If it verifies event_hash, does it have the same API key?"
        if self.status == HTTPStatus.OK:
            return f"This is no acknowledgement: the body has to be `{ACK.decode()}`, and nothing else."
        return "Dropbox Sign takes this for a failure: it sends the callback again, and gives up after some days."

    def _reason(self) -> str:
        try:
            found = json.loads(self.answer)
        except ValueError:
            return ""
        reason = found.get("error") if isinstance(found, dict) else None
        return reason if isinstance(reason, str) and reason in set(Refusal) else ""


def send(event_type: str, url: str, api_key: str, subject_id: str = "", signers: int = 1) -> SentCallback:
    """Make and send one callback. Raises SettingsError for what cannot be sent."""
    if re.match(r"https?://[^/\s]", url) is None:
        raise SettingsError("--to is no URL; it looks like http://127.0.0.1:8000/callbacks.")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,127}", event_type) or event_type.startswith(
        INTERNAL_PREFIX
    ):
        raise SettingsError("EVENT is no type that Dropbox Sign sends; one is signature_request_signed.")
    about = subject_id or secrets.token_hex(20)
    text = json_text(CallbackWish(event_type, int(time.time()), about, api_key, signers))
    event = parse_callback(text)
    wire = multipart_request(text, api_key)
    connections = urllib3.PoolManager(retries=False)
    try:
        answer = connections.request(
            "POST", url, body=wire.body, headers={**wire.headers, "Accept-Encoding": SKIP_HEADER},
            timeout=PATIENCE_S, redirect=False,
        )  # fmt: skip
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return SentCallback(url, event_type, about, None, _trouble(error))
    finally:
        connections.clear()
    shown = answer.data[: SHOWN_MAX_CHARS + 1].decode("utf-8", "replace")
    location = (
        str(answer.headers.get("Location", ""))
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST
        else ""
    )
    return SentCallback(
        url, event_type, about, answer.status, shown[:SHOWN_MAX_CHARS], location,
        trace=commands.trace(str(ordering_key(event)), source_of(url)), shows_earlier=_shows_earlier(event),
    )  # fmt: skip


def source_of(url: str) -> str:
    """Return the source that a callback URL of Deedbox names."""
    named = re.search(r"/callbacks/([A-Za-z0-9_-]+)/?$", url.partition("?")[0])
    return named[1] if named else "default"


def _shows_earlier(event: ParsedCallback) -> bool:
    fact = identify("default", event)
    arrival = arrival_of(
        event.event_type, event.event_time, event.related_signature_id, fact.fingerprint, event.payload
    )
    return bool(arrival.proofs)


def _trouble(error: Exception) -> str:
    match error:
        case urllib3.exceptions.NewConnectionError():
            return "nothing listens there; is it running, and is the port right?"
        case urllib3.exceptions.TimeoutError():
            return f"it took longer than {PATIENCE_S:g} s, and Dropbox Sign would not wait either."
        case urllib3.exceptions.SSLError():
            return "its certificate is not valid, and Dropbox Sign would not accept it either."
        case _:
            return f"the connection failed ({type(error).__name__})."
