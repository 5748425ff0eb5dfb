"""Which events go to an action: types, conditions (``where``), and the unit of work that they belong to. Pure.

One callback URL serves many environments if each takes only what is meant for it. A condition looks at what the vendor
lets a sender choose: the API app, test mode, the template, and metadata.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, get_args

INTERNAL_PREFIX: Final = "deedbox."
"""Types that begin so are emitted by Deedbox itself, such as ``deedbox.document_stored``."""

DELIVERING: Final = "deliver."
"""The action of a destination is named so: ``deliver.crm``."""

NO_SUBJECT: Final = "type/"
"""Ordering keys that begin so name no subject, only the type of an event in which no id was found."""


class PauseKind(StrEnum):
    """What can be paused."""

    ACTION = "action"
    LANE = "lane"
    DESTINATION = "destination"
    SOURCE = "source"
    REQUEST = "request"


EventName = Literal[
    "signature_request_prepared", "signature_request_sent", "signature_request_viewed", "signature_request_signed",
    "signature_request_all_signed", "signature_request_downloadable", "signature_request_declined",
    "signature_request_reassigned", "signature_request_remind", "signature_request_canceled", "signature_request_expired",
    "signature_request_email_bounce", "signature_request_invalid", "signature_request_signer_removed",
    "signature_request_incomplete_qes", "signature_request_destroyed",
    "fax_received", "fax_sent", "fax_on_hold", "fax_busy", "fax_no_answer", "fax_disconnected", "fax_blacklisted",
    "file_error", "unknown_error", "sign_url_invalid", "template_created", "template_error", "account_confirmed",
    "callback_test", "deedbox.document_stored", "deedbox.reconciled", "deedbox.gap_suspected",
]  # fmt: skip
"""The published names, spelled out: editors suggest them where an event type is written."""

KNOWN_TYPES: Final[frozenset[str]] = frozenset(get_args(EventName))
"""What Dropbox Sign publishes (``docs/protocol.md``) and what Deedbox emits for actions. For hints only: an unknown type
is stored, counted and dispatched like any other."""

_ALIKE: Final = 0.85
"""From this likeness to a published type on (difflib), an unknown one is taken for a misspelling."""

_P: Final = "signature_request_"

_RANK_ROWS: Final = (
    ("prepared",),
    ("sent",),
    ("reassigned", "remind", "email_bounce", "signer_removed"),
    ("viewed",),  # and every type that no row names
    ("signed",),
    ("declined", "canceled", "expired", "invalid"),
    ("all_signed",),
    ("downloadable",),
    ("destroyed",),
)
RANKS: Final[Mapping[str, int]] = {_P + name: rank for rank, row in enumerate(_RANK_ROWS) for name in row} | {
    "file_error": 5,
    "unknown_error": 5,
    "sign_url_invalid": 5,
}
"""Causal rank of a type: what must come first among events of the same second."""

DEFAULT_RANK: Final = RANKS[_P + "viewed"]

_PATTERN: Final = re.compile(r"\*|[A-Za-z0-9_.-]+\*?", re.ASCII)


CONDITIONS: Final = ("source", "client_id", "test_mode", "template", "metadata.<key>")
"""What a condition may name."""

_METADATA: Final = "metadata."
_SUBJECTS: Final = ("signature_request", "template", "transmission")

_LARGE: Final = 10**18
"""Longer numbers are no value that somebody chose, and turning them into text takes time."""

Value = str | bool


def is_pattern(text: str) -> bool:
    """Return whether a text is an exact type, a prefix such as ``signature_request_*``, or ``*``."""
    return _PATTERN.fullmatch(text) is not None


def matches(pattern: str, event_type: str) -> bool:
    """Return whether a type fits a pattern. ``*`` means every Dropbox Sign event and leaves internal ones out."""
    if pattern == "*":
        return not event_type.startswith(INTERNAL_PREFIX)
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return event_type == pattern


def unit_of(action: str, stream: str, fingerprint: str, *, ordered: bool) -> str:
    """Name the unit of work, whose entries run one after the other: per key, or per event if unordered.

    Events without a subject share a key by their type only: no order of theirs matters, to any action.
    """
    if ordered and not stream.partition(":")[2].startswith(NO_SUBJECT):
        return f"{action}|{stream}"
    return f"{action}|{stream}|{fingerprint}"


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions that must all hold. Each names the values that it accepts; a value that is unknown fulfils none."""

    conditions: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    @classmethod
    def of(cls, described: object) -> Where:
        """Build from ``{"metadata.env": "prod", "client_id": ["a", "b"], "test_mode": False}``.

        Raises ValueError with one clause that names the condition.
        """
        if described is None:
            return cls()
        if not isinstance(described, Mapping):
            raise ValueError('is no object such as {"metadata.env": "prod"}')  # noqa: TRY004 - one kind of error for callers
        return cls(tuple((_name(name), _accepted(name, value)) for name, value in described.items()))

    def accepts(
        self,
        source: str,
        *,
        test_mode: bool,
        payload: Mapping[str, Any],
        known: Callable[[], Mapping[str, Any]],
    ) -> bool:
        """Return whether an event fulfils every condition.

        ``known`` returns the best ``signature_request`` so far. It is asked only for what the callback itself leaves
        empty: the vendor has sent ``signature_request_canceled`` without metadata.
        """

        def holds(name: str, accepted: tuple[Value, ...]) -> bool:
            if name == "source":
                return source in accepted
            if name == "test_mode":
                return test_mode in accepted
            found = set(_values(name, payload))
            if not found:
                found = set(_values(name, {"signature_request": known()}))
            return not found.isdisjoint(map(_spelt, accepted))

        return all(holds(name, accepted) for name, accepted in self.conditions)

    def describe(self) -> dict[str, list[Value]]:
        """Return the conditions as JSON values."""
        return {name: list(accepted) for name, accepted in self.conditions}


