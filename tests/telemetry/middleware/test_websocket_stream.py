from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
    from riptide_telemetry.testing import InMemoryTelemetry

SENT = "riptide.streaming.messages_sent"
CLOSED = "riptide.streaming.connections_closed"
OPENED = "riptide.streaming.connections_opened"
ACCEPT = {"type": "websocket.accept"}


@pytest.fixture
def exchange(lifecycle: StreamLifecycleManager) -> Exchange:
    return Exchange(lifecycle, "websocket")


@pytest.mark.parametrize(
    ("disconnect", "reason"),
    [
        ({"code": 1000, "reason": ""}, "client_closed"),
        ({"code": 1001, "reason": "leaving"}, "client_closed"),
        ({"code": 1005, "reason": ""}, "client_closed"),
        ({"code": 1005}, "client_vanished"),
        ({}, "client_vanished"),
        ({"code": 1006, "reason": ""}, "client_vanished"),
        ({"code": 1012}, "draining"),
    ],
)
async def test_how_the_client_went_is_the_reason(
    disconnect: dict[str, Any], reason: str, exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "one"})
        await receive()
        await send({"type": "websocket.send", "text": "too late"})

    exchange.to_app.put_nowait({"type": "websocket.disconnect", **disconnect})
    await exchange.run(app)
    assert telemetry.value(CLOSED, protocol="websocket", reason=reason) == 1
    assert telemetry.value(CLOSED) == 1
    assert telemetry.value(SENT) == 1


@pytest.mark.parametrize(
    ("close", "reason"),
    [
        ({}, "completed"),
        ({"code": 1000}, "completed"),
        ({"code": 1001}, "draining"),
        ({"code": 1003}, "unsupported_frame"),
        ({"code": 1007}, "invalid_frame"),
        ({"code": 1008}, "completed"),
        ({"code": 1009}, "frame_too_large"),
        ({"code": 1011}, "internal_error"),
        ({"code": 1013}, "slow_consumer"),
        ({"code": 4001}, "completed"),
    ],
)
async def test_the_code_that_the_application_closes_with_is_the_reason(
    close: dict[str, Any], reason: str, exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.close", **close})
        assert telemetry.value(CLOSED, reason=reason) == 1
        await receive()

    # Servers report this after a close by the application.
    exchange.to_app.put_nowait({"type": "websocket.disconnect", "code": 1006})
    await exchange.run(app)
    assert telemetry.value(CLOSED) == 1


async def test_a_refused_handshake_is_no_connection(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 1008})

    exchange.to_app.put_nowait({"type": "websocket.connect"})
    await exchange.run(app)
    assert telemetry.value(OPENED) == 0
    assert exchange.sent == [{"type": "websocket.close", "code": 1008}]


async def test_what_fails_after_the_client_has_gone_is_no_fault_of_the_application(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        exchange.refuses = True
        try:
            await send({"type": "websocket.send", "text": "one"})
        finally:
            await receive()

    exchange.to_app.put_nowait({"type": "websocket.disconnect", "code": 1006})
    with pytest.raises(OSError, match="gone"):
        await exchange.run(app)
    assert telemetry.value(SENT) == 0
    assert telemetry.value(CLOSED, reason="client_vanished") == 1


async def test_an_exception_is_an_internal_error_and_passes_untouched(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    error = ValueError("of the application")

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(ACCEPT)
        raise error

    with pytest.raises(ValueError, match="application") as caught:
        await exchange.run(app)
    assert caught.value is error
    assert telemetry.value(CLOSED, reason="internal_error") == 1
    assert telemetry.value("riptide.streaming.errors", error_type="internal") == 1


async def test_returning_without_a_close_is_an_end_that_was_meant(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(ACCEPT)

    await exchange.run(app)
    assert telemetry.value(CLOSED, reason="completed") == 1


async def test_the_size_of_a_message_is_that_of_its_encoding(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.send", "text": "grün"})
        await send({"type": "websocket.send", "text": "green", "bytes": None})
        await send({"type": "websocket.send", "bytes": b"\0\1"})

    exchange.to_app.put_nowait({"type": "websocket.receive", "text": "go"})
    await exchange.run(app)
    assert telemetry.value("riptide.streaming.sent") == 5 + 5 + 2
    assert telemetry.value("riptide.streaming.messages_received") == 1


async def test_messages_pass_untouched_and_their_bytes_are_counted_whatever_holds_them(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    headers, subprotocols = iter([(b"x-mine", b"kept")]), iter(["one"])
    messages: list[dict[str, Any]] = [
        {**ACCEPT, "headers": headers, "subprotocols": subprotocols},
        {"type": "websocket.send", "bytes": bytearray(b"1234")},
        {"type": "websocket.send", "bytes": memoryview(b"12345678").cast("I")},
    ]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    await exchange.run(app)
    assert all(a is b for a, b in zip(exchange.sent, messages, strict=True))
    assert (list(headers), list(subprotocols)) == ([(b"x-mine", b"kept")], ["one"])
    assert telemetry.value("riptide_streaming_sent_bytes_total", protocol="websocket") == 12
