"""The process table, and what the workers say about their lanes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deedbox.ops.supervise.processes import learn_lanes, processes_per_lane, table
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.settings import Settings

REMOTE = Settings.load({"DEEDBOX_REDIS_URL": "redis://elsewhere/0"})


def _workers(directory: Path, source: str) -> dict[str, str]:
    """Put another package ``deedbox.workers`` before ours."""
    (directory / "deedbox" / "workers").mkdir(parents=True)
    (directory / "deedbox" / "__init__.py").touch()
    (directory / "deedbox" / "workers" / "__init__.py").touch()
    (directory / "deedbox" / "workers" / "__main__.py").write_text(source, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(directory), "PYTHONSAFEPATH": "1"}


def test_each_lane_has_its_processes() -> None:
    lanes = processes_per_lane(["default", "documents", "crm"])
    assert lanes == {"sequencer": 1, "default": 1, "documents": 1, "crm": 1}
    assert {row.name: row.numprocs for row in table(REMOTE, lanes, {})} == {
        "bridge": 1,
        "sweeper": 1,
        "ops": 1,
        "web": 1,
        "worker-sequencer": 1,
        "worker-default": 1,
        "worker-documents": 1,
        "worker-crm": 1,
    }


def test_a_redis_elsewhere_is_not_started_here() -> None:
    assert "redis" not in {row.name for row in table(REMOTE, {}, {})}


@pytest.mark.real_redis
def test_the_embedded_redis_starts_first_and_stops_last(tmp_path: Path) -> None:
    rows = table(Settings.load({"DEEDBOX_DATA_DIR": str(tmp_path)}), {"sequencer": 1}, {})
    by_priority = sorted(rows, key=lambda row: row.priority)
    assert by_priority[0].name == "redis"
    assert by_priority[0].lock == tmp_path / "redis" / "lock"
    assert by_priority[-1].name == "web"
    assert "requirepass" not in " ".join(by_priority[0].command)


def test_lanes_come_from_the_last_line_that_the_workers_print(tmp_path: Path) -> None:
    env = _workers(tmp_path, """print('hello from my module'); print('{"lanes": ["crm"], "actions": []}')""")
    assert learn_lanes(env) == ["crm"]


def test_the_sentence_of_failing_workers_is_passed_on(tmp_path: Path) -> None:
    env = _workers(
        tmp_path, "import sys; sys.exit('Traceback...\\ndeedbox: DEEDBOX_ACTIONS names myapp, correct it.')"
    )
    with pytest.raises(SettingsError, match=r"^DEEDBOX_ACTIONS names myapp, correct it\.$"):
        learn_lanes(env)


def test_a_module_that_ends_the_process_is_one_sentence(tmp_path: Path) -> None:
    env = _workers(tmp_path, "import sys; sys.exit(0)")
    with pytest.raises(SettingsError, match=r"sys\.exit"):
        learn_lanes(env)
