"""Exemplars of a histogram: for each bucket, the trace of one of its observations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import Exemplar

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext


class Exemplars:
    """The last exemplar of each bucket. One thread writes, others may read at any time."""

    __slots__ = ("_by_bucket",)

    def __init__(self) -> None:
        self._by_bucket: dict[int, tuple[float, int, SpanContext]] = {}

    def keep(self, bucket: int, value: float, trace: SpanContext) -> None:
        """Replace the bucket's exemplar, unless the trace is not valid."""
        # This runs for each traced batch, so an ``Exemplar`` is made only when a reader collects.
        if trace.is_valid:
            self._by_bucket[bucket] = value, time.time_ns(), trace

    def by_bucket(self) -> dict[str, tuple[float, int, int, int]]:
        """Return value, Unix time in nanoseconds, trace and span of each, by its bucket."""
        return {
            str(bucket): (value, unix_ns, trace.trace_id, trace.span_id)
            for bucket, (value, unix_ns, trace) in self._by_bucket.copy().items()
        }

    def all(self) -> list[Exemplar]:
        """Return the exemplars, in the order of their buckets."""
        return [
            Exemplar({}, value, unix_ns, trace.span_id, trace.trace_id)
            for _, (value, unix_ns, trace) in sorted(
                self._by_bucket.copy().items(), key=lambda item: item[0]
            )
        ]
