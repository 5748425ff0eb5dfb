"""The read models from which the calls of a batch go on: read with one command, and committed with the outcomes.

``finish.lua`` keeps a model only if it is still the one that was read. Else another process has changed it meanwhile, for
example by an answer of the API: then nothing of the unit is committed, and its calls are made again. They had no effect.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.archives.restoring import restore
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.request_snapshot import state_term, term, terms_of
from deedbox.shared.records import read_model
from deedbox.shared.redis import data_keys, keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.data_keys import Keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.actions.interface import ModelChange, Retry
from deedbox.workers.commit import Commit
from deedbox.workers.lanes.batch import Section
from deedbox.workers.lanes.claims import stream_of

NONE: Final[Mapping[str, bytes]] = {}


class Changes(NamedTuple):
    """What one commit writes of the models."""

    operations: Commit
    values: Mapping[str, bytes]
    """Each unit's model as it is then stored."""


class Models:
    """The models of one batch, by unit."""

    def __init__(self, redis: Redis, sealing: Keys, stored: Mapping[str, bytes] = NONE) -> None:
        """Go on from ``stored``: each unit's model as it was read; empty if there is none."""
        self._redis = redis
        self._sealing = sealing
        self._stored = dict(stored)
        self._reached: dict[str, Mapping[str, Any]] = {}
        """To which the calls so far have led."""

    @classmethod
    def read(cls, scripts: Scripts, sealing: Keys, units: Sequence[str]) -> Models:
        """Read the models of some units. What is archived of their streams is restored first. Raises Unavailable."""
        if not units:
            return cls(scripts.redis, sealing)
        streams = [stream_of(unit) for unit in units]
        stored = _read(scripts.redis, streams)
        missing = [stream for stream, value in zip(streams, stored, strict=True) if not value]
        if missing and restore(scripts, missing):
            stored = _read(scripts.redis, streams)
        return cls(scripts.redis, sealing, dict(zip(units, stored, strict=True)))

    def of(self, unit: str) -> Mapping[str, Any]:
        """Return the model from which the unit's next call goes on. Raises Retry if it cannot be decrypted for now, KeyMissing, Undecodable."""
        if unit not in self._reached:
            stream, stored = stream_of(unit), self._stored[unit]
            self._sealing.seal_value(stream, b"")  # raises here, in a call, what a commit must not meet
            try:
                text = data_keys.open_value(self._redis, stream, stored)
            except Unavailable as error:
                raise Retry(str(error)) from error
            # One that cannot be read is replaced by a new one, made from events and the answers of the API.
            self._reached[unit] = (read_model.load(text) or {}) if text else {}
        return self._reached[unit]

    def follow(self, unit: str, change: ModelChange | None) -> None:
        """Let the unit's next call go on from where one has led."""
        if change is not None:
            self._reached[unit] = change.model

    def changes(self, sections: Iterable[Section]) -> Changes:
        """Return what is to be committed with some sections: of each unit the model to which the last of them leads."""
        made: dict[str, list[ModelChange]] = {}
        for section in sections:
            if section.change is not None:
                made.setdefault(section.unit, []).append(section.change)
        operations, values = Commit(), {}
        for unit, each in made.items():
            stream, model = stream_of(unit), each[-1].model
            source = stream.partition(":")[0]
            named = dict.fromkeys(pair for change in each for pair in terms_of(change.request))
            values[unit] = self._sealing.seal_value(stream, read_model.dump(model))
            operations.model(
                unit, before=self._stored[unit], value=values[unit], state=state_term(source, model),
                terms=[term(source, *pair) for pair in named],
            )  # fmt: skip
        return Changes(operations, values)

    def committed(self, changes: Changes, over: Collection[str]) -> None:
        """Note what is stored now. ``over``: units of which nothing more begins."""
        self._stored |= {unit: value for unit, value in changes.values.items() if unit not in over}


def _read(redis: Redis, streams: Iterable[str]) -> list[bytes]:
    try:
        found: Any = redis.mget([keys.request(stream) for stream in streams])
    except RedisError as error:
        raise translated(error) from error
    return [value or b"" for value in found]
