"""The pytest plugin: ``pytest_plugins = ["deedbox.testing.plugin"]``.

Its fixture ``deedbox`` has the functions of the kit. If the test fails, its report lists the calls that were made.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from types import ModuleType
from typing import Any, Final

import pytest

from deedbox import testing
from deedbox.workers.actions.interface import ActionFunction, Event

_SECTION: Final = "Deedbox calls"
_KIT: Final = pytest.StashKey["Kit"]()


class Kit:
    """The functions of ``deedbox.testing``; remembers what was called, for the report."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def callback(self, event_type: str, **wishes: Any) -> testing.Callback:
        """Make a signed callback; see ``deedbox.testing.callback``."""
        return testing.callback(event_type, **wishes)

    def internal_event(self, event_type: str, payload: Mapping[str, Any], **more: str) -> Event:
        """Make an event of Deedbox's own."""
        return testing.internal_event(event_type, dict(payload), **more)

    def lifecycle(self, signers: int = 2, **wishes: Any) -> list[testing.Callback]:
        """Make the callbacks of one signature request."""
        return testing.lifecycle(signers, **wishes)

    def run(
        self, action: ActionFunction, callback_or_event: testing.Callback | Event, *, attempt: int = 1
    ) -> testing.Ran:
        """Call an action as a worker would."""
        ran = testing.run(action, callback_or_event, attempt=attempt)
        self.told.append(f"run, attempt {attempt}: {ran}")
        return ran

    def play(
        self,
        callbacks: Iterable[testing.Callback],
        actions: ActionFunction | ModuleType | Iterable[ActionFunction],
    ) -> list[testing.Call]:
        """Deliver callbacks and return the calls."""
        calls = testing.play(callbacks, actions)
        self.told += map(str, calls)
        return calls

    def crash_points(self, action: ActionFunction, callback: testing.Callback) -> list[testing.Crash]:
        """Kill an action after each of its effects."""
        crashes = testing.crash_points(action, callback)
        self.told += map(str, crashes)
        return crashes


@pytest.fixture
def deedbox(request: pytest.FixtureRequest) -> Kit:
    """Lend the test kit of Deedbox."""
    kit = Kit()
    request.node.stash[_KIT] = kit
    return kit


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what was called to the report of a test that failed."""
    report = yield
    kit = item.stash.get(_KIT, None)
    if report.failed and kit is not None and kit.told:
        report.sections.append((_SECTION, "\n".join(kit.told)))
    return report
