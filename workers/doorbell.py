"""A doorbell as a worker reads it: nothing that is stored in Redis chooses what code runs.

RQ imports functions and callbacks by the names in a job's hash. A ``Doorbell`` never does: its function is fixed, it
has no callbacks and no webhooks, and whatever does not look exactly as ``deedbox.shared.redis.doorbells`` rings is
marked as foreign before RQ has parsed it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from redis.exceptions import ResponseError
from rq.job import Job
from rq.serializers import JSONSerializer

from deedbox.shared.redis import doorbells, keys
from deedbox.workers.jobs import drain

_DATA_MAX_BYTES: Final = 1024
"""Before and after decompression. A doorbell names one lane."""

_FIELDS: Final = frozenset({
    "created_at", "data", "started_at", "ended_at", "last_heartbeat", "worker_name", "origin", "description",
    "enqueued_at", "timeout", "result_ttl", "failure_ttl", "status",
})  # fmt: skip
_EMPTY: Final = frozenset({
    "success_callback_name", "failure_callback_name", "stopped_callback_name", "group_id",
})  # fmt: skip
"""RQ writes these into each job; a doorbell's are empty."""


class Doorbell(Job):
    """RQ's job, reduced to what a worker of Deedbox does."""

    foreign = True
    """The hash is no doorbell's: it is dropped, never run."""

    @property
    def func(self) -> Callable[[str], None]:
        """The only function that there is."""
        return drain

    @property
    def success_callback(self) -> None:
        """None: data chooses no code."""

    @property
    def failure_callback(self) -> None:
        """None: data chooses no code."""

    @property
    def stopped_callback(self) -> None:
        """None: data chooses no code."""

    def send_webhooks(self, *_args: Any, **_options: Any) -> None:
        """Send nothing: data chooses no address."""

    def refresh(self) -> None:
        """Read the hash. A key of another type is as foreign as a hash of other content."""
        try:
            super().refresh()  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            self.foreign = True

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Take over the hash's content if it is a doorbell's; else nothing of it is parsed."""
        self.foreign = True
        if not _is_doorbell(raw_data):
            return
        try:
            super().restore(raw_data)
        except Exception:  # noqa: BLE001 - dates and numbers that somebody wrote: RQ raises what it likes
            return
        self.foreign = False


def _is_doorbell(raw: Mapping[bytes, bytes]) -> bool:
    """Compare with what ``Bells.ring`` writes, byte by byte where code could be named."""
    try:
        fields = {name.decode("ascii"): value for name, value in raw.items()}
        lane = fields["origin"].decode("ascii").removeprefix(keys.RQ_QUEUE_PREFIX)
        named = _unpacked(fields["data"])
    except (KeyError, UnicodeDecodeError, zlib.error):
        return False
    expected = JSONSerializer.dumps([doorbells.JOB, None, [lane], {}])  # type: ignore[no-untyped-call]
    empty = all(not value for name, value in fields.items() if name in _EMPTY)
    return empty and fields.keys() <= _FIELDS | _EMPTY and named == expected


def _unpacked(data: bytes) -> bytes:
    """Decompress no more than a doorbell can hold."""
    return zlib.decompressobj().decompress(data[:_DATA_MAX_BYTES], _DATA_MAX_BYTES)
