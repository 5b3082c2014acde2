from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide_telemetry.state.bucket_histogram import BucketHistogram, Moments
from riptide_telemetry.testing import NANOSECONDS

BOUNDS = (0.01, 0.1, 1.0)


def counts(histogram: BucketHistogram) -> list[int]:
    return list(histogram.data_point({}, 0, 0).bucket_counts)


@pytest.fixture
def histogram() -> BucketHistogram:
    return BucketHistogram(BOUNDS)


@pytest.mark.parametrize(
    ("value", "bucket"), [(0.0, 0), (0.01, 0), (0.0101, 1), (0.1, 1), (1.0, 2), (1.1, 3), (99, 3)]
)
def test_an_upper_bound_belongs_to_its_bucket(
    histogram: BucketHistogram, value: float, bucket: int
) -> None:
    histogram.observe(value)
    histogram.observe_ages(round(value * NANOSECONDS), [0])
    assert counts(histogram) == [2 * (index == bucket) for index in range(4)]


def test_a_batch_within_one_bucket_counts_each_message(histogram: BucketHistogram) -> None:
    histogram.observe_ages(100_000_000, [20_000_000, 30_000_000, 40_000_000])
    assert counts(histogram) == [0, 3, 0, 0]
    assert histogram.data_point({}, 0, 0).sum == pytest.approx(0.21)


def test_a_batch_that_spans_buckets_puts_each_message_into_its_own(
    histogram: BucketHistogram,
) -> None:
    now = 10 * NANOSECONDS
    histogram.observe_ages(now, [0, now - 500_000_000, now - 50_000_000, now - 1])
    assert counts(histogram) == [1, 1, 1, 1]
    assert histogram.data_point({}, 0, 0).sum == pytest.approx(10.55)


def test_a_clock_that_jumped_back_lands_in_the_first_bucket(histogram: BucketHistogram) -> None:
    histogram.observe_ages(100, [200])
    assert counts(histogram) == [1, 0, 0, 0]
    assert histogram.data_point({}, 0, 0).sum == 0


def test_an_empty_batch_counts_nothing(histogram: BucketHistogram) -> None:
    histogram.observe_ages(100, [])
    assert counts(histogram) == [0, 0, 0, 0]


def test_the_sum_does_not_drift_over_a_million_small_observations() -> None:
    histogram = BucketHistogram(BOUNDS)
    histogram.observe(1e9)
    for _ in range(100_000):
        histogram.observe(1e-9)
    assert histogram.data_point({}, 0, 0).sum == 1e9 + 1e-4


def test_a_data_point_is_cumulative_and_counts_what_its_buckets_count(
    histogram: BucketHistogram,
) -> None:
    for value in (0.001, 0.05, 5.0):
        histogram.observe(value)
    point = histogram.data_point({"protocol": "sse"}, 7, 9)
    assert point.count == sum(point.bucket_counts) == histogram.count == 3
    assert point.explicit_bounds == BOUNDS
    assert point.attributes == {"protocol": "sse"}
    assert (point.start_time_unix_nano, point.time_unix_nano) == (7, 9)


def test_a_data_point_does_not_change_with_later_observations(histogram: BucketHistogram) -> None:
    before = histogram.data_point({}, 0, 0)
    histogram.observe(0.5)
    assert sum(before.bucket_counts) == 0


@given(
    st.lists(st.integers(0, 120 * NANOSECONDS), min_size=1, max_size=50),
    st.integers(-NANOSECONDS, 200 * NANOSECONDS),
)
def test_ages_of_a_batch_count_as_they_would_one_by_one(moments: list[int], now: int) -> None:
    # In no order, as the moments of messages are between which a clock was set.
    together, shared, apart = (BucketHistogram((0.001, 1.0, 10.0, 60.0)) for _ in range(3))
    together.observe_ages(now, moments)
    shared.observe_ages(now, Moments(moments))
    for moment in moments:
        apart.observe_ns(now - moment)
    assert together.counts == shared.counts == apart.counts
    assert together.sum_ns == shared.sum_ns == apart.sum_ns


@given(
    st.lists(st.integers(0, 3 * NANOSECONDS), max_size=12),
    st.lists(st.integers(0, 6 * NANOSECONDS), max_size=12),
    st.booleans(),
)
def test_ages_at_several_times_count_as_they_would_one_by_one(
    moments: list[int],
    nows: list[int],
    known: bool,  # noqa: FBT001  # drawn by hypothesis, never passed
) -> None:
    nows.sort()
    at_once, one_by_one = BucketHistogram(BOUNDS), BucketHistogram(BOUNDS)
    for _ in range(2):
        # The second round begins with the bucket in which the first one ended.
        at_once.observe_all_ages(nows, Moments(moments) if known else moments)
        for now in nows:
            for moment in moments:
                one_by_one.observe_ns(now - moment)
    assert at_once.counts == one_by_one.counts
    assert at_once.sum_ns == one_by_one.sum_ns
