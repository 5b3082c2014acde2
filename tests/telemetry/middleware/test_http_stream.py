from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
    from riptide_telemetry.testing import InMemoryTelemetry

SENT = "riptide.streaming.messages_sent"
CLOSED = "riptide.streaming.connections_closed"
BLOCKED = "riptide.streaming.backpressure_events"

HEAD: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}
END = {"type": "http.response.body", "body": b""}


def event(text: str, *, more_body: bool = True) -> dict[str, Any]:
    body = f"data: {text}\n\n".encode()
    return {"type": "http.response.body", "body": body, "more_body": more_body}


@pytest.fixture
def exchange(lifecycle: StreamLifecycleManager) -> Exchange:
    return Exchange(lifecycle)


async def test_messages_reach_the_server_as_they_are_and_in_order(exchange: Exchange) -> None:
    messages = [HEAD, event("1"), {"type": "http.response.debug"}, event("2"), END]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    await exchange.run(app)
    assert all(a is b for a, b in zip(exchange.sent, messages, strict=True))


async def test_the_stream_ends_with_its_body_and_not_with_what_is_done_after_it(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(HEAD)
        await send(event("1", more_body=False))
        assert telemetry.value(CLOSED, reason="completed") == 1
        raise RuntimeError("in a background task")

    with pytest.raises(RuntimeError, match="background"):
        await exchange.run(app)
    assert telemetry.value(CLOSED) == 1
    assert telemetry.value(SENT, protocol="sse") == 1


async def test_nothing_counts_as_sent_after_a_disconnect(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(HEAD)
        await send(event("1"))
        await receive()
        await send(event("2"))
        await send(END)

    exchange.to_app.put_nowait({"type": "http.disconnect"})
    await exchange.run(app)
    assert telemetry.value(SENT) == 1
    assert telemetry.value(CLOSED, reason="client_closed") == 1
    assert telemetry.value(CLOSED) == 1


async def test_a_send_that_the_server_refuses_means_that_the_client_has_gone(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(HEAD)
        exchange.refuses = True
        await send(event("1"))

    with pytest.raises(OSError, match="the client has gone"):
        await exchange.run(app)
    assert telemetry.value(SENT) == 0
    assert telemetry.value(CLOSED, reason="client_closed") == 1
    assert telemetry.value("riptide.streaming.errors") == 0


async def test_a_body_that_never_ends_is_a_fault_of_the_application(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(HEAD)

    await exchange.run(app)
    assert telemetry.value(CLOSED, reason="internal_error") == 1


@pytest.mark.parametrize("head", [None, {**HEAD, "headers": []}, {**HEAD, "status": 404}])
async def test_without_a_stream_nothing_is_recorded(
    head: dict[str, Any] | None, exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        if head:
            await send(head)
            await send(END)

    await exchange.run(app)
    assert telemetry.value("riptide.streaming.connections_opened") == 0


async def test_the_head_alone_is_no_stream(
    lifecycle: StreamLifecycleManager, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(HEAD)
        await send(END)

    await Exchange(lifecycle, method="HEAD").run(app)
    assert telemetry.value("riptide.streaming.connections_opened") == 0


async def test_a_cancelled_send_is_recorded_as_waiting_and_its_message_as_not_sent(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(HEAD)
        exchange.writable.clear()
        await send(event("1"))

    task = asyncio.create_task(exchange.run(app))
    await exchange.waiting.wait()
    assert telemetry.value(BLOCKED) == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert telemetry.value(BLOCKED, protocol="sse") == 1
    assert telemetry.value(SENT) == 0
    assert telemetry.value(CLOSED, reason="draining") == 1


async def test_a_send_that_could_go_on_is_recorded_as_waiting_and_sent(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(HEAD)
        exchange.writable.clear()
        await send(event("1", more_body=False))

    task = asyncio.create_task(exchange.run(app))
    await exchange.waiting.wait()
    exchange.writable.set()
    await task
    assert telemetry.value(BLOCKED) == 1
    assert telemetry.value(SENT) == 1
    assert telemetry.value(CLOSED, reason="completed") == 1


async def test_a_body_may_be_a_memoryview_or_a_file(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(HEAD)
        await send({**event("1"), "body": memoryview(b"data: 1\n\n")})
        await send({"type": "http.response.pathsend", "path": "/some/file"})

    await exchange.run(app)
    assert telemetry.value(SENT) == 1
    assert telemetry.value(CLOSED, reason="completed") == 1


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(
    "headers",
    [
        iter,
        lambda pairs: (pair for pair in pairs),
        lambda pairs: map(tuple, pairs),
        lambda pairs: dict(pairs).items(),
        lambda pairs: [iter(pair) for pair in pairs],
        lambda pairs: tuple(list(pair) for pair in pairs),
    ],
)
async def test_headers_of_any_kind_of_iterable_reach_the_server(
    headers: Callable[[Any], Any],
    status: int,
    exchange: Exchange,
    telemetry: InMemoryTelemetry,
) -> None:
    pairs = [(b"content-type", b"text/event-stream"), (b"x-mine", b"kept")]
    head = {"type": "http.response.start", "status": status, "headers": headers(pairs)}
    kept = dict(head)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(head)
        await send(event("1", more_body=False))

    await exchange.run(app)
    assert [tuple(pair) for pair in exchange.sent[0]["headers"]] == pairs
    assert head == kept
    assert telemetry.value("riptide.streaming.connections_opened") == (status == 200)


async def test_a_head_whose_headers_are_none_is_passed_on(exchange: Exchange) -> None:
    head = {"type": "http.response.start", "status": 200, "headers": None}

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(head)

    await exchange.run(app)
    assert [message["headers"] or () for message in exchange.sent] == [()]


async def test_a_stream_of_files_and_with_trailers_passes_untouched_and_completes(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    trailers = {"type": "http.response.trailers", "headers": iter([(b"a", b"b")])}
    messages: list[dict[str, Any]] = [
        {**HEAD, "trailers": True},
        {**event("1"), "body": bytearray(b"data: 1\n\n")},
        {"type": "http.response.zerocopysend", "file": 3, "more_body": True},
        {"type": "http.response.zerocopysend", "file": 3},
        trailers,
    ]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    await exchange.run(app)
    assert all(a is b for a, b in zip(exchange.sent, messages, strict=True))
    assert list(trailers["headers"]) == [(b"a", b"b")]
    assert telemetry.value(SENT) == 1
    assert telemetry.value(CLOSED, reason="completed") == 1


async def test_a_send_that_the_end_of_the_connection_woke_was_not_sent(
    exchange: Exchange, telemetry: InMemoryTelemetry
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        listening = asyncio.create_task(receive())
        await send(HEAD)
        exchange.writable.clear()
        await send(event("1"))
        await send(event("2"))
        await send(END)
        await listening

    task = asyncio.create_task(exchange.run(app))
    await exchange.waiting.wait()
    # uvicorn wakes the sender, too, and reports the disconnect to the receiver only.
    exchange.writable.set()
    exchange.to_app.put_nowait({"type": "http.disconnect"})
    await task
    assert telemetry.value(SENT) == 0
    assert telemetry.value(CLOSED, reason="client_closed") == 1
