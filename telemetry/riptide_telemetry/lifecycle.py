"""The calls with which an application tells telemetry what happens to its streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.traces.tracing import ConnectionTotals, Publishing, Tracing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from riptide_telemetry.labels import (
        CloseReason,
        DropReason,
        ErrorType,
        MessageOrigin,
        PublishOutcome,
        ReadingOutcome,
        ReconnectionOutcome,
        RecordOutcome,
        RejectReason,
        ServicePart,
        Source,
        StreamProtocol,
        TokenOutcome,
    )

_UNTRACED = Tracing()


class Lifecycle:
    """Synchronous calls that never raise and, log records aside, do no I/O.

    This class is telemetry switched off: each call does nothing. ``StreamLifecycleManager``
    records; callers need not know which of the two they have. A call with a ``connection_id`` that
    is not open is ignored, so late calls are safe.
    """

    def connection_established(
        self, connection_id: str, protocol: StreamProtocol, topic: str = "", traceparent: str = ""
    ) -> None:
        """Record that a connection was opened to read a topic.

        ``traceparent`` is the request's header (W3C Trace Context), or empty.
        """

    def stream_started(self, connection_id: str, request_id: str, total_items: int | None) -> None:
        """Record that a stream began on the connection; ``total_items`` is None if unknown."""

    def items_sent(self, connection_id: str, batch: MessageBatch, source: Source) -> None:
        """Record messages that were handed to the transport just now."""

    def items_fanned_out(
        self,
        protocol: StreamProtocol,
        topic: str,
        batch: MessageBatch,
        written_ns: Sequence[int],
    ) -> None:
        """Record one batch of live messages that was handed to the transports of many connections.

        ``written_ns`` has the time of each write, in ascending order, in nanoseconds on the clock
        of ``batch.accepted_ns``. The first batch of a connection belongs to ``items_sent`` instead,
        which records the time to the first message.
        """

    def item_sent(
        self, connection_id: str, size_bytes: int, accepted_ns: int, source: Source
    ) -> None:
        """Record one message; see ``items_sent``."""
        self.items_sent(connection_id, MessageBatch(1, size_bytes, (accepted_ns,)), source)

    def item_dropped(self, connection_id: str, reason: DropReason) -> None:
        """Record one message; see ``items_dropped``."""
        self.items_dropped(connection_id, reason)

    def items_dropped(self, connection_id: str, reason: DropReason, count: int = 1) -> None:
        """Record messages that the consumer will not get."""

    def item_received(self, connection_id: str) -> None:
        """Record that the client sent a message."""

    def write_stalled(self, connection_id: str) -> None:
        """Record that a write began to wait for the client."""

    def write_blocked(self, connection_id: str, seconds: float) -> None:
        """Record how long a write had to wait for the client, once the wait is over."""

    def reconnected(self, connection_id: str, outcome: ReconnectionOutcome) -> None:
        """Record that the consumer gave a position to resume from, and the outcome."""

    def progress_update(
        self, connection_id: str, request_id: str, completed: int, total: int, throughput: float
    ) -> None:
        """Record how far a finite stream has come; ``throughput`` is in messages per second."""

    def stream_completed(
        self, connection_id: str, request_id: str, summary: Mapping[str, object] | None = None
    ) -> None:
        """Record that a stream has delivered everything. Log and listeners get ``summary``."""

    def stream_cancelled(self, connection_id: str, request_id: str) -> None:
        """Record that the client or the server gave up a stream before its end."""

    def stream_error(
        self,
        connection_id: str,
        error: ErrorType,
        recoverable: bool,  # noqa: FBT001  # public signature: callers may pass it by position
        detail: str = "",
    ) -> None:
        """Record an error. Unless it is recoverable, the connection's open streams have failed."""

    def connection_closed(
        self, connection_id: str, reason: CloseReason, totals: ConnectionTotals | None = None
    ) -> None:
        """Record that a connection has closed. Streams that are still open on it end with it.

        ``totals`` are those of the connection's life, for its closing span.
        """

    def connection_rejected(self, protocol: StreamProtocol, reason: RejectReason) -> None:
        """Record that a stream was refused before it began."""

    def publishing(self, topic: str, traceparent: str) -> Publishing:
        """Begin to trace a publish; enter the result while the publish lasts.

        ``traceparent`` is the request's header (W3C Trace Context), or empty. Messages carry the
        ``traceparent`` of the result.
        """
        return _UNTRACED.publishing(topic, traceparent)

    def messages_published(self, outcome: PublishOutcome, count: int, topic: str = "") -> None:
        """Record messages that a publisher offered to a topic."""

    def log_appended(self, seconds: float) -> None:
        """Record how long an append to the log took, whether it succeeded or failed."""

    def log_record(self, outcome: RecordOutcome, count: int = 1) -> None:
        """Record what became of records that the servers of a shared log were to store."""

    def log_written(self, seconds: float) -> None:
        """Record how long such servers took to store records."""

    def log_heard(self, origin: MessageOrigin, accepted_ns: Sequence[int]) -> None:
        """Record messages that a shared log has told of just now.

        ``accepted_ns`` has the moments at which they were accepted, in nanoseconds on the monotonic
        clock of this process.
        """

    def part_failed(self, part: ServicePart) -> None:
        """Record a fault of the service's own. Any thread may call this, one thread for a part."""

    def token_checked(self, outcome: TokenOutcome) -> None:
        """Record what the check of a token found."""

    def keys_read(self, outcome: ReadingOutcome) -> None:
        """Record whether a source of the keys that verify tokens could be read."""

    def messages_unaccounted(self, count: int) -> None:
        """Record by how many messages a subscription breaks offered = sent + dropped + queued."""
