"""A lifecycle that remembers what it was told, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from riptide_telemetry import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from riptide_telemetry import (
        CloseReason,
        DropReason,
        ErrorType,
        Protocol,
        PublishOutcome,
        ReconnectionOutcome,
        RejectReason,
        Source,
    )


class Recorder(Lifecycle):
    """A ``Lifecycle`` for tests of its callers: names and order, no metrics."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    @property
    def lifecycle(self) -> Lifecycle:
        """The recorder, as what the service takes."""
        return self

    def names(self) -> list[str]:
        """Return which verbs were used, in order."""
        return [event[0] for event in self.events]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of every use of a verb."""
        return [event[1:] for event in self.events if event[0] == name]

    @property
    def sent(self) -> int:
        """How many messages were reported as sent."""
        one_by_one: int = sum(event[1] for event in self.of("items_sent"))
        fanned_out: int = sum(
            count * len(written) for _, _, count, _, _, written in self.of("items_fanned_out")
        )
        return one_by_one + fanned_out

    @property
    def dropped(self) -> dict[DropReason, int]:
        """How many messages were reported as dropped, by reason."""
        drops: dict[DropReason, int] = {}
        for _, reason, count in self.of("items_dropped"):
            drops[reason] = drops.get(reason, 0) + count
        return drops

    @property
    def closed(self) -> list[CloseReason]:
        """The reasons of all closes."""
        return [reason for _, reason in self.of("connection_closed")]

    def connection_established(
        self, connection_id: str, protocol: Protocol, topic: str = "", traceparent: str = ""
    ) -> None:
        del topic, traceparent
        self.events.append(("connection_established", connection_id, protocol))

    def connection_rejected(self, protocol: Protocol, reason: RejectReason) -> None:
        self.events.append(("connection_rejected", protocol, reason))

    def connection_closed(
        self, connection_id: str, reason: CloseReason, totals: Any = None
    ) -> None:
        del totals
        self.events.append(("connection_closed", connection_id, reason))

    def stream_started(self, connection_id: str, request_id: str, total_items: int | None) -> None:
        self.events.append(("stream_started", connection_id, request_id, total_items))

    def stream_completed(
        self, connection_id: str, request_id: str, summary: Mapping[str, object] | None = None
    ) -> None:
        self.events.append(("stream_completed", connection_id, request_id, dict(summary or {})))

    def stream_cancelled(self, connection_id: str, request_id: str) -> None:
        self.events.append(("stream_cancelled", connection_id, request_id))

    def stream_error(
        self,
        connection_id: str,
        error: ErrorType,
        recoverable: bool,  # noqa: FBT001  # the verb's third word, as the contract has it
        detail: str = "",
    ) -> None:
        del detail
        self.events.append(("stream_error", connection_id, error, recoverable))

    def progress_update(
        self, connection_id: str, request_id: str, completed: int, total: int, throughput: float
    ) -> None:
        self.events.append(
            ("progress_update", connection_id, request_id, completed, total, throughput)
        )

    def items_sent(
        self,
        connection_id: str,
        count: int,
        size_bytes: int,
        accepted_ns: Sequence[int],
        source: Source,
        trace: Any = None,
        traced: int = -1,
    ) -> None:
        del trace, traced
        self.events.append(
            ("items_sent", connection_id, count, size_bytes, list(accepted_ns), source)
        )

    def items_fanned_out(
        self,
        protocol: Protocol,
        topic: str,
        count: int,
        size_bytes: int,
        accepted_ns: Sequence[int],
        written_ns: Sequence[int],
        trace: Any = None,
        traced: int = -1,
    ) -> None:
        del trace, traced
        self.events.append(
            (
                "items_fanned_out",
                protocol,
                topic,
                count,
                size_bytes,
                list(accepted_ns),
                list(written_ns),
            )
        )

    def items_dropped(self, connection_id: str, reason: DropReason, count: int = 1) -> None:
        self.events.append(("items_dropped", connection_id, reason, count))

    def item_received(self, connection_id: str) -> None:
        self.events.append(("item_received", connection_id))

    def write_stalled(self, connection_id: str) -> None:
        self.events.append(("write_stalled", connection_id))

    def write_blocked(self, connection_id: str, seconds: float) -> None:
        self.events.append(("write_blocked", connection_id, seconds))

    def reconnected(self, connection_id: str, outcome: ReconnectionOutcome) -> None:
        self.events.append(("reconnected", connection_id, outcome))

    def messages_published(self, outcome: PublishOutcome, count: int, topic: str = "") -> None:
        del topic
        self.events.append(("messages_published", outcome, count))

    def log_appended(self, seconds: float) -> None:
        self.events.append(("log_appended", seconds))

    def messages_unaccounted(self, count: int) -> None:
        self.events.append(("messages_unaccounted", count))
