"""Which stream a callback belongs to (ordering key) and which fact it reports (fingerprint).

``event_hash`` is no identity: it signs time and type only, so two requests with the same event in the same
second share it, and so do the account's and the app's delivery of one event. The raw bytes are none either:
whether a retry repeats them is documented nowhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, TypeGuard
from urllib.parse import quote

from deedbox.shared.core.callback import ParsedCallback
from deedbox.shared.core.jsontext import canonical, dumps
from deedbox.shared.core.values import value

FINGERPRINT_BYTES: Final = 16
"""128 bits: at a billion facts, a collision of two has a chance below 10**-20."""

SHARDS: Final = 16
"""Units of mutual exclusion of the sequencer: at most so many processes drain the inbox in parallel.
Changing it while callbacks wait would let two shards drain one key at once; it is a constant on purpose."""

PER_SIGNER_TYPES: Final = frozenset(
    {
        "signature_request_viewed",
        "signature_request_signed",
        "signature_request_reassigned",
        "signature_request_remind",
        "signature_request_email_bounce",
        "signature_request_signer_removed",
    }
)
"""Types that happen once per signer (docs/protocol.md, section 4): without a related_signature_id, only the
snapshot of the signatures can tell one signer's event from another's."""

_TIME_OF: Final[Mapping[str, str]] = {
    "signature_request_viewed": "last_viewed_at",
    "signature_request_signed": "signed_at",
    "signature_request_remind": "last_reminded_at",
}
"""Where a snapshot shows that a signer's event happened at this very second."""

SIMULATED: Final = "simulated_"
"""How the ids of requests begin that ``deedbox simulate`` makes up: the real API is asked for none of them."""

_FAX_FILES: Final = re.compile(r"/fax/files/([^/?#]+)")
_ID_MAX_CHARS: Final = 200
_FILE_SAFE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


@value
class OrderingKey:
    """The stream whose order matters: ``kind/id``, or ``type/<event_type>`` when no id was found."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"

    @property
    def ordered(self) -> bool:
        """False for streams that are no subject's history, only a bucket of events without an id."""
        return self.kind != "type"


@value
class Fact:
    """The identity of what a callback reports."""

    source: str
    key: OrderingKey
    fingerprint: str
    """32 hexadecimal characters."""

    @property
    def stream(self) -> str:
        """Source and ordering key in one text: the unit of order, dedupe and retention."""
        return f"{self.source}:{self.key}"


def _clean_id(value: object) -> str | None:
    """Make an id of the payload safe as a part of keys: printable ASCII, bounded; None for no id."""
    if not isinstance(value, str) or not value:
        return None
    # quote() leaves ~ alone; here it marks the short form of a long id, which no id may pass for.
    cleaned = quote(value, safe="", errors="surrogatepass").replace("~", "%7E")
    return cleaned if len(cleaned) <= _ID_MAX_CHARS else "~" + _digest("long-id", value)


def _sub(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}


def ordering_key(callback: ParsedCallback) -> OrderingKey:
    """Derive the ordering key; never with an empty id (a fax carries an empty signature_request_id)."""
    payload = callback.payload
    for kind, field in (
        ("signature_request", "signature_request_id"),
        ("template", "template_id"),
        ("account", "account_id"),
    ):
        identifier = _clean_id(_sub(payload, kind).get(field))
        if identifier is not None:
            return OrderingKey(kind, identifier)
    for field in ("files_url", "final_copy_uri"):
        url = _sub(payload, "transmission").get(field)
        match = _FAX_FILES.search(url) if isinstance(url, str) else None
        if match is not None and (identifier := _clean_id(match.group(1))) is not None:
            return OrderingKey("fax", identifier)
    return OrderingKey("type", callback.event_type)


def identify(source: str, callback: ParsedCallback, redrive: str = "") -> Fact:
    """Compute a callback's identity. ``redrive`` is an operator's mark that makes it a separate fact.

    Merges: retries, the account's and the app's delivery, redeliveries of the broker.
    Keeps apart: two requests in the same second, two signers in the same second, two sources.
    """
    key = ordering_key(callback)
    signature = callback.related_signature_id or _only_signer(callback)
    parts: list[str] = [source, callback.event_type, str(callback.event_time), str(key), signature or ""]
    if signature is None and callback.event_type in PER_SIGNER_TYPES:
        parts.append(_signers_digest(callback.payload))
    if not key.ordered:
        parts.append(body_digest(callback.payload))
    if redrive:
        parts.append("redrive:" + redrive)
    return Fact(source, key, _digest("fact", *parts))


def body_digest(payload: Mapping[str, Any]) -> str:
    """Digest the canonical body: the same fact with another digest is a conflict. Costs as much as all else of an identity."""
    return _digest("body", canonical(_canonical_body(payload)))


def body_text(payload: Mapping[str, Any]) -> bytes:
    """Return the canonical body with its names as they came: two bodies of one text have one digest. For a third of its cost."""
    return dumps(_canonical_body(payload))


def shard_of(stream: str) -> int:
    """Map a stream to its shard, the same in every process and version."""
    return int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=2).digest()) % SHARDS


def is_shard(value: object) -> TypeGuard[int]:
    """Return whether a value is the number of a shard."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < SHARDS


def is_file_safe(identifier: str) -> bool:
    """Return whether an id may become a file name: letters, digits, _ and - only, so no separator and no dot."""
    return _FILE_SAFE.fullmatch(identifier) is not None


def is_simulated(request_id: str) -> bool:
    """Return whether a signature request is the simulator's. No id of the vendor's begins so."""
    return request_id.startswith(SIMULATED)


def _canonical_body(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all deliveries of one event share: no event_metadata, no account_guid, no client_id, and no event_hash.

    The hash is another one after a change of the primary key.
    """
    body = _without(payload, "account_guid", "client_id")
    event = body.get("event")
    if isinstance(event, dict):
        body["event"] = event = _without(event, "event_metadata", "event_hash")
        if "event_time" in event:
            event["event_time"] = str(event["event_time"])
    request = body.get("signature_request")
    if isinstance(request, dict):
        body["signature_request"] = _without(request, "client_id")
    return body


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    left = dict(fields)
    for name in names:
        left.pop(name, None)
    return left


def _signatures(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = _sub(payload, "signature_request").get("signatures")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _only_signer(callback: ParsedCallback) -> str | None:
    """Return whom a per-signer event is about, where its snapshot leaves one choice; None if it does not.

    One delivery of an event may carry the metadata that names the signer, and another none. They are one fact.
    """
    if callback.event_type not in PER_SIGNER_TYPES:
        return None
    rows = _signatures(callback.payload)
    if len(rows) > 1:
        at, column = callback.event_time, _TIME_OF.get(callback.event_type, "")
        rows = [row for row in rows if isinstance(row.get(column), int) and row[column] == at]
    found = rows[0].get("signature_id") if len(rows) == 1 else None
    return found if isinstance(found, str) and found else None


def _signers_digest(payload: Mapping[str, Any]) -> str:
    columns = ("signature_id", "status_code", "signed_at", "last_reminded_at")
    rows = [[row.get(name) for name in columns] for row in _signatures(payload)]
    return _digest("signers", *sorted(canonical(row) for row in rows))


def _digest(*parts: str | bytes) -> str:
    """Digest a sequence of texts, each with its length, so that no two sequences run together."""
    pieces: list[bytes] = []
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        pieces += (len(data).to_bytes(8), data)
    return hashlib.blake2b(b"".join(pieces), digest_size=FINGERPRINT_BYTES).hexdigest()
