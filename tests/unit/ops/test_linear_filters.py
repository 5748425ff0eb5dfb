"""What filters texts for people takes time in proportion to their length, whatever they are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.ops.web.words import harmless, prose
from deedbox.ops.wording.output import masked, without_addresses
from deedbox.shared.printable import printable

LENGTH: Final = 1_000_000
SHAPES: Final = {
    "one run": "Z",
    "nothing but @": "@",
    "many @ in one run": "a@",
    "many addresses": "a@b ",
    "many separators": "(<",
    "many commands": "`x",
    "many backticks": "`",
    "controls": "\x1b",
    "white space": " ",
}
FILTERS: Final[dict[str, Callable[[str], object]]] = {
    "masked": masked,
    "printable": printable,
    "harmless": harmless,
    "prose": prose,
    "without_addresses": lambda text: without_addresses({"a": [text]}),
}


def took_s(call: Callable[[str], object], text: str) -> float:
    """Return the shortest of three times, in seconds of this thread's own work."""
    times = []
    for _ in range(3):
        begin = time.thread_time()
        call(text)
        times.append(time.thread_time() - begin)
    return min(times)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FILTERS)
def test_four_times_the_text_takes_less_than_eight_times_as_long(name: str, shape: str) -> None:
    text = SHAPES[shape] * (LENGTH // len(SHAPES[shape]))
    short = text[: LENGTH // 4]
    # A quadratic filter would need hours for the whole text: a short one tells first.
    assert took_s(FILTERS[name], text[:20_000]) < 0.2
    assert took_s(FILTERS[name], text) < 8 * max(took_s(FILTERS[name], short), 0.001)


@given(st.text(st.sampled_from("ab@.,;<>() \n\"'"), max_size=30))
def test_no_address_is_left_and_nothing_else_is_touched(text: str) -> None:
    filtered = masked(text)
    runs = filtered.replace("<e-mail>", " ").split()
    assert not any("@" in run.strip("@") for word in runs for run in _parts(word))
    if "@" not in text:
        assert filtered == text


def _parts(word: str) -> list[str]:
    for separator in "<>\"'(),;:":
        word = word.replace(separator, " ")
    return word.split()
