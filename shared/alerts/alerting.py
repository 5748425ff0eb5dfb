"""Which alerts become messages, and when: the first of a kind at once, what follows in groups, never a storm. Pure.

Facts come in, messages go out. The state is one small document that all processes share, so that together they send
one message where each would have sent its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from deedbox.shared.core.fields import flag, many, named, natural, number, number_or_none, words

HOUR_S: Final = 3600.0
IDS_SHOWN: Final = 5
LABELS_KEPT: Final = 8
KEYS_KEPT: Final = 40
"""Facts that a group remembers to know a repeat: a crashed call tells its fact again within seconds."""

SEND: Final = "deedbox.alert"
"""Type of the internal event that carries a message to one receiver."""

DEFAULT_EVENTS: Final = (
    "file_error",
    "signature_request_invalid",
    "template_error",
    "unknown_error",
    "signature_request_declined",
    "deedbox.reconciled",
)


class Kind(StrEnum):
    """What is wrong, where no event says so. All other kinds are event types."""

    DEAD_LETTERS = "dead_letters"
    SIGNATURE_FAILURES = "signature_failures"
    URL_IN_DANGER = "callback_url_in_danger"
    URL_DROPPED = "callback_url_dropped"
    URL_WRONG = "callback_url_wrong"
    API_REFUSED = "api_key_refused"
    SPOOL_SILENT = "spool_silent"
    LIMIT = "alert_limit"
    """Not a fault: the hour's messages are used up."""
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds of what people get."""

    window_s: float = 300.0
    """After a message of a kind, further facts of it are gathered for so long."""
    per_hour: int = 20
    """Messages in any hour, the one about this limit included; 2 or more."""


@dataclass(frozen=True, slots=True)
class AlertFact:
    """Something a person should know of."""

    kind: str
    source: str
    key: str
    """Identity: the same fact told again counts once."""
    shown: str = ""
    """Id that a message may name; never anything about a signer."""
    label: str = ""
    """What facts of a kind are counted by: a dead letter's reason, a gap's name."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Message:
    """One message for people; JSON values only. How it reads is the sender's business."""

    kind: str
    source: str
    at: float
    """Unix seconds, when it was decided on."""
    since: float
    """Unix seconds of the first fact in it."""
    count: int = 1
    shown: tuple[str, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    recovered: bool = False
    """It is over."""

    def dump(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kind": self.kind, "source": self.source, "at": round(self.at, 3), "since": round(self.since, 3),
            "count": self.count, "shown": list(self.shown), "labels": dict(self.labels), "recovered": self.recovered,
        }  # fmt: skip

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of ``dump``. Raises KeyError, TypeError, ValueError for what is none."""
        return cls(
            str(document["kind"]), str(document["source"]), float(document["at"]), float(document["since"]),
            int(document["count"]), tuple(map(str, document["shown"])),
            {str(label): int(count) for label, count in document["labels"].items()}, bool(document["recovered"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Facts of one kind and source."""

    kind: str
    source: str
    sent_at: float | None = None
    """Unix seconds of its last message."""
    since: float = 0.0
    held: int = 0
    shown: tuple[str, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    def told(self, fact: AlertFact, now: float) -> Group:
        """Return the group with one more fact; itself for a repeat."""
        if fact.key in self.keys:
            return self
        shown = self.shown if not fact.shown or fact.shown in self.shown else (*self.shown, fact.shown)
        return Group(
            self.kind, self.source, self.sent_at, self.since if self.held else now, self.held + fact.count,
            shown[:IDS_SHOWN], _counted(self.labels, fact), (*self.keys, fact.key)[-KEYS_KEPT:],
        )  # fmt: skip

    def due(self, now: float, window_s: float) -> bool:
        """Return whether what is held may go out."""
        return self.held > 0 and (self.sent_at is None or now >= self.sent_at + window_s)

    def emptied(self, now: float) -> tuple[Group, Message]:
        """Return the group after its message, and the message."""
        message = Message(self.kind, self.source, now, self.since, self.held, self.shown, self.labels)
        return Group(self.kind, self.source, now, keys=self.keys), message


def _counted(labels: Mapping[str, int], fact: AlertFact) -> Mapping[str, int]:
    if not fact.label:
        return labels
    label = fact.label if fact.label in labels or len(labels) < LABELS_KEPT else "other"
    return {**labels, label: labels.get(label, 0) + fact.count}


@dataclass(frozen=True, slots=True)
class AlertState:
    """What was sent, and what is held."""

    groups: tuple[Group, ...] = ()
    sent: tuple[float, ...] = ()
    """Unix seconds of the messages of the last hour."""
    muted: bool = False
    """The message about the limit is out, and the limit still bites."""

    def dump(self) -> dict[str, Any]:
        """Return JSON values."""
        groups = [
            [g.kind, g.source, g.sent_at, g.since, g.held, list(g.shown), dict(g.labels), list(g.keys)]
            for g in self.groups
        ]
        return {"groups": groups, "sent": list(self.sent), "muted": self.muted}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of ``dump``. Raises KeyError, TypeError, ValueError for what is none."""
        return cls(many(document["groups"], _group), many(document["sent"], number), flag(document["muted"]))


def _group(value: Any) -> Group:
    kind, source, sent_at, since, held, shown, labels, keys = value
    return Group(
        words(kind), words(source), number_or_none(sent_at), number(since), natural(held), many(shown, words),
        named(labels, natural), many(keys, words),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class AlertDecision:
    """The next state, and what goes out now."""

    state: AlertState
    messages: tuple[Message, ...] = ()


def step(
    state: AlertState, facts: Iterable[AlertFact], over: Iterable[Message], now: float, policy: Policy
) -> AlertDecision:
    """Take facts in, and decide what goes out.

    Whatever does not go out stays counted in its group, until the window or the hour has room. ``over`` says that
    something has ended: it waits for no group, and is left out if the hour has no room.
    """
    groups = {(group.kind, group.source): group for group in state.groups}
    for fact in facts:
        group = groups.get((fact.kind, fact.source), Group(fact.kind, fact.source))
        groups[fact.kind, fact.source] = group.told(fact, now)
    sent = [at for at in state.sent if at > now - HOUR_S]
    muted = state.muted and len(sent) > policy.per_hour // 2
    messages: list[Message] = []
    for message in over:
        groups = {name: _without(group, message) for name, group in groups.items()}
        if len(sent) < policy.per_hour - 1:
            messages.append(message)
            sent.append(now)
    for name, group in groups.items():
        if group.due(now, policy.window_s) and len(sent) < policy.per_hour - 1:
            groups[name], message = group.emptied(now)
            messages.append(message)
            sent.append(now)
    waiting = Counter[str]()
    for group in groups.values():
        if group.due(now, policy.window_s):
            waiting[group.kind] += group.held
    if waiting and not muted and len(sent) < policy.per_hour:
        labels = dict(waiting.most_common(LABELS_KEPT))
        messages.append(Message(Kind.LIMIT, "", now, now, waiting.total(), labels=labels))
        sent.append(now)
        muted = True
    kept = tuple(group for group in groups.values() if group.held or _recent(group, now, policy.window_s))
    return AlertDecision(AlertState(kept, tuple(sent), muted), tuple(messages))


def _without(group: Group, over: Message) -> Group:
    """Let go of what is held about something that is over: told after its end, it would read as a new fault."""
    about = group.kind == over.kind and over.source in {"", group.source}
    if not about or (over.shown and not set(group.shown) <= set(over.shown)):
        return group
    return Group(group.kind, group.source, group.sent_at, keys=group.keys)


def _recent(group: Group, now: float, window_s: float) -> bool:
    return group.sent_at is not None and now < group.sent_at + max(window_s, HOUR_S)
