"""Messages that are handed to a transport together, as telemetry counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import SpanContext


class MessageBatch:
    """``count`` messages of ``size_bytes`` bytes in all.

    ``accepted_ns`` says when each message was accepted, on the monotonic clock, in the order of the
    messages; it is empty if that is unknown. One message may stand for all in exemplars and spans:
    ``trace`` is the span that published it, None if it is not sampled, and ``traced`` is its
    position in ``accepted_ns``.

    Applications may derive classes with more attributes.
    """

    __slots__ = ("accepted_ns", "count", "size_bytes", "trace", "traced")

    def __init__(
        self,
        count: int,
        size_bytes: int,
        accepted_ns: Sequence[int] = (),
        trace: SpanContext | None = None,
        traced: int = -1,
    ) -> None:
        self.count = count
        self.size_bytes = size_bytes
        self.accepted_ns = accepted_ns
        self.trace = trace
        self.traced = traced
