"""Signature requests and the honest callbacks of each: what a well-behaved Dropbox Sign would send, once, in order.

Honest: the snapshot in a callback shows exactly what has happened up to and including its event, in position
order. Pure and seeded.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from deedbox.shared.core.identity import SIMULATED
from deedbox.shared.core.signature import event_hash
from deedbox.shared.simulator import story
from deedbox.shared.simulator.snapshot import DECLINE_REASON, SimulatedSigner, draw_signers, unsigned_document
from deedbox.shared.simulator.story import Ending, LifecyclePolicy, StoryStep
from deedbox.shared.simulator.wire import php_json

_TITLES: Final = ("Purchase Agreement", "NDA — mutual", "Lease 7/12", "Contrat d'été", "Offer letter")


@dataclass(frozen=True, slots=True)
class Account:
    """The Dropbox Sign account that sends: its key signs everything."""

    api_key: str = field(repr=False)
    account_id: str = "0f6a3d1c9b2e4857a1c0d9e8f7b6a5948372615e"
    client_id: str = "b6b8e7deaf8f0b95c029dca049356d4a"
    """The account's API app, for which an event may be reported a second time."""
    email_address: str = "requester@example.com"


class SimulatedFact(NamedTuple):
    """What makes two deliveries one fact, apart from the source."""

    event_type: str
    event_time: int
    signature_request_id: str
    related_signature_id: str


@dataclass(frozen=True, slots=True)
class SimulatedCallback:
    """One callback: the document and the bytes of its ``json`` text."""

    event_type: str
    event_time: int
    """Unix seconds."""
    signature_request_id: str
    related_signature_id: str | None
    sequence_number: int
    """Place in the request's honest order, from 0."""
    payload: Mapping[str, Any] = field(repr=False)
    json_text: bytes = field(repr=False)

    @property
    def fact(self) -> SimulatedFact:
        """Identity of what this callback reports; the same for every delivery of it."""
        return SimulatedFact(
            self.event_type, self.event_time, self.signature_request_id, self.related_signature_id or ""
        )

    @property
    def snapshot(self) -> Mapping[str, Any]:
        """The signature request as this callback shows it."""
        request: Mapping[str, Any] = self.payload["signature_request"]
        return request

    def for_app(self, client_id: str) -> SimulatedCallback:
        """Return the same event as reported to an app: other metadata, same ``event_hash``."""
        event = dict(self.payload["event"])
        event["event_metadata"] = event["event_metadata"] | {"reported_for_app_id": client_id}
        request = dict(self.snapshot) | {"client_id": client_id}
        return self._with({"event": event, "client_id": client_id, "signature_request": request})

    def forged(self, wrong_api_key: str) -> SimulatedCallback:
        """Return the same event with an ``event_hash`` that another key signed."""
        event = dict(self.payload["event"])
        event["event_hash"] = event_hash(wrong_api_key, event["event_time"], event["event_type"])
        return self._with({"event": event})

    def _with(self, changes: dict[str, Any]) -> SimulatedCallback:
        payload = dict(self.payload) | changes
        return replace(self, payload=payload, json_text=php_json(payload))


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """One signature request and its callbacks in honest order."""

    signature_request_id: str
    title: str
    created_at: int
    test_mode: bool
    ending: Ending
    callbacks: tuple[SimulatedCallback, ...] = field(repr=False)


def generate_requests(
    count: int, account: Account, rng: random.Random, policy: LifecyclePolicy
) -> list[SimulatedRequest]:
    """Draw ``count`` signature requests, oldest first. The same arguments and seed give the same bytes."""
    created = sorted(policy.begins_at + int(rng.uniform(0, policy.spread_s)) for _ in range(count))
    return [_request(created_at, account, rng, policy) for created_at in created]


def _request(
    created_at: int, account: Account, rng: random.Random, policy: LifecyclePolicy
) -> SimulatedRequest:
    drawn = f"{rng.getrandbits(160):040x}"
    request_id = (SIMULATED + drawn)[: len(drawn)] if policy.marked else drawn
    sequential = rng.random() < policy.sequential_rate
    signers = draw_signers(rng, policy, sequential=sequential)
    title = rng.choice(_TITLES)
    test_mode = rng.random() < policy.test_mode_rate
    signature_ids = [signer.signature_id for signer in signers]
    ending, steps = story.tell(rng, signature_ids, policy, sequential=sequential)
    base = unsigned_document(request_id, title, created_at, account.email_address) | {"test_mode": test_mode}
    callbacks = tuple(_callback(number, step, base, signers, account) for number, step in enumerate(steps))
    return SimulatedRequest(request_id, title, created_at, test_mode, ending, callbacks)


def _callback(
    number: int,
    step: StoryStep,
    document: dict[str, Any],
    signers: Sequence[SimulatedSigner],
    account: Account,
) -> SimulatedCallback:
    """Record the step in ``document`` and ``signers``, then show everything as it is now."""
    at = document["created_at"] + step.at_s
    related = None if step.signer is None else signers[step.signer]
    if related is not None:
        related.note(step.event_type, at)
    document["is_complete"] |= step.event_type == story.ALL_SIGNED
    document["is_declined"] |= step.event_type == story.DECLINED
    request = document | {
        "signatures": [signer.row() for signer in signers],
        "response_data": [signer.response() for signer in signers if signer.signed_at is not None],
    }
    signature_id = related.signature_id if related else None
    payload = {
        "event": event_document(step.event_type, at, signature_id, account),
        "account_guid": account.account_id,
        "client_id": None,
        "signature_request": request,
    }
    return SimulatedCallback(
        event_type=step.event_type,
        event_time=at,
        signature_request_id=document["signature_request_id"],
        related_signature_id=signature_id,
        sequence_number=number,
        payload=payload,
        json_text=php_json(payload),
    )


def event_document(event_type: str, at: int, signature_id: str | None, account: Account) -> dict[str, Any]:
    """Return the part ``event`` of a callback. ``at``: unix seconds."""
    return {
        "event_type": event_type,
        "event_time": str(at),
        "event_hash": event_hash(account.api_key, str(at), event_type),
        "event_metadata": {
            "related_signature_id": signature_id,
            "reported_for_account_id": account.account_id,
            "reported_for_app_id": None,
            "event_message": DECLINE_REASON if event_type == story.DECLINED else None,
        },
    }
