"""Pages of a sorted set: complete, whatever its scores are and whatever moves meanwhile."""

from __future__ import annotations

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.ops.repair import index_pages

INDEX = "index"
SCORES = st.lists(st.integers(0, 5), max_size=30)
"""Few values: many members have the same."""


def _filled(scores: list[int]) -> fakeredis.FakeStrictRedis:
    redis = fakeredis.FakeStrictRedis()
    if scores:
        redis.zadd(INDEX, {f"m{n}": score for n, score in enumerate(scores)})
    return redis


@given(SCORES, st.integers(1, 4), st.integers(0, 5))
def test_every_member_from_a_score_on_comes_once_in_order(scores: list[int], page: int, edge: int) -> None:
    redis = _filled(scores)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(index_pages, "PAGE", page)
        up = [each for found in index_pages.oldest_first(redis, INDEX, edge) for each in found]
        down = [each for found in index_pages.newest_first(redis, INDEX, edge) for each in found]
    assert up == [each.decode() for each in redis.zrange(INDEX, edge, "+inf", byscore=True)]
    assert down == [each.decode() for each in redis.zrange(INDEX, edge, "-inf", byscore=True, desc=True)]


@given(SCORES, st.integers(1, 4), st.data())
def test_nothing_is_missed_that_grows_or_is_removed_meanwhile(
    scores: list[int], page: int, data: st.DataObject
) -> None:
    redis = _filled(scores)
    everything = {f"m{n}" for n in range(len(scores))}
    seen: set[str] = set()
    removed: set[str] = set()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(index_pages, "PAGE", page)
        for turn, found in enumerate(index_pages.oldest_first(redis, INDEX)):
            seen |= set(found)
            if everything and turn < len(scores):
                redis.zadd(INDEX, {data.draw(st.sampled_from(sorted(everything))): 6 + turn}, xx=True)
                gone = data.draw(st.sampled_from(sorted(everything)))
                redis.zrem(INDEX, gone)
                removed.add(gone)
    assert seen | removed == everything
