"""What is known here of signature requests, read from Redis for the look for gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from redis import Redis

from deedbox.shared.archives import reading as archives
from deedbox.shared.core.gaps import Known
from deedbox.shared.records import order_state, read_model
from deedbox.shared.records.document_record import DocumentRecord
from deedbox.shared.redis import data_keys, keys

KIND = "signature_request"


def known(
    redis: Redis, streams: Sequence[str], *, fetches: bool, synthesises: bool = False
) -> dict[str, Known]:
    """Read what is known of these streams; left out are erased ones, and those whose encryption key is missing.

    Raises RedisError, Unavailable.
    """
    if not streams:
        return {}
    rows = archives.values(redis, streams, "request", "order", "document")
    tombstones: Any = redis.mget([keys.erased(stream) for stream in streams])
    sealed = [stream for stream, row in zip(streams, rows, strict=True) if data_keys.is_sealed(row[0])]
    found = data_keys.find(redis, sealed)
    return {
        stream: Known(
            model=(read_model.load(found.readable(stream, model)) or {}) if model else {},
            order=(order_state.load(order) or None) if order else None,
            has_document=_is_settled(record),
            fetches=fetches,
            synthesises=synthesises,
        )
        for stream, (model, order, record), tombstone in zip(streams, rows, tombstones, strict=True)
        if tombstone is None and stream not in found.missing
    }


def _is_settled(packed: bytes | None) -> bool:
    """Return whether no first document is to be fetched; a record that cannot be read is replaced by a new one."""
    record = DocumentRecord.load(packed)
    return bool(record and record.settled)


def streams_of(source: str, request_ids: Iterable[str]) -> list[str]:
    """Return the streams of signature requests."""
    return [f"{source}:{KIND}/{request_id}" for request_id in request_ids]
