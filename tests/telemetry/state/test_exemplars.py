from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from riptide_telemetry.state.bucket_histogram import BucketHistogram
from riptide_telemetry.state.exemplars import Exemplars

if TYPE_CHECKING:
    import pytest


def trace(number: int) -> SpanContext:
    return SpanContext(trace_id=number, span_id=number + 100, is_remote=False)


def test_a_bucket_keeps_its_last_example_and_buckets_come_in_order() -> None:
    exemplars = Exemplars()
    exemplars.keep(3, 2.0, trace(1))
    exemplars.keep(0, 0.1, trace(2))
    exemplars.keep(3, 2.5, trace(3))
    kept = [(each.value, each.trace_id, each.span_id) for each in exemplars.all()]
    assert kept == [(0.1, 2, 102), (2.5, 3, 103)]


def test_an_example_bears_the_time_of_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_001)
    exemplars = Exemplars()
    exemplars.keep(0, 1.0, trace(1))
    assert exemplars.all()[0].time_unix_nano == 1_700_000_000_000_000_001


def test_an_invalid_trace_is_no_example() -> None:
    exemplars = Exemplars()
    exemplars.keep(0, 1.0, INVALID_SPAN_CONTEXT)
    assert exemplars.all() == []


def test_a_histogram_has_an_example_of_each_bucket_in_its_data_point() -> None:
    histogram = BucketHistogram((0.01, 0.1))
    assert histogram.data_point({}, 0, 0).exemplars == []
    for number, duration_ns in enumerate((10_000_000, 20_000_000, 50_000_000, 10**9), 1):
        histogram.observe_ns(duration_ns)
        histogram.keep_exemplar(duration_ns, trace(number))
    exemplars = histogram.data_point({}, 0, 0).exemplars
    assert [(each.value, each.trace_id) for each in exemplars] == [(0.01, 1), (0.05, 3), (1.0, 4)]
