"""What only a WebSocket client can do: speak on an open stream."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import orjson
import pytest
from websockets.exceptions import ConnectionClosed

from tests import plain
from tests.contract.consumers import WebSocketTransport, numbered

if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import StartService
    from tests.service import Service


@pytest.fixture
def transport() -> WebSocketTransport:
    return WebSocketTransport()


async def _next(websocket: Any, event: str = "message") -> dict[str, Any]:
    while True:
        record: dict[str, Any] = orjson.loads(await websocket.recv())
        if record.get("event", "message") == event:
            return record


def _address(service: Service, topic: str) -> str:
    return service.topic(topic).replace("http", "ws", 1)


async def test_a_hello_moves_the_stream_to_another_position(
    start_service: StartService, topic: str
) -> None:
    service = start_service(log="memory")
    payloads = numbered(10)
    first, _ = service.publish(topic, *payloads)
    async with plain.connect(_address(service, topic)) as websocket:
        await _next(websocket, "opened")
        await websocket.send(orjson.dumps({"after": first}).decode())
        await _next(websocket, "resumed")
        assert [(await _next(websocket))["data"] for _ in range(9)] == payloads[1:]
        await websocket.send('{"after": "earliest", "until": "latest"}')
        assert (await _next(websocket, "opened"))["total"] == 10
        assert [(await _next(websocket))["data"] for _ in range(10)] == payloads
        assert (await _next(websocket, "end"))["reason"] == "completed"
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
    assert websocket.close_code == 1000
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    assert service.metric("riptide_streaming_messages_received_total", protocol="websocket") == 2
    assert service.metric("riptide_streaming_streams_ended_total", outcome="completed") == 1
    assert service.metric("riptide_streaming_streams_ended_total", outcome="cancelled") == 2
    assert service.metric("riptide_streaming_connections_opened_total") == 1


@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        (b"\x00\x01", 1003, "unsupported_frame"),
        ("{", 1007, "invalid_frame"),
        ("[]", 1007, "invalid_frame"),
        ('{"after": 7}', 1007, "invalid_frame"),
        ('{"after": "nonsense"}', 1007, "invalid_frame"),
        ('{"until": "noon"}', 1007, "invalid_frame"),
        ('{"from": "earliest"}', 1007, "invalid_frame"),
        ('"' + "x" * 100_000 + '"', 1009, "frame_too_large"),
    ],
)
async def test_a_bad_frame_closes_the_connection_with_the_code_for_it(
    start_service: StartService, topic: str, frame: str | bytes, code: int, reason: str
) -> None:
    service = start_service(log="memory")
    async with plain.connect(_address(service, topic)) as websocket:
        await _next(websocket, "opened")
        await websocket.send(frame)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await websocket.recv()
    assert websocket.close_code == code
    assert websocket.close_reason
    service.wait_for_metric(
        1, "riptide_streaming_connections_closed_total", protocol="websocket", reason=reason
    )
    assert service.metric("riptide_streaming_errors_total", error_type="protocol") == 1
