"""What was written once is read for good: a recorded sample of each sent and stored form, by schema version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deedbox.shared.core import jsontext
from deedbox.shared.records import order_state
from tests.unit.records.forms import FORMS, Form
from tests.unit.records.samples import RECORDED, SAMPLES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "wire.md").read_text("utf-8")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_recorded_sample_is_read_as_what_it_was(name: str) -> None:
    assert SAMPLES[name].load((RECORDED / name).read_bytes()) == SAMPLES[name].value


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_written_now_is_what_was_recorded(name: str) -> None:
    """Another form needs another schema version, and samples of its own."""
    assert SAMPLES[name].text() == (RECORDED / name).read_bytes()


def test_no_sample_is_left_over() -> None:
    assert {path.name for path in RECORDED.iterdir()} == SAMPLES.keys()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_page_says_what_becomes_of_a_form_that_cannot_be_read(form: Form) -> None:
    assert f"| {form.name} | `{form.where}` | {form.policy} |" in PAGE


def test_an_order_state_of_version_0_2_0_keeps_what_was_given_up() -> None:
    """It named what was given up, without a time."""
    held, greatest, satisfied, wildcards, _, noted = jsontext.loads((RECORDED / "order_state").read_bytes())
    text = jsontext.dumps([held, greatest, satisfied, wildcards, ["signature_request_sent|"], noted])
    assert order_state.load(text) == replace(
        SAMPLES["order_state"].value, given_up={"signature_request_sent|": 0}
    )
