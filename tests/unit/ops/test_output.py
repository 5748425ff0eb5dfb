from __future__ import annotations

import pytest

from deedbox.ops.wording.output import counted, duration, masked, without_addresses
from deedbox.shared.printable import printable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 s"),
        (0.0002, "<1 ms"),
        (0.25, "250 ms"),
        (1.26, "1.3 s"),
        (42.4, "42 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (7_260, "2 h 1 min"),
        (3 * 86_400 + 4 * 3_600, "3 d 4 h"),
        (-3, "-3.0 s"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_what_could_steer_a_terminal_is_shown_instead_of_sent() -> None:
    assert printable("a\x1b[2Jb\u202ec\rd") == "a\\x1b[2Jb\\u202ec\\rd"
    assert printable("Straße\n\tüber") == "Straße\n\tüber"


def test_addresses_are_hidden_wherever_they_are() -> None:
    assert masked("no account for <jane.doe+x@mail.example.com>, sorry") == "no account for <<e-mail>>, sorry"
    nested = {"a": ["to j@x.org", 1, None], "b": {"c": "mail:j@x.org"}}
    assert without_addresses(nested) == {"a": ["to <e-mail>", 1, None], "b": {"c": "mail:<e-mail>"}}


def test_a_count_agrees_with_its_noun() -> None:
    assert [counted(n, "entry", "entries") for n in (0, 1, 2)] == ["0 entries", "1 entry", "2 entries"]
    assert counted(2, "letter") == "2 letters"
