from __future__ import annotations

import tracemalloc

import pytest

from riptide_telemetry.labels import StreamProtocol
from riptide_telemetry.recording.open_connection import OpenConnection
from riptide_telemetry.state.protocol_metrics import ProtocolMetrics
from riptide_telemetry.testing import InMemoryTelemetry

BYTES_PER_CONNECTION = 200
CONNECTIONS = 10_000


@pytest.fixture
def connection() -> OpenConnection:
    return OpenConnection(ProtocolMetrics(StreamProtocol.WEBSOCKET, lambda: None), 5)


def test_it_remembers_when_each_of_several_streams_started(connection: OpenConnection) -> None:
    for moment, request_id in enumerate("abc"):
        assert connection.start_stream(request_id, moment)
    assert connection.streams() == ["a", "b", "c"]
    assert connection.end_stream("b") == 1
    assert connection.end_stream("a") == 0
    assert connection.streams() == ["c"]
    assert connection.end_stream("c") == 2
    assert connection.streams() == []


def test_a_stream_ends_once(connection: OpenConnection) -> None:
    connection.start_stream("a", 1)
    assert connection.end_stream("a") == 1
    assert connection.end_stream("a") is None
    assert connection.end_stream("never started") is None


def test_a_stream_that_is_open_cannot_start_again(connection: OpenConnection) -> None:
    for request_id in "ab":
        connection.start_stream(request_id, 1)
        assert not connection.start_stream(request_id, 9)
        assert connection.end_stream(request_id) == 1


def test_a_stream_may_start_again_after_its_end(connection: OpenConnection) -> None:
    connection.start_stream("a", 1)
    connection.start_stream("b", 2)
    connection.end_stream("a")
    assert connection.start_stream("a", 3)
    assert connection.end_stream("a") == 3
    assert connection.end_stream("b") == 2


def test_a_connection_with_one_stream_takes_at_most_200_bytes() -> None:
    telemetry = InMemoryTelemetry()
    ids = [f"connection-{number}" for number in range(CONNECTIONS)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for connection_id in ids:
            telemetry.clock.advance(0.001)
            telemetry.lifecycle.connection_established(connection_id, StreamProtocol.SSE)
            telemetry.clock.advance(0.001)
            telemetry.lifecycle.stream_started(connection_id, "request", None)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / CONNECTIONS <= BYTES_PER_CONNECTION
