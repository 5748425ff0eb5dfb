"""What is behind an error is found however its causes are linked, in a circle too."""

from __future__ import annotations

from itertools import pairwise

import pytest
from redis.exceptions import ResponseError

from deedbox.shared.broker.errors import cause, refuses_for_cause
from deedbox.shared.core.errors import causes
from deedbox.shared.redis.connections import is_of_wrong_type


def linked(*errors: Exception) -> Exception:
    for error, behind in pairwise(errors):
        error.__cause__ = behind
    return errors[0]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_circle_of_causes_ends(length: int) -> None:
    errors = [ValueError(str(number)) for number in range(length)]
    linked(*errors, errors[0])
    assert list(causes(errors[0])) == errors[1:]
    assert is_of_wrong_type(errors[0]) is False
    assert refuses_for_cause(errors[0]) is False
    assert cause(errors[0]) == "ValueError"


def test_contexts_are_followed_only_where_they_are_asked_for() -> None:
    found = ValueError("second")
    found.__context__ = KeyError("first")
    assert list(causes(found)) == []
    assert [type(each) for each in causes(found, contexts=True)] == [KeyError]


def test_a_key_of_another_type_is_recognised_behind_other_errors() -> None:
    assert is_of_wrong_type(
        linked(ValueError(), OSError(), ResponseError("WRONGTYPE Operation against a key"))
    )
    assert not is_of_wrong_type(linked(ValueError(), ResponseError("ERR no such script")))
