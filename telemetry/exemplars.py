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
        self._by_bucket: dict[int, Exemplar] = {}

    def keep(self, bucket: int, value: float, trace: SpanContext) -> None:
        """Replace the bucket's example, unless the trace is not valid."""
        if trace.is_valid:
            self._by_bucket[bucket] = Exemplar(
                filtered_attributes={},
                value=value,
                time_unix_nano=time.time_ns(),
                span_id=trace.span_id,
                trace_id=trace.trace_id,
            )

    def all(self) -> list[Exemplar]:
        """Return the examples, in the order of their buckets."""
        by_bucket = self._by_bucket.copy()
        return [by_bucket[bucket] for bucket in sorted(by_bucket)]