def _name(name: object) -> str:
    if name in {"source", "client_id", "test_mode", "template"}:
        return str(name)
    if isinstance(name, str) and name.startswith(_METADATA) and len(name) > len(_METADATA):
        return name
    raise ValueError(f"names {name!r}; a condition is one of {', '.join(CONDITIONS)}")


def _accepted(name: str, value: object) -> tuple[Value, ...]:
    values = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    wanted: type | tuple[type, ...] = bool if name == "test_mode" else str
    if name.startswith(_METADATA):
        wanted = (str, bool, int)
    if not values or not all(isinstance(each, wanted) for each in values):
        raise ValueError(
            f"gives {name} no usable value; use {'true or false' if wanted is bool else 'text, or a list of texts'}"
        )
    return tuple(each if isinstance(each, bool) else str(each) for each in values)


def _spelt(value: Value) -> str:
    """Return a value as text: of metadata, the vendor keeps what the sender's form or JSON made of it."""
    return value if isinstance(value, str) else str(value).lower()


def _values(name: str, payload: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a callback shows under a name; nothing where it is absent or of another type."""
    subjects = [each for key in _SUBJECTS if isinstance(each := payload.get(key), Mapping)]
    if name == "client_id":
        yield from _texts([payload.get("client_id"), *(each.get("client_id") for each in subjects)])
        event = payload.get("event")
        about = event.get("event_metadata") if isinstance(event, Mapping) else None
        yield from _texts([about.get("reported_for_app_id")] if isinstance(about, Mapping) else [])
    for subject in subjects:
        if name == "template":
            listed = subject.get("template_ids")
            yield from _texts([subject.get("template_id"), *(listed if isinstance(listed, list) else [])])
        elif name.startswith(_METADATA):
            metadata = subject.get("metadata")
            yield from _texts(
                [metadata.get(name.removeprefix(_METADATA))] if isinstance(metadata, Mapping) else []
            )


def _texts(values: list[Any]) -> Iterator[str]:
    for each in values:
        if isinstance(each, bool):
            yield _spelt(each)
        elif isinstance(each, str) or (isinstance(each, int) and abs(each) < _LARGE):
            yield str(each)


def look_alike(name: str, known: Iterable[str] = KNOWN_TYPES) -> str:
    """Return the known name that this one looks like misspelled; empty if there is none."""
    return next(iter(difflib.get_close_matches(name, known, 1, _ALIKE)), "")
