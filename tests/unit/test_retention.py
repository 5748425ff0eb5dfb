"""The retention settings: what they may be, and what they mean."""

from __future__ import annotations

import pytest

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.retention import DAY_S, Retention
from deedbox.shared.settings import Settings

EVENTS, STATE = "DEEDBOX_EVENT_RETENTION_DAYS", "DEEDBOX_STATE_RETENTION_DAYS"


def test_the_defaults_are_longer_than_the_promised_dedupe_window() -> None:
    assert Settings.load({}).retention == Retention(14 * DAY_S, 14 * DAY_S)


def test_both_can_be_set() -> None:
    assert Settings.load({EVENTS: "8", STATE: "30"}).retention == Retention(30 * DAY_S, 8 * DAY_S)


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({STATE: "6"}, STATE), ({EVENTS: "6"}, EVENTS), ({STATE: "0"}, STATE), ({STATE: "soon"}, STATE),
        ({EVENTS: "4000"}, EVENTS), ({EVENTS: "15"}, EVENTS), ({STATE: "13"}, STATE), ({EVENTS: "9", STATE: "8"}, EVENTS),
    ],
)  # fmt: skip
def test_a_bad_retention_is_one_sentence_that_names_the_setting(environ: dict[str, str], names: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ)
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
