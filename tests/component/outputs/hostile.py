"""Values that no field expects, and the callbacks that carry them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from deedbox.shared.core.signature import event_hash

KEY: Final = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
ADDRESS: Final = "jane.doe@signer.example"
"""Hidden wherever addresses are."""

HASHES: Final[set[str]] = set()
"""Every ``event_hash`` that was sent: none of them leaves Deedbox."""

P: Final = "signature_request_"
TEXTS: Final = (
    "\ud800", "a\udfffb", "nul\0nul", "\x1b[2J\x1b]0;title\x07", "\u202eabc\u2066def\u200f", "\u2028\u2029\x85\x9b31m",
    "<script>alert(1)</script>`{{7*7}}`</title>", "Z" * 100_000, "`@" * 50_000, f"for {ADDRESS}, urgent", "", "\r\n\r\nX: y",
    "\U0010ffff\ufffe", "..", "a/b?c#d%00%2f", "[red]x[/red] :smile:", "None", "0", "signature_request/x:y|z",
)  # fmt: skip
NUMBERS: Final = (
    2**53 - 1, 2**63, -(2**63) - 1, 10**400, 1e300, -1e300, -1, -0.0, 0.5, 4_102_444_800, 253_402_300_800,
)  # fmt: skip
ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    [],
    {},
    [[]],
    {"": None},
    [None, 1, "x", {"a": []}],
    *NUMBERS,
    "1e300",
    "9" * 30,
    "NaN",
    "-1",
)

texts: Final = st.sampled_from(TEXTS) | st.text(
    st.characters() | st.characters(categories=["Cs", "Cc", "Cf"]), max_size=40
)
odds: Final = st.sampled_from(ODD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class Values:
    """What one scene is made of."""

    text: str
    odd: Any

    def request(self, request_id: Any, **more: Any) -> dict[str, Any]:
        """Return a ``signature_request`` that has them everywhere."""
        text, odd = self.text, self.odd
        signer = {
            "signature_id": "s1", "signer_email_address": text, "signer_name": text, "signed_at": odd,
            "last_viewed_at": odd, "status_code": odd, "order": odd, "error": text, "decline_reason": text,
        }  # fmt: skip
        return {
            "signature_request_id": request_id, "title": text, "subject": text, "message": text, "metadata": {text: text, "m": odd},
            "created_at": odd, "expires_at": odd, "test_mode": odd, "is_complete": False, "has_error": odd,
            "signatures": [signer, odd, {"signature_id": text, "last_viewed_at": odd}, {"signature_id": odd}],
            "custom_fields": odd, "response_data": odd, "cc_email_addresses": [text], "final_copy_uri": text, **more,
        }  # fmt: skip

    def bodies(self, begin: int) -> Iterator[dict[str, Any]]:
        """Yield callbacks, unsigned."""
        text, odd = self.text, self.odd
        yield _body("sent", begin, self.request("r1"))
        yield _body("viewed", begin + 1, self.request("r1"), related=text)
        yield _body("viewed", begin + 1, self.request("r1", title="other " + text), related=text)
        yield _body("declined", begin + 2, self.request("r2"), reported_for=odd)
        yield _body("invalid", begin + 3, self.request("r3"), message=text)
        yield _body("downloadable", begin + 4, self.request("r4", is_complete=True))
        yield _body("sent", begin + 5, self.request(text))
        yield _body("viewed", begin + 6, self.request(odd))
        yield _body("viewed", begin + 7, odd)
        yield _body("viewed", begin + 8, text)
        yield _body("viewed", odd, self.request("r5"))
        yield _body("viewed", 2**53 - 1, self.request("r6"))
        yield _body(text, begin + 9, self.request("r7"))
        yield {"event": odd, "signature_request": odd}


def _body(name: str, at: Any, request: Any, related: Any = None, reported_for: Any = "account", message: Any = None) -> dict[str, Any]:  # fmt: skip
    metadata = {"related_signature_id": related, "reported_for": reported_for, "event_message": message}
    event = {
        "event_type": P + name,
        "event_time": at if isinstance(at, float) else str(at),
        "event_metadata": metadata,
    }
    return {"event": event, "signature_request": request}


def signed(body: dict[str, Any]) -> str:
    """Return the JSON text, signed if it can be."""
    event = body["event"]
    if isinstance(event, dict) and "event_type" in event:
        name = event["event_type"].encode("utf-8", "replace").decode()
        event["event_hash"] = event_hash(KEY, str(event["event_time"]), name)
        HASHES.add(event["event_hash"])
    return json.dumps(body)
