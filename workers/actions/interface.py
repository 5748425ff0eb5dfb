"""What an action sees: ``@action``, ``Event``, ``Context``, and the two words for failure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeVar

from deedbox.shared.core.attempts import GIVE_UP_S
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.core.request_snapshot import request_of
from deedbox.shared.core.routing import EventName, Where
from deedbox.shared.core.signature import Origin
from deedbox.workers.actions.once import Once
from deedbox.workers.actions.snapshots import (
    AccountSnapshot,
    FaxSnapshot,
    RequestSnapshot,
    SignerSnapshot,
    TemplateSnapshot,
    filled,
    shown,
)

DEFAULT_LANE: Final = "default"
DEFAULT_ATTEMPTS: Final = 8
DEFAULT_TIMEOUT_S: Final = 60.0

NOTE_MAX_CHARS: Final = 1000
"""Of one note: a timeline has a bounded number of lines, and each of them a bounded length."""


class Retry(Exception):
    """Try later; uses no attempt. The queue of this ordering key and action waits meanwhile.

    ``after``: seconds until then; None: a growing backoff. Neither is longer than what is left of the action's
    ``give_up_s``, after which the dead letter ``retry_expired`` ends it.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        if after is not None and not math.isfinite(after):
            raise ValueError("Retry(after=...) takes seconds as a finite number")
        self.reason = reason
        self.after = None if after is None else max(0.0, float(after))


class Reject(Exception):
    """Never going to work: a dead letter now, with this reason; other events of the key continue."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Recall = Callable[[], Iterable[Mapping[str, Any]]]
"""Finds the snapshots of an event's request that arrived so far, best first, its own among them."""


@dataclass(frozen=True)
class Event:
    """One verified, deduplicated fact. ``event_hash`` does not sign its body; ``trust`` says how far that is to be believed.

    The typed views of ``payload`` are made when they are first asked for.
    """

    type: EventName | str
    time: int
    """Unix seconds, when it happened (``event_time``)."""
    received_at: float
    """Unix seconds, when ingress took it."""
    source: str
    ordering_key: str
    """Kind and id, such as ``signature_request/fa5c8a0b``."""
    signature_request_id: str | None
    related_signature_id: str | None
    test_mode: bool
    late: bool
    """It came after a later event of its key had been released."""
    body_signature: str
    """``valid``, ``wrong`` or ``absent``: what ``Content-Sha256`` said."""
    trust: str
    """``disputed``, ``claimed``, ``attested`` or ``confirmed``: how far ``payload`` is trusted."""
    payload: Mapping[str, Any] = field(repr=False)
    """The whole callback."""
    origin: str = Origin.CALLBACK.value
    """``callback``: Dropbox Sign delivered it; ``reconciled``: no callback came, and the API shows that it happened;
    ``deedbox``: an internal event."""
    recall: Recall | None = field(default=None, repr=False, compare=False)
    """Where ``last_known`` looks; None: at this event only."""

    @cached_property
    def signature_request(self) -> RequestSnapshot | None:
        """The signature request as this callback shows it; None if it shows none."""
        return shown(RequestSnapshot, self.payload, "signature_request")

    @cached_property
    def template(self) -> TemplateSnapshot | None:
        """The template as this callback shows it; None if it shows none."""
        return shown(TemplateSnapshot, self.payload, "template")

    @cached_property
    def account(self) -> AccountSnapshot | None:
        """The account as this callback shows it; None if it shows none."""
        return shown(AccountSnapshot, self.payload, "account")

    @cached_property
    def fax(self) -> FaxSnapshot | None:
        """The fax as this callback shows it; None if it shows none. Its id comes from the ordering key."""
        kind, _, identifier = self.ordering_key.partition("/")
        known = {"fax_id": identifier} if kind == "fax" else {}
        return shown(FaxSnapshot, self.payload, "transmission", **known)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What your application attached to the request, template or fax, as this callback shows it; may be empty."""
        subject = self.signature_request or self.template or self.fax
        return subject.metadata if subject else {}

    @property
    def signer(self) -> SignerSnapshot | None:
        """The signer that the event is about: the one with ``related_signature_id``; None if the callback shows none."""
        return self.signature_request.signer(self.related_signature_id) if self.signature_request else None

    @cached_property
    def last_known(self) -> RequestSnapshot | None:
        """What is known of the signature request so far; None for an event of none.

        What this callback leaves empty, such as the metadata of ``signature_request_canceled``, comes from the other
        callbacks of the request that have come. Of two that show a field the more trusted one counts, then the later one.
        The first look asks Redis; where that does not answer, it raises ``Retry``.
        """
        if self.signature_request_id is None:
            return None
        own = request_of(self.payload)
        return RequestSnapshot.model_validate(filled([*self.recall(), own] if self.recall else [own]))


@dataclass(frozen=True, slots=True)
class ModelChange:
    """The read model to which a call leads."""

    model: Mapping[str, Any]
    request: Mapping[str, Any]
    """Shows by what the request is found."""


@dataclass(slots=True)
class Context:
    """The circumstances of one call."""

    idempotency_key: str
    """The same for every call of this (event, action), over retries, crashes and redrives."""
    attempt: int
    """From 1; a ``Retry`` uses none."""
    replay: bool = False
    """True when an operator replays a past event on purpose."""
    retries: int = 0
    """How often this call was put off by ``Retry``."""
    fruitless: int = 0
    """How many earlier calls ended in an exception, or in a ``Retry`` that named no time."""
    waiting_since: float | None = None
    """Unix seconds of the first failure or ``Retry``; None on the first call. A time in which no call could begin (a pause,
    stopped workers) makes it later by as much."""
    trace_id: str = ""
    """Names the callback in every log line from its receipt on: 32 hexadecimal characters."""
    traceparent: str = ""
    """W3C header of this call, for calls that you make; empty while OpenTelemetry is off."""
    _emitted: list[tuple[str, dict[str, Any]]] = field(default_factory=list, repr=False)
    _notes: list[dict[str, Any]] = field(default_factory=list, repr=False)
    _once: set[str] = field(default_factory=set, repr=False)
    _model: Callable[[], Mapping[str, Any]] = field(default=dict, repr=False)
    _change: ModelChange | None = field(default=None, repr=False)

    def once(self, session: Any, name: str = "") -> Once:
        """Return a block whose effect in a database happens once, over crashes, retries and redrives.

        ``with context.once(session):`` records the idempotency key in the transaction of the block and commits both at its
        end. A repeat passes the block over. ``session``: a SQLAlchemy session, a Django connection, or one of sqlite3 or
        psycopg. ``name``: tells several blocks of one action apart.
        """
        if name in self._once:
            raise ValueError("each block of an action needs its own name: context.once(session, name)")
        self._once.add(name)
        return Once(session, f"{self.idempotency_key}:{name}" if name else self.idempotency_key)

    def note(self, text: str) -> None:
        """Add a line to the request's timeline (``deedbox trace``), in the commit of this call."""
        add_line(self, TimelineKind.NOTE, detail=str(text)[:NOTE_MAX_CHARS])

    def emit(self, event_type: str, payload: dict[str, Any]) -> None:
        """Emit an internal event (``deedbox.*``) to the same key's actions, in the commit of this call."""
        if not event_type.startswith("deedbox."):
            raise ValueError("an action emits deedbox.* events only")
        json.dumps(payload)
        self._emitted.append((event_type, payload))


