"""``up --reload`` and ``--without-lane``: what is watched, what is started again, and what is left out."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deedbox.ops.supervise import reloading, supervisor
from deedbox.ops.supervise.programs import Exit
from deedbox.ops.supervise.reloading import Reloader, times_below
from deedbox.ops.supervise.up import left
from deedbox.shared.core.errors import SettingsError
from tests.support.waiting import until


class Watching:
    """A reloader over a folder, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.trouble = ""
        self.said: list[str] = []
        self.reloader = Reloader(folder, self._check, self.said.append, poll_s=0.01)

    def _check(self) -> None:
        if self.trouble:
            raise SettingsError(self.trouble)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    (tmp_path / "callbacks.py").write_text("a = 1")
    made = Watching(tmp_path)
    made.reloader.start()
    yield made
    made.reloader.stop()


def test_a_changed_a_new_and_a_removed_file_are_each_due_once(tmp_path: Path, watching: Watching) -> None:
    assert not watching.reloader.due()
    for change in (
        lambda: (tmp_path / "callbacks.py").write_text("a = 22"),
        lambda: (tmp_path / "other.py").write_text(""),
        (tmp_path / "other.py").unlink,
    ):
        before = len(watching.said)
        change()
        until(watching.reloader.due, "a reload is due")
        assert len(watching.said) == before + 1
        assert not watching.reloader.due()
    assert watching.said[0] == "callbacks.py changed; the workers are started again."


def test_code_that_does_not_import_leaves_the_workers_as_they_are(tmp_path: Path, watching: Watching) -> None:
    watching.trouble = "DEEDBOX_ACTIONS names callbacks, which does not import."
    (tmp_path / "callbacks.py").write_text("a = (")
    until(lambda: watching.said, "it is said")
    assert "not reloaded: DEEDBOX_ACTIONS" in watching.said[0]
    assert not watching.reloader.due()


def test_packages_hidden_folders_and_other_files_are_not_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".venv/a.py", "node_modules/b.py", "x/site-packages/c.py", "x/d.txt", "x/e.py", "f.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert {os.path.relpath(path, tmp_path) for path in times_below(tmp_path)} == {"x/e.py", "f.py"}
    monkeypatch.setattr(reloading, "FILES_MAX", 1)
    assert len(times_below(tmp_path)) == 1


def test_what_is_renewed_ends_and_starts_again_and_is_no_fault(tmp_path: Path) -> None:
    script = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
    starts = {name: tmp_path / name for name in ("worker-a", "web")}
    programs = [
        supervisor.Program(name, (sys.executable, "-c", script, str(path))) for name, path in starts.items()
    ]
    exits: list[Exit] = []
    asked = threading.Event()

    def pids(name: str) -> list[str]:
        return starts[name].read_text().split() if starts[name].exists() else []

    def renew() -> tuple[str, ...]:
        if len(pids("worker-a")) == 2:
            supervisor.request_stop()
        elif pids("worker-a") and pids("web") and not asked.is_set():
            asked.set()
            return ("worker-a",)
        return ()

    assert supervisor.run(programs, on_exit=exits.append, renew=renew) == 0
    first, second = pids("worker-a")
    assert first != second
    assert (len(pids("web")), exits) == (1, [])


def test_a_lane_is_left_out_and_the_sequencer_never() -> None:
    lanes = {"sequencer": 1, "default": 1, "crm": 1}
    assert left(lanes, ["crm"]) == {"sequencer": 1, "default": 1}
    for name, said in (("sequencer", "sequencer"), ("crmm", "the lanes are sequencer, default, crm")):
        with pytest.raises(SettingsError, match=said):
            left(lanes, [name])
