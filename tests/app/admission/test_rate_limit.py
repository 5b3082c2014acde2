from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.admission import bucket_times
from riptide.admission.bucket_times import OwnTimes
from riptide.admission.rate_limit import BURST_S, RateLimit


class Clock:
    """Seconds that a test lets pass."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _take_all(limit: RateLimit, key: str = "a") -> int:
    """Take one by one until there is a wait; return how many."""
    taken = 0
    while not limit.wait_s(key) and taken < 100_000:
        limit.take(key)
        taken += 1
    return taken


@pytest.mark.parametrize("rate", [1 / 60, 0.3, 1.0, 3.0, 7.7, 2000.0])
def test_a_burst_is_some_seconds_worth_and_one_at_least(rate: float) -> None:
    assert _take_all(RateLimit(rate, Clock())) == max(1, math.floor(rate * BURST_S + 1e-6))


def test_after_the_wait_that_was_told_there_is_one_and_not_before() -> None:
    clock = Clock()
    limit = RateLimit(4.0, clock)
    _take_all(limit)
    wait = limit.wait_s("a")
    assert wait == pytest.approx(0.25)
    clock.now += wait / 2
    assert limit.wait_s("a") == pytest.approx(wait / 2)
    clock.now += wait / 2
    assert _take_all(limit) == 1


def test_each_key_has_a_bucket_of_its_own() -> None:
    limit = RateLimit(2.0, Clock())
    _take_all(limit, "a")
    assert limit.wait_s("b") == 0
    assert _take_all(limit, "b") == 10


def test_a_batch_larger_than_the_burst_passes_and_is_paid_for_afterwards() -> None:
    clock = Clock()
    limit = RateLimit(10.0, clock)
    limit.take("a", 1000)
    wait = limit.wait_s("a")
    assert wait == pytest.approx(100 - BURST_S + 0.1)
    clock.now += wait
    assert limit.wait_s("a") == 0


def test_an_infinite_rate_never_waits() -> None:
    limit = RateLimit(math.inf, Clock())
    limit.take("a", 10**9)
    assert limit.wait_s("a") == 0


def test_no_more_buckets_are_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bucket_times, "MAX_KEYS", 3)
    times = OwnTimes()
    limit = RateLimit(1.0, Clock(), times)
    for key in "abc":
        _take_all(limit, key)
    limit.take("a")
    limit.take("d")
    waiting = {key for key in "abcd" if limit.wait_s(key)}
    # The one that was not seen for longest begins anew.
    assert waiting == {"a", "c"}
    assert len(times) == 3


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), max_size=50))
def test_in_the_long_run_no_more_passes_than_the_rate_and_a_burst(
    steps: list[tuple[float, int]],
) -> None:
    clock = Clock()
    limit = RateLimit(3.0, clock)
    passed = last = 0
    for pause, count in steps:
        clock.now += pause
        if not limit.wait_s("a"):
            limit.take("a", count)
            passed += count
            last = count
    # The last batch may be in debt; all before it was paid for.
    assert passed - last <= 3.0 * (clock.now - Clock.now + BURST_S)
