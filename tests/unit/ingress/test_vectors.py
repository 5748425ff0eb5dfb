"""The hash rule against what the vendor publishes: its vectors and its own library."""

from __future__ import annotations

import json

import pytest
from dropbox_sign import EventCallbackHelper, EventCallbackRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.ingress.receive.ladder import Accepted, LadderPolicy, Received, judge
from deedbox.shared.core.signature import event_hash, verify_event_hash
from tests.unit.ingress.wire import KEY, MULTIPART, OTHER_KEY, multipart

PUBLISHED = [
    (KEY, "1348177752", "unknown_error", "c574f5d3090c2936360b4e36cf6835cf3e2206b84fdc6347e6b28ca721ae1371"),
    (
        KEY,
        "1348177752",
        "account_confirmed",
        "6dc5b7aad93cf54915e0089d6c31d61b3833f66f51459171c69f8fa211308848",
    ),
    (
        KEY,
        "1348177752",
        "signature_request_sent",
        "08d45a6b7677492b78be030cef18cfeaece8fe67e163cc8e526ee638ad483756",
    ),
    (
        KEY,
        "1348177752",
        "template_created",
        "4a9b22fa68d5addb8b6313eea9d42ecb393903a4240b71503ef78e9dac6c100d",
    ),
    (
        KEY,
        "1669926463",
        "account_confirmed",
        "ff8b03439122f9160500c3fb855bdee5a9ccba5fff27d3b258745d8f3074832f",
    ),
    (
        OTHER_KEY,
        "1348177752",
        "signature_request_sent",
        "7d0dace3a863bce194333c2a4e90c65f89af08e7c2068230c1c17b9c2b292dc6",
    ),
]
KNOWN_TYPES = ("signature_request_viewed", "signature_request_all_signed", "callback_test", "file_error")


@pytest.mark.parametrize(("key", "time", "event_type", "digest"), PUBLISHED)
def test_a_published_callback_is_accepted(key: str, time: str, event_type: str, digest: str) -> None:
    text = json.dumps(
        {"event": {"event_time": time, "event_type": event_type, "event_hash": digest}}
    ).encode()
    policy = LadderPolicy(key_rings={"default": (key,)}, body_max_bytes=10_000)
    assert isinstance(
        judge(Received("default", "POST", MULTIPART, None, multipart(text), 1_800_000_000.0), policy),
        Accepted,
    )


@given(
    key=st.sampled_from([KEY, OTHER_KEY, "short"]),
    signer=st.sampled_from([KEY, OTHER_KEY, "short"]),
    time=st.integers(0, 2**53).map(str),
    event_type=st.sampled_from(KNOWN_TYPES),
)
@settings(max_examples=60, deadline=None)
def test_we_believe_exactly_what_the_official_library_believes(
    key: str, signer: str, time: str, event_type: str
) -> None:
    digest = event_hash(signer, time, event_type)
    document = {"event": {"event_time": time, "event_type": event_type, "event_hash": digest}}
    official = EventCallbackHelper.is_valid(key, EventCallbackRequest.init(document))
    assert verify_event_hash((key,), time, event_type, digest) == official
