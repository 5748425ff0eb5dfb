"""Any value goes everywhere: whatever a callback or the API says, no output breaks, and none obeys it."""

from __future__ import annotations

import io
import itertools
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
import structlog
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from deedbox.ingress.app import EXTENSION
from deedbox.ops.web.app import create_app
from deedbox.ops.web.pages.plans import CONFIRMATIONS
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import text
from deedbox.shared.runtime import logs
from deedbox.shared.settings import Settings
from tests.component.conftest import Operate
from tests.component.inputs.test_inputs import Api, Pipeline
from tests.component.outputs import places
from tests.component.outputs.hostile import KEY, TEXTS, Values, odds, signed, texts
from tests.component.workers.rig import members
from tests.component.workers.server import RedisServer
from tests.support.alert_receiver import AlertReceiver

pytestmark = pytest.mark.real_redis

TOKEN: Final = "outputs-test-token-0123"
REPLAYED: Final = "tests.component.outputs.acting.rejects"
COMMANDS: Final = (
    ("status",), ("trace", "{key}"), ("dead", "list"), ("dead", "show", "{letter}"), ("dead", "show", "{letter}", "--raw"), ("dead", "redrive", "--all", "--dry-run"),
    ("conflict", "list", "{key}"), ("conflict", "show", "{key}", "{body}"), ("replay", "--since", "1d", "--action", REPLAYED, "--dry-run"),
    ("erase", "{key}", "--dry-run"),
)  # fmt: skip
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
UNMASKED: Final = re.compile(r"conflict show|dead show .*--raw")
"""Commands that show what a callback says, if they are asked to."""


@contextmanager
def logged(log_format: Any) -> Iterator[io.StringIO]:
    """Collect the log lines of this process as it writes them in production."""
    lines = io.StringIO()
    logs.configure(log_format, "worker", lines)
    try:
        yield lines
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()


def processed(values: Values, environ: dict[str, str]) -> Redis:
    """Run the callbacks of a scene through ingress, bridge, sequencer, actions and alerts."""
    pipeline = Pipeline(environ)
    acks = pipeline.receive(signed(body) for body in values.bodies(int(time.time()) - 3600))
    assert set(acks) <= {200, 400, 401}, acks
    assert 200 in acks
    pipeline.settle()
    pipeline.app.extensions[EXTENSION].close()
    return pipeline.redis


def known(redis: Redis) -> dict[str, list[str]]:
    """Return the ids of everything that there is."""
    prefix = keys.timeline("default:")
    streams = sorted(text(key).removeprefix(prefix) for key in redis.keys(prefix + "*"))
    letters = [text(each) for each in members(redis, keys.DEAD)]
    assert streams
    return {
        "source": ["default"],
        "ordering_key": streams,
        "request_id": [each.partition("/")[2] for each in streams if each.startswith("signature_request/")],
        "letter_id": letters,
        "n": ["1"],
        "name": list(CONFIRMATIONS),
    }


def assert_commands(operate: Operate, environ: dict[str, str], ids: dict[str, list[str]]) -> None:
    """Run every command that reads, in both forms, for the first ids of each kind."""
    for command, as_json in itertools.product(COMMANDS, (False, True)):
        for chosen in _arguments(operate, command, environ, ids):
            arguments = [part.format(**chosen) for part in command] + ["--json"] * as_json
            answer = operate(*arguments, **environ)
            where = " ".join(arguments)
            assert answer.code in {0, 1}, (where, answer)
            if as_json and not answer.sentence:
                places.assert_json(answer.out.encode(), where)
            said = answer.out + answer.sentence + answer.logged
            places.assert_text(said, where, masked=UNMASKED.match(where) is None)


def _arguments(
    operate: Operate, command: tuple[str, ...], environ: dict[str, str], ids: dict[str, list[str]]
) -> Iterator[dict[str, str]]:
    for key in ids["ordering_key"][:5] if "{key}" in command else [""]:
        rows = [{"body": ""}]
        if "{body}" in command:
            rows = operate("conflict", "list", key, "--json", **environ).document["conflicts"]
        for letter, row in itertools.product(ids["letter_id"][:5] if "{letter}" in command else [""], rows):
            yield {"key": key, "letter": letter, "body": row["body"]}


def assert_pages(app: Flask, ids: dict[str, list[str]], values: Values) -> None:
    """Ask for every page and every route of the API, for every id that there is."""
    asked = list(places.paths(app, ids, values))
    assert {"requests.one", "requests.live", "dead.payload", "dead.plan"} <= {
        endpoint for endpoint, _ in asked
    }
    for endpoint, path in asked:
        places.assert_served(app, endpoint, path, TOKEN)


@settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.builds(Values, texts, odds), log_format=st.sampled_from(["json", "console"]))
@example(values=Values("".join(TEXTS[:7]), 2**53 - 1), log_format="console")
@example(values=Values("".join(TEXTS[:7]), 10**400), log_format="json")
@example(values=Values(TEXTS[7], float("nan")), log_format="json")
@example(values=Values(TEXTS[8], [{"": None}]), log_format="console")
def test_no_value_breaks_an_output_or_is_obeyed_by_one(
    values: Values,
    log_format: str,
    redis_server: RedisServer,
    state: Redis,
    tmp_path_factory: pytest.TempPathFactory,
    operate: Operate,
) -> None:
    state.flushall()
    folder = tmp_path_factory.mktemp("outputs")
    api = Api({f"r{n}": {"request": values.request(f"r{n}", is_complete=n == 4)} for n in range(1, 8)}, {})
    api.server.start()
    try:
        with AlertReceiver() as receiver, logged(log_format) as lines:
            environ = {
                "DEEDBOX_API_KEYS": KEY, "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(folder),
                "DEEDBOX_API_URL": api.server.url + "/v3", "DEEDBOX_DOWNLOADABLE_GRACE_S": "0", "DEEDBOX_HOLD_S": "0",
                "DEEDBOX_FILES_PER_MINUTE": "1000", "DEEDBOX_TEST_FILES_PER_MINUTE": "1000",
                "DEEDBOX_API_PER_MINUTE": "1000", "DEEDBOX_ALERT_URLS": receiver.url, "DEEDBOX_ALERT_DETAILS": "on",
                "DEEDBOX_BUILTINS": "track_status,fetch_documents,reconcile,alert",
                "DEEDBOX_ACTIONS": "tests.component.outputs.acting", "DEEDBOX_OPS_TOKEN": TOKEN,
            }  # fmt: skip
            ids = known(processed(values, environ))
            assert_pages(create_app(Settings.load(environ)), ids, values)
        assert_commands(operate, environ, ids)
    finally:
        api.server.stop()
    assert receiver.taken
    for alert in receiver.taken:
        places.assert_text(alert["title"] + alert["message"], "alert", masked=False)
    for line in lines.getvalue().splitlines():
        # Of a line on a terminal, only what the renderer colours may begin with ESC. What an action logs is its own.
        places.assert_text(_COLOUR.sub("", line), "log line", masked="declined" not in line)
    list(places.sidecars(folder / "documents"))
