"""The read model of a signature request in Redis: read, changed and written without losing another's change.

``track_status`` writes it from events, and every reading of a request from the API confirms it. Each may run while the
other does, so that the write succeeds only if no process wrote since the read. Nothing is written about an erased request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from redis import Redis

from deedbox.shared.archives import reading as archives
from deedbox.shared.archives.restoring import restore
from deedbox.shared.core.request_snapshot import state_term, term, terms_of
from deedbox.shared.core.signature import Trust
from deedbox.shared.core.status import catch_up, vindicates
from deedbox.shared.records import read_model as records
from deedbox.shared.redis import data_keys, keys, script_calls
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs

log = logs.get("read_model")

NOTHING: Final[Mapping[str, Any]] = {}

Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def change(
    scripts: Scripts, stream: str, how: Change, retention: Retention, request: Mapping[str, Any] = NOTHING
) -> None:
    """Change a stream's read model. ``how`` may be called again. ``request``: what shows by what it is found. Raises RedisError, Unavailable, KeyMissing."""
    written = False
    source = stream.partition(":")[0]
    terms = [term(source, *each) for each in terms_of(request)]
    while not written:
        before: Any = scripts.redis.get(keys.request(stream)) or b""
        if not before and restore(scripts, (stream,)):
            continue
        # One that cannot be read is replaced by a new one, made from events and the answers of the API.
        model = how(
            (records.load(data_keys.open_value(scripts.redis, stream, before)) or {}) if before else {}
        )
        sealed = data_keys.ensure(scripts, (stream,), retention.state_s).seal_value(
            stream, records.dump(model)
        )
        written = script_calls.remember_request(
            scripts, stream=stream, value=sealed, life_s=retention.state_s, before=before,
            state=state_term(source, model), terms=terms,
        )  # fmt: skip


def read(redis: Redis, stream: str) -> Mapping[str, Any]:
    """Return a stream's read model; empty if there is none. Raises RedisError, Unavailable."""
    [[document]] = archives.values(redis, (stream,), "request")
    return (records.load(data_keys.open_value(redis, stream, document)) or {}) if document else {}


def is_shown(redis: Redis, stream: str) -> bool:
    """Return whether the API has shown the request. Raises RedisError, Unavailable."""
    model = read(redis, stream)
    return bool(model) and model.get("trust", {}).get("state") == Trust.CONFIRMED.word


def confirm(
    scripts: Scripts, stream: str, request: Mapping[str, Any], asked_at: float, retention: Retention
) -> None:
    """Merge what the API showed when it was asked at ``asked_at``. Raises RedisError, Unavailable."""
    request_id = stream.rpartition("/")[2]
    genuine = False

    def shown(model: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal genuine
        genuine = vindicates(model, request)
        return {**catch_up(model, request, asked_at), "signature_request_id": request_id}

    change(scripts, stream, shown, retention, request)
    if genuine:
        note_wrong(scripts, stream, asked_at)


def note_wrong(scripts: Scripts, stream: str, at: float) -> None:
    """Note that the API showed what a body with a wrong header said: the header may be read wrongly. Raises RedisError."""
    source = stream.partition(":")[0]
    log.warning("body_signature.contradicted", source=source)
    scripts.redis.hset(keys.evidence(source), mapping={"valid": 0, "wrong_at": round(at, 3)})
