"""What telemetry keeps of a connection while it is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riptide_telemetry.state.protocol_metrics import ProtocolMetrics
    from riptide_telemetry.state.topic_metrics import TopicMetrics


class OpenConnection:
    """At most 200 bytes with one stream, because there are many thousand connections.

    Most connections carry one stream: the first has slots of its own, and only a WebSocket with
    several streams at once needs a dictionary.
    """

    __slots__ = (
        "_other_streams",
        "_request_id",
        "_started_ns",
        "awaits_first",
        "counted_error_ns",
        "failed",
        "metrics",
        "opened_ns",
        "topic",
    )

    def __init__(
        self, metrics: ProtocolMetrics, opened_ns: int, topic: TopicMetrics | None = None
    ) -> None:
        self.metrics = metrics
        self.topic = topic
        self.opened_ns = opened_ns
        self.awaits_first = True
        # When the error rate last counted this connection.
        self.counted_error_ns: int | None = None
        # True once an error that ends the connection was recorded: the close then records none.
        self.failed = False
        self._request_id: str | None = None
        self._started_ns = 0
        self._other_streams: dict[str, int] | None = None

    def start_stream(self, request_id: str, now_ns: int) -> bool:
        """Add a stream; return False if one with this id is open already."""
        if request_id in self.streams():
            return False
        if self._request_id is None:
            self._request_id, self._started_ns = request_id, now_ns
        else:
            self._other_streams = {**(self._other_streams or {}), request_id: now_ns}
        return True

    def end_stream(self, request_id: str) -> int | None:
        """Remove a stream; return when it started, or None if none with this id is open."""
        if request_id == self._request_id:
            self._request_id = None
            return self._started_ns
        others = self._other_streams
        return others.pop(request_id, None) if others else None

    def streams(self) -> list[str]:
        """Return the ids of the streams that are open."""
        first = [] if self._request_id is None else [self._request_id]
        return [*first, *(self._other_streams or ())]
