"""A rate is read from its text, or refused."""

from __future__ import annotations

import pytest

from deedbox.shared.core.attempts import AttemptPolicy, CallRate
from deedbox.shared.core.errors import SettingsError
from deedbox.workers.actions import action
from deedbox.workers.actions.interface import Context, Event
from deedbox.workers.actions.loading import collect
from deedbox.workers.actions.registry import RegisteredAction, Registry


@pytest.mark.parametrize(
    ("text", "rate"),
    [("100/m", (100, 60)), ("1/s", (1, 1)), ("10000/d", (10_000, 86_400)), ("7/h", (7, 3600))],
)
def test_a_rate_is_calls_per_unit_of_time(text: str, rate: tuple[int, int]) -> None:
    found = CallRate.parse(text)
    assert (found.calls, found.window_s) == rate


@pytest.mark.parametrize("text", ["", "100", "0/m", "-1/m", "10001/m", "1/w", "1.5/s", "100/m ", "\u0661/m"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 100/m"):
        CallRate.parse(text)


class _Module:
    """Stands for a user's module."""


def test_an_action_with_an_unusable_limit_is_refused_with_its_name() -> None:
    def act(event: Event, context: Context) -> None:
        del event, context

    module = _Module()
    module.act = action("*", name="crm", rate="often")(act)  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="The action crm has an unusable rate"):
        collect(module)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="crm needs a concurrency of at least 1"):
        Registry([RegisteredAction("crm", ("*",), act, "crm", 1.0, True, AttemptPolicy(), None, 0)])
