"""Letters of one cause have one kind of error, whatever numbers, ids and addresses their errors name."""

from __future__ import annotations

import time

import pytest

from deedbox.ops.repair.causes import ERROR_CHARS, error_kind


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        ("KeyError: 'order_id'", "KeyError"),
        ("requests.exceptions.ConnectionError: no route", "requests.exceptions.ConnectionError"),
        ("KeyError", "KeyError"),
        ("no customer 4711 for jane@example.com", "no customer * for *"),
        ("request fa5c8a0b0f492d76 is unknown\nmore", "request * is unknown"),
        ("", ""),
    ],
)
def test_the_kind_is_the_exception_or_the_text_without_what_varies(detail: str, kind: str) -> None:
    assert error_kind(detail) == kind


def test_two_errors_that_differ_in_a_number_are_of_one_kind() -> None:
    assert error_kind("no customer 1") == error_kind("no customer 22")


@pytest.mark.parametrize("piece", ["a", "a@", "1", "f", "a.", " ", "@"])
def test_a_hostile_detail_costs_nothing(piece: str) -> None:
    began = time.process_time()
    assert len(error_kind(piece * 200_000)) <= ERROR_CHARS
    assert time.process_time() - began < 1
