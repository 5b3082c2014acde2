"""Which spans there are, and when. This module is tracing switched off: it makes none.

There is no span for a single send, because there would be millions, and none as long as a stream,
because tail sampling would decide before its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from riptide_telemetry.traces.trace_context import read_traceparent, write_traceparent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import SpanContext
    from typing_extensions import Self

    from riptide_telemetry.batch import MessageBatch
    from riptide_telemetry.labels import CloseReason, Source, StreamProtocol


class ConnectionTotals(NamedTuple):
    """Messages sent and dropped in a connection's life, and the encoded bytes of those sent."""

    sent: int
    dropped: int
    size_bytes: int


class Publishing:
    """A publish, to be entered while it lasts. Its messages carry ``traceparent``, if not empty.

    This class makes no span: messages continue the publisher's own trace.
    """

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, _error: BaseException | None, _trace: object) -> None:
        pass

    def accepted(self, first_id: str, count: int, size_bytes: int) -> None:
        """Record that the log has the messages. ``size_bytes`` is that of all payloads."""


class Tracing:
    """The spans of streams and messages. This class makes none."""

    def publishing(self, topic: str, traceparent: str) -> Publishing:  # noqa: ARG002  # for subclasses
        """Begin a publish. ``traceparent`` names the publisher's own span, or is empty."""
        parent = read_traceparent(traceparent) if traceparent else None
        # Written anew from what was read, so that no message carries an invalid header.
        return Publishing("" if parent is None else write_traceparent(parent))

    def stream_opening(
        self, connection_id: str, protocol: StreamProtocol, topic: str, traceparent: str
    ) -> None:
        """Begin the span of a stream's opening. ``traceparent`` names the client's own span."""

    def stream_opened(self, connection_id: str) -> None:
        """End the span of the opening: the stream has begun. Later calls do nothing."""

    def stream_closed(
        self,
        connection_id: str,
        protocol: StreamProtocol,
        reason: CloseReason,
        duration_s: float,
        totals: ConnectionTotals | None,
    ) -> None:
        """Make the span of a stream's end, with its totals if they are known."""

    def delivered(
        self,
        protocol: StreamProtocol,
        source: Source,
        topic: str,
        batch: MessageBatch,
        written_ns: Sequence[int],
    ) -> None:
        """Make a span for a batch that was handed to transports, if the batch has a trace.

        ``written_ns`` has the time of each consumer's write, in ascending order, on the clock of
        ``batch.accepted_ns``.
        """

    def trace_of(self, connection_id: str) -> SpanContext | None:  # noqa: ARG002  # for subclasses
        """Return the span of the stream's opening, for its log records, or None."""
        return None
