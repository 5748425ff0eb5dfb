"""What filters texts for people takes time in proportion to their length, whatever they are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.ops.web.pages.words import harmless, prose
from deedbox.ops.wording.output import masked, without_addresses
from deedbox.shared.printable import printable

SHORT: Final = 8_000
TIMES_LONGER: Final = 16
NOT_QUADRATIC: Final = 4 * TIMES_LONGER
"""A quadratic filter takes 256 times as long for 16 times the text. The rest is room for what else the machine does."""
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
    """Return the shortest of some times, in seconds of this thread's own work."""
    times = []
    for _ in range(5):
        begin = time.thread_time()
        call(text)
        times.append(time.thread_time() - begin)
    return min(times)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FILTERS)
def test_the_work_grows_with_the_text_and_not_with_its_square(name: str, shape: str) -> None:
    """Both sizes in one run: no bound of seconds, which another machine would miss."""
    short = SHAPES[shape] * (SHORT // len(SHAPES[shape]))
    assert took_s(FILTERS[name], short * TIMES_LONGER) < NOT_QUADRATIC * max(
        took_s(FILTERS[name], short), 1e-5
    )


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
