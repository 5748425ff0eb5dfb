"""Callbacks of a small world: honest stories of one to three requests, repeated, disordered, some junk, and forgeries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from deedbox.shared import codec
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.identity import identify
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.sealing.envelopes import sealed
from tests.simulation.scheduler import START

P: Final = "signature_request_"
CREATED_AT: Final = int(START) - 100
SPREAD_S: Final = 5.0
"""All first deliveries happen within this long."""
FORGING: Final = 0.3
"""Share of schedules with an adversary."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A callback that the vendor sends at ``at``, and perhaps again."""

    at: float
    body: bytes = field(repr=False)
    fingerprint: str = ""
    """Of the fact; empty for junk."""
    event_type: str = ""
    stream: str = ""
    bare: bool = False
    """Junk that is no message of ours at all."""
    verdict: BodySignature = BodySignature.VALID
    """What ingress said about its body."""
    forged: bool = False
    """An adversary who has seen one callback made it: its type and second fit, and nothing signs its body."""

    def message(self, number: int) -> bytes:
        """Return the raw message of one delivery: like the broker's, no two are the same bytes."""
        if self.bare:
            return self.body + str(number).encode()
        envelope = Envelope("default", round(self.at, 3), self.verdict, f"{number:032x}", self.body)
        # Hosts of two versions send side by side: every other one compresses.
        sent = sealed(codec.packed(envelope) if number % 2 else envelope)
        return encode_kombu(sent.headers(), sent.body)


def drawn(rng: Random, shown: dict[str, dict[str, Any]]) -> list[Sent]:
    """Draw all deliveries, in order of time. ``shown``: gets what the API shows in the end, by the stream."""
    sent: list[Sent] = []
    for number in range(rng.choice((1, 1, 2, 3))):
        delay_s = rng.choice((0.0, 0.5, 4.0))
        begins = START + rng.random() * 2
        for place, body in enumerate(_story(rng, f"r{number}")):
            shown[f"default:signature_request/r{number}"] = _as_shown(body)
            if rng.random() < 0.04:
                continue  # never sent: a gap
            at = begins + place * 0.2 + rng.random() * delay_s
            sent.append(_sent(at, body))
            while rng.random() < 0.25:
                sent.append(_sent(at + rng.random() * SPREAD_S, body))
    sent += [
        _sent(START + rng.random() * SPREAD_S, _no_key(each)) for each in range(rng.choice((0, 0, 1, 2)))
    ]
    if rng.random() < 0.15:
        sent.append(Sent(START + rng.random() * SPREAD_S, b"junk", bare=True))
    if rng.random() < 0.15:
        sent.append(Sent(START + rng.random() * SPREAD_S, b"{broken"))
    return sorted(sent, key=lambda each: each.at)


def _as_shown(body: bytes) -> dict[str, Any]:
    """Return the request of a callback as the API shows it: with times that are a second off."""
    request: dict[str, Any] = json.loads(body)["signature_request"]
    for row in request["signatures"]:
        row |= {name: row[name] + 1 for name in ("last_viewed_at", "signed_at") if name in row}
    return request


def forged(rng: Random, genuine: list[Sent]) -> list[Sent]:
    """Draw what an adversary sends who has seen one of these callbacks: of its second and type, unsigned, or signed wrongly."""
    seen = [each for each in genuine if each.event_type.startswith(P)]
    if not seen or rng.random() >= FORGING:
        return []
    known: dict[str, Any] = json.loads(rng.choice(seen).body)
    sent = []
    for number in range(rng.choice((3, 12, 30))):
        event, request = dict(known["event"]), dict(known["signature_request"])
        kind = rng.choice(("another body", "another request", "another signer"))
        if kind == "another request":
            request["signature_request_id"] = f"forged{number}"
        elif kind == "another signer":
            event["event_metadata"] = {"related_signature_id": f"forged{number}"}
        invented = {"signature_id": f"invented{number}", "last_viewed_at": CREATED_AT}
        request |= {"title": f"forged {number}", "signatures": [*request["signatures"], invented]}
        body = json.dumps({"event": event, "signature_request": request}).encode()
        verdict = rng.choice((BodySignature.ABSENT, BodySignature.WRONG))
        sent.append(replace(_sent(START + rng.random() * SPREAD_S, body), verdict=verdict, forged=True))
    return sent


def _story(rng: Random, request_id: str) -> Iterator[bytes]:
    """Yield the callbacks of one request; each snapshot shows what has happened up to it."""
    signers = {f"s{number}": {"signature_id": f"s{number}"} for number in range(rng.choice((1, 1, 2)))}
    request = {
        "signature_request_id": request_id,
        "created_at": CREATED_AT,
        "is_complete": False,
        "signatures": signers.values(),
    }
    time = CREATED_AT
    yield _body("sent", time, request)
    for name, signer in signers.items():
        for kind, field_name in (("viewed", "last_viewed_at"), ("signed", "signed_at")):
            time += rng.choice((0, 1, 3))
            signer[field_name] = time  # type: ignore[assignment]
            yield _body(kind, time, request, name)
    if rng.random() < 0.6:
        request["is_complete"] = True
        yield _body("all_signed", time, request)
        yield _body("downloadable", time + rng.choice((0, 2)), request)


def _body(kind: str, time: int, request: dict[str, Any], signer: str | None = None) -> bytes:
    event = {
        "event_type": P + kind,
        "event_time": str(time),
        "event_hash": "0" * 64,
        "event_metadata": {"related_signature_id": signer},
    }
    shown = request | {"signatures": list(request["signatures"])}
    return json.dumps({"event": event, "signature_request": shown}).encode()


def _no_key(number: int) -> bytes:
    event = {"event_type": "callback_test", "event_time": str(CREATED_AT + number), "event_hash": "0" * 64}
    return json.dumps({"event": event}).encode()


def _sent(at: float, body: bytes) -> Sent:
    callback = parse_callback(body)
    fact = identify("default", callback)
    return Sent(round(at, 6), body, fact.fingerprint, callback.event_type, fact.stream)
