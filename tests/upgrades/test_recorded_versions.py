"""What each earlier version left behind at work is finished by this one: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis

from deedbox.ops.demo.evidence import RecordedCall
from deedbox.ops.demo.report import dispatched_twice, out_of_order
from deedbox.shared.documents import open_store
from deedbox.shared.records import read_model
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.lifecycle import SimulatedFact
from tests.component.conftest import redis_server, state
from tests.component.workers.server import RedisServer, until
from tests.upgrades import redis_text
from tests.upgrades.installation import NOTE, SLOW, Version, VersionedInstallation
from tests.upgrades.record import APPLICATION, INSTALLED, RECORDED, WORKERS
from tests.upgrades.scene import FAILING, FINISHED, HELD, NAMES, RETRYING, Scene

__all__ = ["redis_server", "state"]

pytestmark = [pytest.mark.real_redis, pytest.mark.e2e]

COMMAND: Final = str(Path(sys.executable).with_name("deedbox"))

UNRELEASED: Final = "before-0.2.0"
"""Was never released: its data is refused, and stays as it is."""

RELEASED: Final = sorted(path.name for path in RECORDED.iterdir() if path.name != UNRELEASED)


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Path:
    return RECORDED / str(request.param)


@pytest.fixture
def scene(recording: Path) -> Scene:
    return Scene.read(recording / "callbacks.json")


@pytest.fixture
def upgraded(
    recording: Path, scene: Scene, redis_server: RedisServer, state: Redis, tmp_path: Path
) -> Iterator[VersionedInstallation]:
    """Put a recording in place, for this version's processes."""
    redis_text.load(state, recording / "redis.jsonl")
    for name in ("spool", "documents"):
        shutil.copytree(recording / name, tmp_path / "data" / name)
    shutil.copy(recording / "calls.jsonl", tmp_path)
    api = scene.files_api()
    api.start()
    found = VersionedInstallation(Version(), redis_server, tmp_path, api.url)
    yield found
    found.close()
    api.stop()


def _calls(folder: Path, action: str) -> list[RecordedCall]:
    lines = (folder / "calls.jsonl").read_text("utf-8").splitlines(keepends=True)
    return [
        RecordedCall.parse(line)
        for line in lines
        if line.endswith("\n") and json.loads(line)["action"] == action
    ]