def add_line(context: Context, kind: TimelineKind, **details: Any) -> None:
    """Add an entry of any kind to the request's timeline; for Deedbox's own actions."""
    json.dumps(details)  # a value that is not JSON must fail here, in the call, and not in its commit
    context._notes.append({"kind": str(kind), **details})  # noqa: SLF001 - of this module


def model_of(context: Context) -> Mapping[str, Any]:
    """Return the read model of the event's request; for an action that is registered with ``keeps_model``. Raises Retry."""
    return context._model()  # noqa: SLF001 - of this module


def change_model(context: Context, model: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    """Replace the read model, in the commit of this call; for an action that is registered with ``keeps_model``."""
    context._change = ModelChange(model, request)  # noqa: SLF001 - of this module


ActionFunction = Callable[[Event, Context], object]
"""What an action is: a plain function, or an ``async`` one."""

Declares = TypeVar("Declares", bound=ActionFunction)
"""The decorated function, whose own type it keeps."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What ``@action`` remembers on the function until the registry collects it."""

    patterns: tuple[str, ...]
    name: str | None
    lane: str
    attempts: int
    timeout_s: float
    ordered: bool
    give_up_s: float
    rate: str | None
    concurrency: int | None
    where: Where


DECLARED: Final = "__deedbox_actions__"


def action(  # noqa: PLR0913 - options of a decorator, all named
    *patterns: EventName | str,
    name: str | None = None,
    lane: str = DEFAULT_LANE,
    attempts: int = DEFAULT_ATTEMPTS,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    ordered: bool = True,
    give_up_s: float = GIVE_UP_S,
    rate: str | None = None,
    concurrency: int | None = None,
    where: Mapping[str, object] | None = None,
) -> Callable[[Declares], Declares]:
    """Declare a function as an action.

    ``patterns``: event types, exact, a prefix ``signature_request_*``, or ``*`` (every Dropbox Sign event).
    ``name``: ``module.function`` by default. ``lane``: the pool of processes that runs it. ``attempts``: calls
    that may end in an exception. ``timeout_s``: seconds of one call. ``ordered``: one call at a time per
    ordering key, in release order. ``give_up_s``: how long ``Retry`` may go on; a
    time in which no call could begin (a pause, stopped workers) does not count.
    ``rate``: calls in any second, minute, hour or day, such as ``100/m``; ``concurrency``: calls at a time. Both count
    over all workers and hosts, repeated calls included. ``where``: conditions that must all hold, such as
    ``{"metadata.env": "staging"}``; an event that does not fulfil them is passed over.

    Raises TypeError or ValueError for what cannot be meant.
    """
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError('@action takes event types: @action("signature_request_signed")')

    try:
        conditions = Where.of(where)
    except ValueError as error:
        raise ValueError(f"@action: where {error}") from None

    def declare(function: Declares) -> Declares:
        declared = Declared(
            patterns, name, lane, attempts, timeout_s, ordered, give_up_s, rate, concurrency, conditions
        )
        setattr(function, DECLARED, (*getattr(function, DECLARED, ()), declared))
        return function

    return declare
