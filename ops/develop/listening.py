"""Forwards the clean stream of a Deedbox elsewhere to an address on this machine, and goes on where it was.

Each event arrives as a destination would send it, so that a handler can be written here and deployed there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from deedbox.shared import webhook_message
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.runtime.ports import is_loopback

WAIT_S: Final = 25
"""How long one question waits at the other side for news."""

PAGE: Final = 100
LOOK_BACK_PAGE: Final = 1000

PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0)
"""Between tries while the one side or the other does not answer; the last one repeats."""

NOW: Final = "now"
OLDEST: Final = ""
"""Places that are no cursor: only what is still to come, and everything that is kept."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is listened to."""

    types: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    payload: bool = True


class Remote:
    """The status API of another Deedbox."""

    def __init__(self, url: str, token: str, wanted: Chosen) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError("--url is no address such as https://deedbox.example.com; correct it.")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise SettingsError(
                "--url begins with http://, so that the token could be read on the way; use https://, or a tunnel to "
                "http://127.0.0.1."
            )
        self.url = url.rstrip("/")
        self._wanted = wanted
        self._http = urllib3.PoolManager(headers={"Authorization": f"Bearer {token}"}, retries=False)

    def page(self, after: str) -> dict[str, Any]:
        """Return the next page of events, once there are some.

        Raises Unavailable, Expired, or SettingsError for what a person must correct.
        """
        asked = [("limit", str(PAGE)), ("wait", str(WAIT_S)), ("payload", str(int(self._wanted.payload)))]
        asked += [("type", each) for each in self._wanted.types]
        asked += [("source", each) for each in self._wanted.sources]
        return self._get(asked, after)

    def look_back(self, since: float) -> str:
        """Return the cursor before the first event that was released at ``since`` (Unix seconds) or later."""
        before = OLDEST
        while True:
            page = self._get([("limit", str(LOOK_BACK_PAGE))], before)
            for event in page["events"]:
                if event["released_at"] >= since:
                    return before
                before = str(event["cursor"])
            if not page["more"]:
                return before
            before = str(page["cursor"])

    def _get(self, asked: list[tuple[str, str]], after: str) -> dict[str, Any]:
        question = urlencode([*asked, ("after", after)] if after != OLDEST else asked)
        patience = urllib3.Timeout(connect=5.0, read=WAIT_S + 15.0)
        try:
            answer = self._http.request("GET", f"{self.url}/api/events?{question}", timeout=patience)
        except HTTPError as error:
            raise Unavailable(f"{self.url} does not answer ({type(error).__name__})") from None
        if answer.status == HTTPStatus.OK:
            return _document(answer.data, self.url)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise SettingsError(
                f"{self.url} does not accept the token (HTTP {answer.status}): it needs the scope read, and documents for "
                "the payloads; or use --no-payload."
            )
        if answer.status == HTTPStatus.GONE:
            raise Expired(str(_document(answer.data, self.url).get("oldest", "")))
        if answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
            raise SettingsError(
                f"{self.url} has no such events (HTTP {answer.status}); is it the address of ops?"
            )
        raise Unavailable(f"{self.url} answered {answer.status}")


class Expired(Exception):
    """Events after the cursor are kept no longer. ``oldest``: the cursor to go on from."""

    def __init__(self, oldest: str) -> None:
        super().__init__(oldest)
        self.oldest = oldest


def _document(data: bytes, url: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SettingsError(
            f"{url} answers with something else than the status API; is it the address of ops?"
        )
    return found


class Place:
    """Where the last run ended, by address and filters. A file, so that the next run misses nothing."""

    def __init__(self, file: Path, name: str) -> None:
        self._file = file
        self._name = name

    def load(self) -> str | None:
        """Return the cursor, if there is one. Raises SettingsError if the file is not one of these."""
        try:
            found = json.loads(self._file.read_text("utf-8")).get(self._name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError):
            raise SettingsError(
                f"{self._file} is no file of `deedbox listen`; remove it, or name another with --place."
            ) from None
        return found if isinstance(found, str) else None

    def save(self, cursor: str) -> None:
        """Remember a cursor. Other addresses of the file keep theirs."""
        try:
            known = json.loads(self._file.read_text("utf-8"))
        except FileNotFoundError:
            known = {}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".tmp")
        beside.write_text(json.dumps(known | {self._name: cursor}), "utf-8")
        beside.replace(self._file)


def place_name(url: str, wanted: Chosen) -> str:
    """Name a place: another filter sees other events, and must not go on behind those that this one sees."""
    return " ".join(
        [url, *(f"type={each}" for each in wanted.types), *(f"source={each}" for each in wanted.sources)]
    )


@dataclass
class Forwarding:
    """One run: asks there, posts here."""

    remote: Remote
    to: str
    key: bytes
    place: Place
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    _http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    def run(self, since: float | None) -> NoReturn:
        """Forward until the process ends.

        ``since``: from the events released then on (Unix seconds); None: from where the last run ended, or from now on.
        """
        cursor = (
            self.place.load() or NOW
            if since is None
            else self._insisting(lambda: self.remote.look_back(since))
        )
        while True:
            try:
                page = self._insisting(lambda: self.remote.page(cursor))  # noqa: B023 - called at once
            except Expired as error:
                self.say(
                    "Some events since the last run are kept no longer; going on with the oldest that is kept."
                )
                cursor = error.oldest
                continue
            for event in page["events"]:
                self._insisting(lambda: self._forward(event))  # noqa: B023 - called at once
                self.place.save(event["cursor"])
            cursor = str(page["cursor"])
            self.place.save(cursor)

    def _insisting(self, step: Callable[[], Any]) -> Any:
        """Do a step until the other end is there. Says so once per outage."""
        failures = 0
        while True:
            try:
                found = step()
            except Unavailable as error:
                if not failures:
                    self.say(f"{error}; waiting for it.")
                self.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
                failures += 1
            else:
                if failures:
                    self.say("It answers again.")
                return found

    def _forward(self, event: Mapping[str, Any]) -> None:
        """Post one event. An answer that is no 2xx is told and not repeated: the handler here is being written."""
        message_id = f"{event['event']}:listen"
        data = {"schema_version": 1, "idempotency_key": message_id, "time": event["event_time"]}
        data |= {
            name: value for name, value in event.items() if name not in {"cursor", "event", "event_time"}
        }
        body = webhook_message.body_of(event["type"], event["event_time"], data)
        headers = webhook_message.headers_of(self.key, message_id, int(self.clock()), body)
        try:
            answer = self._http.request(
                "POST", self.to, body=body, headers=headers, timeout=60.0, redirect=False
            )
        except HTTPError as error:
            raise Unavailable(f"{self.to} does not answer ({type(error).__name__})") from None
        self.say(f"{answer.status}  {event['type']}  {event['ordering_key']}")
