"""What is known of one request's documents: which versions were stored, and whether this account may have them at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from deedbox.shared.core import status
from deedbox.shared.core.gaps import SUSPECTED
from deedbox.shared.core.reasons import Entry
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.shared.retention import Retention
from deedbox.workers.actions.interface import Context, Event

CLOCK_SLACK_S: Final = 60.0
"""How far (seconds) the vendor's clock may be off ours."""

DENIED: Final = "no document: the API keeps this request from the account, which is only a recipient of it"


@dataclass(slots=True)
class Record:
    """What was fetched for one request."""

    versions: list[dict[str, Any]] = field(default_factory=list)
    fetched_by: list[str] = field(default_factory=list)
    """Idempotency keys of the calls that fetched, so that a call repeated after a crash fetches nothing twice."""
    refetched: bool = False
    denied: str = ""
    """Idempotency key of the call that learnt that the API keeps the request from this account, one of its recipients."""

    @classmethod
    def load(cls, text: bytes | str | None) -> Record:
        """Rebuild the record; an empty one if there is none or it is unreadable."""
        known, names = status.load(text), {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in known.items() if name in names})

    def dump(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self))

    @property
    def settled(self) -> bool:
        """Whether there is no first document to be fetched."""
        return bool(self.versions or self.denied)

    def fetched_after(self, event: Event) -> bool:
        """Tell whether a late ``downloadable`` speaks of what was fetched after it, when gaps were closed."""
        newest: Mapping[str, Any] = self.versions[-1]
        before: float = newest["fetched_at"] - CLOCK_SLACK_S
        return newest["trigger"] == SUSPECTED and event.time < before

    def add(self, version: dict[str, Any], by: str) -> None:
        """Note a version as the current one."""
        self.refetched = self.refetched or bool(self.versions)
        self.fetched_by.append(by)
        self.denied = ""
        self.versions = [row for row in self.versions if row["sha256"] != version["sha256"]]
        self.versions.append(version)


class DocumentRecords:
    """The records in Redis. Of an erased request nothing is written."""

    def __init__(self, scripts: Scripts, retention: Retention) -> None:
        self._scripts = scripts
        self._life_s = retention.state_s

    def read(self, stream: str) -> Record:
        """Return a request's record. Raises RedisError."""
        text: Any = self._scripts.redis.get(keys.document(stream))
        return Record.load(text)

    def write(self, stream: str, record: Record) -> None:
        """Keep a request's record. Raises Unavailable."""
        self._scripts.call("remember", SERVER_CLOCK, stream, "document", record.dump(), self._life_s)

    def deny(self, stream: str, context: Context) -> None:
        """Note, once per request, that the API keeps it from this account: nothing here needs a person.

        A call that a crash repeats notes it again: its first note was not committed.
        """
        record = self.read(stream)
        if not record.denied:
            record.denied = context.idempotency_key
            self.write(stream, record)
        if record.denied == context.idempotency_key:
            context.note(Entry.NOTE, detail=DENIED)
