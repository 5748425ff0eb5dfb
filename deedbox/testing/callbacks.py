"""Signed callbacks, byte for byte as Dropbox Sign sends them, and the events that Deedbox makes of them."""

from __future__ import annotations

import hashlib
import random
import time as clock
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from deedbox.ingress.receive.ladder import LadderPolicy, Received, RefusedCallback, judge
from deedbox.ingress.receive.verifying import NotVerified
from deedbox.shared.core.fields import Unreadable
from deedbox.shared.core.routing import INTERNAL_PREFIX
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.simulator import single
from deedbox.shared.simulator.lifecycle import Account, generate_requests
from deedbox.shared.simulator.single import CallbackWish
from deedbox.shared.simulator.story import LifecyclePolicy
from deedbox.shared.simulator.wire import WireRequest, multipart_request
from deedbox.workers import internal_events
from deedbox.workers.actions.interface import Event, Recall
from deedbox.workers.lanes.claims import event_of
from deedbox.workers.sequencer.arrivals import Delivered, delivered

BEGINS_AT: Final = 1_767_225_600
"""When a lifecycle begins: the same each time, so that a seed gives the same bytes."""

DISORDERED: Final = 0.5
"""Share of the callbacks of a lifecycle that come late."""

_API_KEY: Final = "test"


@dataclass(frozen=True)
class Callback:
    """One delivery of one callback."""

    event_type: str
    json_text: bytes = field(repr=False)
    """The text of the form's only field, ``json``."""
    source: str
    api_key: str = field(repr=False)
    """What signs it, and what ``event`` and ``play`` verify it with."""
    received_at: float
    """Unix seconds, when it is received; ``play`` has its clock from here."""

    @cached_property
    def _wire(self) -> WireRequest:
        return multipart_request(self.json_text, self.api_key)

    @property
    def body(self) -> bytes:
        """The body of the request, a multipart form."""
        return self._wire.body

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request, ``Content-Sha256`` among them."""
        return dict(self._wire.headers)

    @property
    def event(self) -> Event:
        """What an action receives. Raises NotVerified if Deedbox would refuse the callback."""
        return seen(self.identified().stored)

    def identified(self, redrive: str = "") -> Delivered:
        """Receive and identify it, as ingress and sequencer do. Raises NotVerified.

        ``redrive``: a mark that makes it a fact of its own.
        """
        headers = self.headers
        received = Received(
            self.source,
            "POST",
            headers["Content-Type"],
            headers["Content-Sha256"],
            self.body,
            self.received_at,
        )
        verdict = judge(received, LadderPolicy({self.source: (self.api_key,)}, body_max_bytes=len(self.body)))
        if isinstance(verdict, RefusedCallback):
            raise NotVerified(str(verdict.reason), verdict.detail)
        trace_id = hashlib.sha256(self.json_text).hexdigest()[:32]
        envelope = replace(verdict.envelope(self.received_at, trace_id), redrive=redrive)
        return delivered(envelope, self.received_at)


def callback(
    event_type: str,
    *,
    request_id: str | None = None,
    signers: int = 1,
    metadata: Mapping[str, Any] | None = None,
    api_key: str = _API_KEY,
    source: str = "default",
    time: int | None = None,
    **changes: Any,
) -> Callback:
    """Make a signed callback of any type.

    ``request_id``: of the signature request, template, account or fax; a new one each time if none is given. ``time``:
    ``event_time``, unix seconds; now if none is given. ``changes``: fields of the request (template, account, fax), such as
    ``title="Lease"``. What is not given fits to the type. The first signer is the one that the event is about.
    """
    if event_type.startswith(INTERNAL_PREFIX):
        raise ValueError("Dropbox Sign sends no deedbox.* events; use deedbox.testing.internal_event")
    now = clock.time()
    at = int(now) if time is None else time
    subject_id = request_id or (uuid.uuid4().hex + uuid.uuid4().hex[:8])
    text = single.json_text(CallbackWish(event_type, at, subject_id, api_key, signers, metadata, changes))
    return Callback(event_type, text, source, api_key, now if time is None else float(at))


def internal_event(
    event_type: str, payload: dict[str, Any], *, request_id: str = "r1", source: str = "default"
) -> Event:
    """Make an event of Deedbox's own, such as ``deedbox.document_stored``."""
    key = f"signature_request/{request_id}"
    return seen(internal_events.internal_event(event_type, payload, source, key, "", clock.time()))


def lifecycle(
    signers: int = 2, *, seed: int = 1, duplicates: float = 0.2, disorder_s: float = 2.0
) -> list[Callback]:
    """Make the callbacks of one signature request from ``sent`` to ``downloadable``, in the order in which they come.

    ``duplicates``: share of them that come twice. ``disorder_s``: how late, on average, half of them come. The same
    arguments give the same bytes.
    """
    rng = random.Random(seed)  # noqa: S311 - seeded, reproducible traffic: not cryptography
    policy = LifecyclePolicy(
        BEGINS_AT, signers_min=signers, signers_max=signers, declined_rate=0, canceled_rate=0
    )
    [request] = generate_requests(1, Account(_API_KEY), rng, policy)
    came = []
    for each in request.callbacks:
        late_s = rng.expovariate(1) * disorder_s if rng.random() < DISORDERED else 0.0
        first = Callback(each.event_type, each.json_text, "default", _API_KEY, each.event_time + late_s)
        came.append(first)
        if rng.random() < duplicates:
            came.append(replace(first, received_at=first.received_at + rng.expovariate(1)))
    return sorted(came, key=lambda each: each.received_at)


def seen(stored: StoredEvent, *, late: bool = False, recall: Recall | None = None) -> Event:
    """Return what an action sees of a stored event."""
    event = event_of(stored, late=late, recall=recall)
    if isinstance(event, Unreadable):
        raise TypeError("the body of the event is no JSON")
    return event