def _told(upgraded: VersionedInstallation, *words: str) -> Any:
    done = upgraded.run(COMMAND, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("recording", RELEASED, indirect=True)
def test_this_version_finishes_what_an_earlier_one_began(
    upgraded: VersionedInstallation, scene: Scene, state: Redis, tmp_path: Path
) -> None:
    upgraded.start("web", *WORKERS, SLOW)
    held = scene.callbacks[HELD][0]
    until(lambda: upgraded.post(held), f"the held request's first event is acknowledged\n{upgraded.log()}")
    until(
        lambda: state.zcard(keys.DEAD) == len(scene.callbacks[FAILING]) and _told(upgraded, "dead", "redrive", "--all", "--yes"),
        f"dead letters are run again\n{upgraded.log()}",
    )  # fmt: skip
    facts = set(scene.facts(*NAMES))
    for action in (NOTE, SLOW):
        until(
            partial(_got, tmp_path, action, facts),
            f"{action} got every event; {len(_calls(tmp_path, action))} of {len(facts)}\n{upgraded.log()}",
        )
    until(lambda: len(_documents(state, scene)) == len(NAMES), f"every document is stored\n{upgraded.log()}")
    for action in (NOTE, SLOW):
        calls = _calls(tmp_path, action)
        assert len(calls) == len(facts)
        assert dispatched_twice(calls) == 0
        # A redriven call is flagged late where calls for later events were dead letters already.
        redriven = scene.request_id(FAILING) if action == NOTE else ""
        assert out_of_order(call for call in calls if call.signature_request_id != redriven) == []
    assert state.zcard(keys.DEAD) == 0
    assert {name: _complete(state, scene, name) for name in NAMES} == dict.fromkeys(NAMES, True)
    kinds = [row["kind"] for row in _told(upgraded, "trace", scene.request_id(RETRYING))["entries"]]
    assert kinds.count("released") == len(scene.callbacks[RETRYING])
    assert {"arrived", "retry", "action", "document"} <= set(kinds)


def _got(folder: Path, action: str, facts: set[SimulatedFact]) -> bool:
    return {call.fact for call in _calls(folder, action)} >= facts


def _documents(state: Redis, scene: Scene) -> list[str]:
    streams = [f"default:signature_request/{scene.request_id(name)}" for name in NAMES]
    return [stream for stream in streams if state.exists(keys.document(stream))]


def _complete(state: Redis, scene: Scene, name: str) -> bool:
    model: Any = state.get(keys.request(f"default:signature_request/{scene.request_id(name)}"))
    found = read_model.load(model)
    return bool(found and found["complete"])


@pytest.mark.parametrize("recording", [UNRELEASED, *RELEASED], indirect=True)
def test_no_recording_names_a_folder_of_the_machine_that_made_it(recording: Path) -> None:
    text = (recording / "redis.jsonl").read_text("utf-8")
    places = set(re.findall(r'File \\"(/[^"]*/)', text))
    assert places, "there are tracebacks"
    assert [each for each in places if not each.startswith((INSTALLED, APPLICATION))] == []


@pytest.mark.parametrize("recording", [UNRELEASED, *RELEASED], indirect=True)
def test_documents_of_every_version_are_read(recording: Path, scene: Scene) -> None:
    store = open_store(Settings.load({"DEEDBOX_DOCUMENTS_URL": f"file://{recording}/documents"}).documents)
    request_id = scene.request_id(FINISHED)
    [document] = (recording / "documents" / "default" / request_id).glob("*.pdf")
    with store.open("default", request_id, document.stem, "pdf") as file:
        assert file.read(5) == b"%PDF-"


@pytest.mark.parametrize("recording", [UNRELEASED], indirect=True)
def test_data_of_before_the_first_release_is_refused_in_one_sentence_and_stays_as_it_is(
    upgraded: VersionedInstallation, recording: Path, state: Redis, tmp_path: Path
) -> None:
    spool = {path.name: path.read_bytes() for path in (recording / "spool").iterdir()}
    for name in ("bridge", "sequencer", "sweeper"):
        done = upgraded.run(*upgraded.command(name))
        [sentence] = done.stderr.splitlines()
        assert done.returncode == 2
        assert "before 0.2.0, which this version cannot read" in sentence
    for words in (upgraded.command("web"), [*upgraded.command("web"), "drain"]):
        done = upgraded.run(*words)
        [sentence] = done.stderr.splitlines()
        assert done.returncode == 2
        assert "callbacks that a Deedbox before 0.2.0 acknowledged" in sentence
    redis_text.save(state, tmp_path / "after.jsonl")
    assert _values(tmp_path / "after.jsonl") == _values(recording / "redis.jsonl")
    assert {path.name: path.read_bytes() for path in (tmp_path / "data" / "spool").iterdir()} == spool


def test_data_of_a_later_version_is_refused(redis_server: RedisServer, state: Redis, tmp_path: Path) -> None:
    state.set(keys.SCHEMA, 99)
    installation = VersionedInstallation(Version(), redis_server, tmp_path, "http://127.0.0.1:9/v3")
    done = installation.run(*installation.command("sequencer"))
    installation.close()
    assert done.returncode == 2
    assert "newer Deedbox (schema version 99" in done.stderr
    found = _check(installation)
    assert found["redis data"]["verdict"] == "failed"


def _check(installation: VersionedInstallation) -> dict[str, Any]:
    done = installation.run(COMMAND, "check", "--offline", "--json")
    return {row["name"]: row for row in json.loads(done.stdout)["checks"]}


def _values(path: Path) -> dict[str, Any]:
    """Return what is there, without what ends within a minute by itself."""
    return {row["key"]: row["value"] for row in redis_text.rows(path) if not 0 <= row["lives_ms"] <= 60_000}
