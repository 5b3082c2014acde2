"""Which spans there are, and when: this module is tracing switched off, and costs next to nothing.

There is no span for a send, and none as long as a stream: those would be millions, and a sampler
that decides by the whole trace would decide before a long one has ended.
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
    """What a connection was given in its life: messages, those it missed, encoded bytes."""

    sent: int
    dropped: int
    size_bytes: int


class Publishing:
    """A publish on its way, to be entered; ``traceparent`` is what its messages carry, or empty.

    This one makes no span: messages carry on the trace that the publisher began.
    """

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, _error: BaseException | None, _trace: object) -> None:
        pass

    def accepted(self, first_id: str, count: int, size_bytes: int) -> None:
        """Take note that the log has the messages."""


class Tracing:
    """The spans of streams and messages; here there are none. No method raises."""

    def publishing(self, topic: str, traceparent: str) -> Publishing:  # noqa: ARG002  # it names a span elsewhere
        """Begin a publish to a topic; ``traceparent`` is the publisher's own, if any."""
        parent = read_traceparent(traceparent) if traceparent else None
        # Written anew: what is passed on is what has been understood.
        return Publishing("" if parent is None else write_traceparent(parent))

    def stream_opening(
        self, connection_id: str, protocol: StreamProtocol, topic: str, traceparent: str
    ) -> None:
        """Begin the span of a stream's opening; the client may have a trace of its own."""

    def stream_opened(self, connection_id: str) -> None:
        """End it: the head has been sent. Later calls change nothing."""

    def stream_closed(
        self,
        connection_id: str,
        protocol: StreamProtocol,
        reason: CloseReason,
        duration_s: float,
        totals: ConnectionTotals | None,
    ) -> None:
        """Make the span of a stream's end, with its totals, where they are known."""

    def delivered(
        self,
        protocol: StreamProtocol,
        source: Source,
        topic: str,
        batch: MessageBatch,
        written_ns: Sequence[int],
    ) -> None:
        """Make a span for a batch that was handed to transports and names a trace.

        ``written_ns`` says when each consumer was handed the batch, on the clock of
        ``batch.accepted_ns``.
        """

    def trace_of(self, connection_id: str) -> SpanContext | None:  # noqa: ARG002  # there is none
        """Return the span under which the stream was opened, for its log records."""
        return None
