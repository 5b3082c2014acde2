"""The words in which an application tells telemetry what happens to its streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.traces.tracing import Publishing, Tracing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from riptide_telemetry.labels import (
        CloseReason,
        DropReason,
        ErrorType,
        PublishOutcome,
        ReconnectionOutcome,
        RejectReason,
        Source,
        StreamProtocol,
    )
from riptide_telemetry.traces.tracing import ConnectionTotals

_UNTRACED = Tracing()


class Lifecycle:
    """Synchronous calls that do no I/O and never raise.

    This class itself is telemetry switched off: each call does nothing. ``StreamLifecycleManager``
    records them; callers need not know which they have. A ``connection_id`` that is not open is
    ignored, so late calls are safe.
    """

    def connection_established(
        self, connection_id: str, protocol: StreamProtocol, topic: str = "", traceparent: str = ""
    ) -> None:
        """Take note that a connection has opened, to read a topic.

        ``traceparent`` is that of the client's own span, as its request had it.
        """

    def stream_started(self, connection_id: str, request_id: str, total_items: int | None) -> None:
        """Take note that a stream has begun on it; the total is known for finite ones."""

    def items_sent(self, connection_id: str, batch: MessageBatch, source: Source) -> None:
        """Record messages that were handed to the transport in one write."""

    def items_fanned_out(
        self,
        protocol: StreamProtocol,
        topic: str,
        batch: MessageBatch,
        written_ns: Sequence[int],
    ) -> None:
        """Record one batch of live messages that was handed to the transports of many connections.

        ``written_ns`` says when each connection was handed the batch, in order of time, on the
        clock of ``batch.accepted_ns``. The first batch of a connection is not for this call but for
        ``items_sent``, which records the time to the first message.
        """

    def item_sent(
        self, connection_id: str, size_bytes: int, accepted_ns: int, source: Source
    ) -> None:
        """Record one message; see ``items_sent``."""
        self.items_sent(connection_id, MessageBatch(1, size_bytes, (accepted_ns,)), source)

    def item_dropped(self, connection_id: str, reason: DropReason) -> None:
        """Take note of one message; see ``items_dropped``."""
        self.items_dropped(connection_id, reason)

    def items_dropped(self, connection_id: str, reason: DropReason, count: int = 1) -> None:
        """Take note of messages that the consumer will not get."""

    def item_received(self, connection_id: str) -> None:
        """Take note that the client sent a message."""

    def write_stalled(self, connection_id: str) -> None:
        """Take note that a write has begun to wait for the client."""

    def write_blocked(self, connection_id: str, seconds: float) -> None:
        """Take note of how long it waited, once it no longer does."""

    def reconnected(self, connection_id: str, outcome: ReconnectionOutcome) -> None:
        """Take note that the consumer brought a position."""

    def progress_update(
        self, connection_id: str, request_id: str, completed: int, total: int, throughput: float
    ) -> None:
        """Take note of how far a finite stream has come; throughput in messages a second."""

    def stream_completed(
        self, connection_id: str, request_id: str, summary: Mapping[str, object] | None = None
    ) -> None:
        """Take note that a stream has delivered everything."""

    def stream_cancelled(self, connection_id: str, request_id: str) -> None:
        """Take note that a side no longer wants the stream."""

    def stream_error(
        self,
        connection_id: str,
        error: ErrorType,
        recoverable: bool,  # noqa: FBT001  # the verb's third word, as the contract has it
        detail: str = "",
    ) -> None:
        """Take note of an error; unless recoverable, the connection's streams have failed."""

    def connection_closed(
        self, connection_id: str, reason: CloseReason, totals: ConnectionTotals | None = None
    ) -> None:
        """Take note that a connection is gone, and with it the streams it still carried.

        ``totals`` are those of its life, where they were kept.
        """

    def connection_rejected(self, protocol: StreamProtocol, reason: RejectReason) -> None:
        """Take note that a stream was refused before it began."""

    def publishing(self, topic: str, traceparent: str) -> Publishing:
        """Begin to trace a publish, to be entered while it lasts; the trace its messages carry.

        ``traceparent`` is that of the publisher's own span, as its request had it, or empty.
        """
        return _UNTRACED.publishing(topic, traceparent)

    def messages_published(self, outcome: PublishOutcome, count: int, topic: str = "") -> None:
        """Take note of messages that a publisher offered, to a topic."""

    def log_appended(self, seconds: float) -> None:
        """Take note that an append to the log has ended, well or badly."""

    def messages_unaccounted(self, count: int) -> None:
        """Take note that a subscription broke the law of conservation by so many messages."""
