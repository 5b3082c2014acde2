"""Examples of what a histogram counted: which trace was one of the slow ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import Exemplar

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext


class Exemplars:
    """The last example of each bucket. One thread writes, others may read at any time."""

    __slots__ = ("_by_bucket",)

    def __init__(self) -> None:
        self._by_bucket: dict[int, tuple[float, int, SpanContext]] = {}

    def keep(self, bucket: int, value: float, trace: SpanContext) -> None:
        """Replace the bucket's example, unless the trace is not valid."""
        # Only noted here, for each traced message; made into something when a reader asks.
        if trace.is_valid:
            self._by_bucket[bucket] = value, time.time_ns(), trace

    def all(self) -> list[Exemplar]:
        """Return the examples, in the order of their buckets."""
        return [
            Exemplar({}, value, unix_ns, trace.span_id, trace.trace_id)
            for _, (value, unix_ns, trace) in sorted(
                self._by_bucket.copy().items(), key=lambda item: item[0]
            )
        ]
