"""A name that no action has is answered with the one that was meant."""

from __future__ import annotations

import pytest

from deedbox.ops.wording.action_names import meant

ACTIONS = {"myapp.callbacks.boom", "track_status"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("boom", "Did you mean myapp.callbacks.boom?"),
        ("crm", "crm is a lane, not an action."),
        ("track_statsu", "Did you mean track_status?"),
        ("xyzzy", ""),
    ],
)
def test_the_end_of_a_name_a_lane_and_a_typing_error_are_recognised(name: str, hint: str) -> None:
    assert meant(name, ACTIONS, {"crm", "default"}) == hint
