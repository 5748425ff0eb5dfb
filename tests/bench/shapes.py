"""Backlogs of any size and shape, quickly: the simulator's callbacks, copied under fresh ids.

A copy has another signature_request_id (or event_time) and is otherwise the same text. Its ``event_hash`` need not fit
any more: nothing behind ingress looks at it. Copies compress as well as what they were copied from.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count, islice
from typing import Final

from redis import Redis

from deedbox.shared import codec
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import inbox, keys
from deedbox.shared.redis.doorbells import Bells
from deedbox.shared.redis.scripting import Scripts
from tests.bench.payloads import lifecycles

TEMPLATES: Final = 2_000
"""Callbacks that backlogs are copied from; whole lives of about 170 signature requests."""

CHUNK: Final = 1_000
"""Callbacks per round trip while a backlog is filled."""


_worlds: Final = count()


@dataclass(frozen=True, slots=True)
class _Template:
    text: bytes
    request_id: bytes
    event_type: str
    event_time: int
    signers_seen: int
    """Signers of whom the snapshot shows that they viewed or signed."""


@cache
def _templates() -> tuple[_Template, ...]:
    found = []
    for text in lifecycles(TEMPLATES):
        payload = json.loads(text)
        event, request = payload["event"], payload["signature_request"]
        seen = sum(bool(row["last_viewed_at"] or row["signed_at"]) for row in request["signatures"])
        request_id = request["signature_request_id"].encode()
        found.append(_Template(text, request_id, event["event_type"], int(event["event_time"]), seen))
    return tuple(found)


def lives() -> Iterator[Envelope]:
    """Yield whole lives of signature requests without end, each in order, 120 of them under way at a time.

    What one call yields has no id in common with what any other call yields.
    """
    templates, world = _templates(), next(_worlds)
    number = count()
    for copy in count():
        for each in templates:
            fresh = _fresh_id(each, world, copy)
            yield _envelope(each.text.replace(each.request_id, fresh), fresh, next(number))


def keyed(amount: int) -> Iterator[Envelope]:
    """Yield callbacks of so many signature requests in turn, without end: one ``sent`` each, then repeated views.

    Every event of a request is a second later than the one before and proves nothing that has not come: none is held.
    What one call yields has no id in common with what any other call yields.
    """
    templates, world = _templates(), next(_worlds)
    sent = next(each for each in templates if each.event_type == "signature_request_sent")
    viewed = next(
        each
        for each in templates
        if each.request_id == sent.request_id and each.event_type == "signature_request_viewed"
    )
    if viewed.signers_seen != 1:
        raise ValueError("the first view of a request shows another signer's view")
    number = count()
    for turn in count():
        each = viewed if turn else sent
        at = b'"event_time":"%d"' % (each.event_time + turn)
        text = each.text.replace(b'"event_time":"%d"' % each.event_time, at)
        for key in range(amount):
            fresh = _fresh_id(each, world, key)
            yield _envelope(text.replace(each.request_id, fresh), fresh, next(number))


def _fresh_id(template: _Template, world: int, copy: int) -> bytes:
    return template.request_id[:-16] + b"%08x%08x" % (world, copy)


def _envelope(text: bytes, request_id: bytes, number: int) -> Envelope:
    key = f"signature_request/{request_id.decode()}"
    envelope = Envelope("default", time.time(), BodySignature.VALID, f"{number:032x}", text, key=key)
    return codec.packed(envelope)


def fill_broker(client: Redis, envelopes: Iterator[Envelope], amount: int) -> None:
    """Put callbacks into the broker's list in the form in which ingress leaves them."""
    for chunk in _chunks(envelopes, amount):
        messages = [encode_kombu(each.headers(), each.body) for each in chunk]
        client.lpush(keys.RAW_QUEUE, *messages)


def fill_inbox(client: Redis, envelopes: Iterator[Envelope], amount: int) -> None:
    """Put callbacks into the inbox by the call that the bridge makes, without a bridge."""
    scripts = Scripts(client)
    rings = False
    for chunk in _chunks(envelopes, amount):
        load = inbox.Load()
        for each in chunk:
            load.add(each)
        rings |= inbox.append(scripts, load)
    if rings:
        Bells(client).ring(keys.SEQUENCER)


def _chunks(envelopes: Iterator[Envelope], amount: int) -> Iterable[list[Envelope]]:
    for first in range(0, amount, CHUNK):
        yield list(islice(envelopes, min(CHUNK, amount - first)))
