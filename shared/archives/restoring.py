"""Restores archived streams: their keys are there again, and the archive is not."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from deedbox.shared.archives.stream_archive import StreamArchive, packed_value
from deedbox.shared.records import timeline_line
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import Operand, Scripts
from deedbox.shared.runtime import logs

log = logs.get("archives")


def restore(scripts: Scripts, streams: Iterable[str]) -> int:
    """Restore those of these streams that are archived. Returns how many were. Raises Unavailable.

    Where another process was faster, that is as good. An archive that cannot be read is moved away.
    """
    names = list(dict.fromkeys(streams))
    restored = 0
    while names:
        with translating():
            packed: Any = scripts.redis.mget([keys.archive(stream) for stream in names])
        archived = [(stream, data) for stream, data in zip(names, packed, strict=True) if data is not None]
        # Another one may have been written between the two calls: then it is read again.
        names = [stream for stream, data in archived if not _restore(scripts, stream, data)]
        restored += len(archived) - len(names)
    return restored


def _restore(scripts: Scripts, stream: str, data: bytes) -> bool:
    archive = StreamArchive.load(data)
    if not archive:
        log.error("archive.unreadable", stream=stream)
        return script_calls.restore(scripts, stream=stream, archive=data, ends_at=None, operations=())
    return script_calls.restore(
        scripts, stream=stream, archive=data, ends_at=archive.ends_at, operations=_operations(archive)
    )


def _operations(archive: StreamArchive) -> list[Operand]:
    found: list[Operand] = []
    for kind, packed in archive.values.items():
        found += ("V", kind, packed if kind == "order" else packed_value(packed))
    if archive.seen:
        found += ("Z", 2 * len(archive.seen))
        for name, at in archive.seen.items():
            found += (repr(at), name)
    if archive.timeline:
        found += ("L", len(archive.timeline), *map(timeline_line.packed, archive.timeline))
    if archive.finds:
        found += ("H", 2 * len(archive.finds), *chain.from_iterable(archive.finds.items()))
    for name, event in archive.events.items():
        fields = event.live()
        found += ("E", name, repr(event.ends_at), 2 * len(fields), *chain.from_iterable(fields.items()))
    return found
