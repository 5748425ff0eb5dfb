"""Inputs that people who do this job have met, through the whole pipeline: ingress, bridge, sequencer, actions, API.

``inputs.json``: callbacks, small copies with made-up values (``$time`` and ``$text``: seconds after the first event,
``$repeat``: a long text, ``$again``: an earlier one once more), and what the API answers. ``expected.json``: what must come
of each. The titles say where an input is from.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask, Response, jsonify, request
from redis import Redis
from werkzeug.wrappers import Response as BaseResponse

from deedbox.ingress.app import EXTENSION, create_app
from deedbox.ops.readmodels import requests, timeline
from deedbox.shared.core.identity import is_file_safe
from deedbox.shared.core.signature import content_sha256, event_hash
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import text
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.loopback import LoopbackServer
from deedbox.shared.simulator.paper import render_pdf
from deedbox.workers.process import Process
from tests.component.workers.rig import expire, expire_units, members
from tests.component.workers.server import RedisServer
from tests.support.alert_receiver import AlertReceiver

pytestmark = pytest.mark.real_redis

KEY: Final = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
HERE: Final = Path(__file__).parent
INPUTS: Final[dict[str, Any]] = json.loads((HERE / "inputs.json").read_bytes())
EXPECTED: Final[dict[str, Any]] = json.loads((HERE / "expected.json").read_bytes())
ROUNDS: Final = 12
PDF: Final = render_pdf(["x"])


def spelled_out(value: Any, begin: int) -> Any:
    """Put times and long texts in their places."""
    match value:
        case list():
            return [spelled_out(each, begin) for each in value]
        case {"$time": seconds}:
            return begin + seconds
        case {"$text": seconds}:
            return str(begin + seconds)
        case {"$repeat": [part, count]}:
            return part * (count // len(part))
        case dict():
            return {name: spelled_out(each, begin) for name, each in value.items()}
    return value


def callbacks(row: dict[str, Any], begin: int) -> Iterator[str]:
    """Yield the signed JSON texts of an input."""
    for each in row["send"]:
        body = spelled_out(row["send"][each["$again"]] if "$again" in each else each, begin)
        event = body["event"]
        event["event_hash"] = event_hash(KEY, str(event["event_time"]), event["event_type"])
        yield json.dumps(body)


class Api:
    """Answers as an input says: ``files`` one entry per call and the last one for ever, ``request`` or its like."""

    def __init__(self, rows: dict[str, Any], snapshots: dict[str, Any]) -> None:
        self._rows = rows
        self._snapshots = snapshots
        self.calls: Counter[str] = Counter()
        app = Flask("api")
        app.add_url_rule("/v3/signature_request/<request_id>", "one", self._one)
        app.add_url_rule("/v3/signature_request/files/<request_id>", "files", self._files)
        app.add_url_rule("/storage/<_name>", "storage", lambda _name: Response(PDF))
        self.server = LoopbackServer(app)

    def _one(self, request_id: str) -> BaseResponse:
        row = self._rows.get(request_id, {})
        self.calls[request_id] += 1
        if "request_status" in row:
            return _error(row["request_status"])
        by_call = row.get("request_by_call") or [row.get("request", self._snapshots.get(request_id))]
        found = by_call[min(self.calls[request_id], len(by_call)) - 1]
        return jsonify(signature_request=found) if found else _error(404)

    def _files(self, request_id: str) -> BaseResponse:
        answers = self._rows.get(request_id, {}).get("files", ["pdf"])
        self.calls[request_id + " files"] += 1
        assert request.authorization is not None
        number = self.calls[request_id + " files"]
        return _answer(answers[min(number, len(answers)) - 1])


def _answer(row: Any) -> BaseResponse:
    match row:
        case "pdf":
            return Response(PDF, mimetype="application/pdf")
        case {"cut": True}:
            headers = {"Content-Length": str(len(PDF)), "Connection": "close"}
            return Response(iter([PDF[:100]]), headers=headers)
        case {"pdf_pad": count}:
            return Response(PDF + b"\n" * count, mimetype=row["type"])
        case {"location": location}:
            return Response(status=row["status"], headers={"Location": location})
        case {"json": document}:
            answer = jsonify(document)
            answer.status_code = row["status"]
            return answer
    return Response(row["text"], row["status"], mimetype=row["type"])


def _error(status: int) -> BaseResponse:
    answer = jsonify(error={"error_name": {403: "forbidden", 404: "not_found"}[status], "error_msg": "no"})
    answer.status_code = status
    return answer


class Pipeline:
    """Ingress and workers as their composition roots build them, drained by hand."""

    def __init__(self, environ: dict[str, str]) -> None:
        settings = Settings.load(environ)
        self.app = create_app(settings)
        self._process = Process(settings)
        self._bridge = self._process.bridge()
        self._sweeper = self._process.sweeper()
        self._process.announce("default")
        self.redis = self._process.redis

    def receive(self, texts: Iterator[str]) -> list[int]:
        client = self.app.test_client()
        return [
            client.post(
                "/callbacks", data={"json": body},
                headers={"Content-Sha256": content_sha256(KEY, body.encode("utf-8", "surrogatepass"))},
            ).status_code
            for body in texts
        ]  # fmt: skip

    def settle(self) -> None:
        """Work until nothing is left, and let every wait be over at once."""
        for _ in range(ROUNDS):
            self._bridge.run(lambda: not self.redis.llen(keys.RAW_QUEUE))
            for drain in self._process.drains.values():
                while drain("test", lambda: False).units:
                    pass
                expire_units(self.redis, "waiting")
            expire(self.redis, keys.GAPS_DUE)
            for key in self.redis.keys(keys.PREFIX + "wake:*"):
                expire(self.redis, text(key))
            self._sweeper.once()

    def streams(self) -> list[str]:
        prefix = keys.timeline("default:")
        found = (text(key).removeprefix(prefix) for key in self.redis.keys(prefix + "*"))
        return sorted(each for each in found if not each.startswith("deedbox/"))


def outcome(pipeline: Pipeline, acks: list[int], folder: Path) -> dict[str, Any]:
    """Return what came of an input, as ``expected.json`` writes it."""
    streams = {}
    for stream in pipeline.streams():
        found = timeline.read(pipeline.redis, "default", stream)
        assert found is not None
        streams[stream[:60]] = _seen(pipeline.redis, stream, found)
    stored = sorted(path for path in folder.rglob("*.pdf"))
    assert all(path.read_bytes().startswith(PDF) for path in stored)
    assert all(is_file_safe(path.parent.name) and path.parents[2] == folder for path in stored)
    letters = [text(each) for each in members(pipeline.redis, keys.DEAD)]
    dead = [text(pipeline.redis.hget(keys.dead(each), "reason") or b"") for each in letters]
    return {
        "acks": dict(Counter(map(str, acks))),
        "dead": sorted(dead),
        "streams": streams,
    }


def _seen(redis: Redis, stream: str, found: timeline.Timeline) -> dict[str, Any]:
    kinds = Counter(entry["kind"] for entry in found.entries)
    told = [
        entry["type"].removeprefix("signature_request_")
        for entry in found.entries
        if entry["kind"] in {"released", "late"}
    ]
    seen: dict[str, Any] = {"released": [each for each in told if not each.startswith("deedbox.")]}
    seen |= {kind: kinds[kind] for kind in ("late", "conflict", "note", "reconciled") if kinds[kind]}
    kind, _, identifier = stream.partition("/")
    request_found = requests.read(redis, "default", identifier) if kind == "signature_request" else None
    if request_found is not None:
        seen["state"] = request_found.state
        seen["signers"] = dict(Counter(each.state for each in request_found.signers))
        flags = ("ready_to_sign", "complete", "closed")
        seen["is"] = [name for name in flags if getattr(request_found, name)]
        seen["documents"] = len(request_found.documents)
        seen["title"] = (request_found.title or "")[:20]
    return seen


def alerted(pipeline: Pipeline, receiver: AlertReceiver) -> list[str]:
    """Return what alerts of events named, each of which ``deedbox trace`` must take as it stands."""
    messages = [each["message"].splitlines() for each in receiver.taken]
    named = [name for lines in messages if "dead letter" not in lines[0] for name in lines[1].split(", ")]
    for name in named:
        found = timeline.read(pipeline.redis, "default", timeline.key_of(name))
        assert found is not None, name
    return sorted({timeline.key_of(name) for name in named})


@pytest.mark.parametrize(
    "number", sorted(INPUTS), ids=lambda number: f"{number}: {INPUTS[number]['title'][:60]}"
)
def test_what_people_have_met_ends_as_it_should(
    number: str, redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    assert state.dbsize() == 0
    begin = int(time.time()) - 3600
    row = INPUTS[number]
    texts = list(callbacks(row, begin))
    shown = [json.loads(body).get("signature_request") or {} for body in texts]
    # The API is as far as any callback of the request.
    by_progress = sorted(shown, key=lambda each: bool(each.get("is_complete")))
    snapshots = {str(each.get("signature_request_id")): each for each in by_progress}
    api = Api(spelled_out(row.get("api", {}), begin), snapshots)
    api.server.start()
    try:
        with AlertReceiver() as receiver:
            pipeline = Pipeline({
                "DEEDBOX_API_KEYS": KEY, "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(tmp_path),
                "DEEDBOX_API_URL": api.server.url + "/v3", "DEEDBOX_DOWNLOADABLE_GRACE_S": "0",
                "DEEDBOX_FILES_PER_MINUTE": "1000", "DEEDBOX_TEST_FILES_PER_MINUTE": "1000",
                "DEEDBOX_API_PER_MINUTE": "1000", "DEEDBOX_HOLD_S": "0", "DEEDBOX_ALERT_URLS": receiver.url,
                "DEEDBOX_BUILTINS": "track_status,fetch_documents,reconcile,alert",
            })  # fmt: skip
            acks = pipeline.receive(iter(texts))
            pipeline.settle()
            pipeline.app.extensions[EXTENSION].close()
            found = outcome(pipeline, acks, tmp_path / "documents") | {"alerts": alerted(pipeline, receiver)}
    finally:
        api.server.stop()
    assert found == EXPECTED[number]
