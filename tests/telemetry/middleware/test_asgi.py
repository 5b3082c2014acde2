from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from riptide_telemetry.lifecycle import Lifecycle
from riptide_telemetry.middleware.asgi import StreamTelemetryMiddleware
from riptide_telemetry.providers import start_telemetry
from tests import plain
from tests.telemetry.foreign_app import BIG, make_app, serving
from tests.telemetry.recorded_server import SENT, RecordedServer, vanish

if TYPE_CHECKING:
    from collections.abc import Iterator

ACTIVE = "riptide_streaming_active_connections"
CLOSED = "riptide_streaming_connections_closed_total"
OPENED = "riptide_streaming_connections_opened_total"
BLOCKED = "riptide_streaming_backpressure_events_total"
LATENCIES = "riptide_streaming_delivery_latency_seconds_count"


@pytest.fixture
def foreign() -> Iterator[RecordedServer]:
    telemetry = start_telemetry("1.0")
    app = make_app()
    app.add_middleware(
        StreamTelemetryMiddleware, lifecycle=telemetry.lifecycle, chunked_paths="/words"
    )
    with serving(app) as served:
        yield RecordedServer(served, telemetry)
    telemetry.shutdown()


def test_server_sent_events_of_somebody_else_are_recorded(foreign: RecordedServer) -> None:
    assert foreign.get("/sse?count=4").text.count("event: tick") == 4
    foreign.wait_for(1, CLOSED, protocol="sse", reason="completed")
    assert foreign.metric(SENT, protocol="sse") == 4
    assert foreign.metric("riptide_streaming_streams_ended_total", outcome="completed") == 1
    assert foreign.metric("riptide_streaming_time_to_first_message_seconds_count") == 1
    assert foreign.metric(ACTIVE) == 0


def test_no_latency_is_made_up(foreign: RecordedServer) -> None:
    foreign.get("/sse")
    foreign.wait_for(3, SENT)
    assert foreign.metric(LATENCIES) == 0


def test_ndjson_lines_are_counted_and_not_the_writes(foreign: RecordedServer) -> None:
    answer = foreign.get("/some.ndjson?count=5")
    foreign.wait_for(1, CLOSED, protocol="ndjson", reason="completed")
    assert foreign.metric(SENT, protocol="ndjson") == 5
    sent_bytes = foreign.metric("riptide_streaming_sent_bytes_total", protocol="ndjson")
    assert sent_bytes == len(answer.content)


def test_ordinary_responses_are_not_recorded(foreign: RecordedServer) -> None:
    assert foreign.get("/plain").text == "data: not a stream\n\n"
    assert foreign.get("/missing").status_code == 404
    assert foreign.metric(OPENED) == 0


def test_other_chunked_responses_are_recorded_where_that_was_asked_for(
    foreign: RecordedServer,
) -> None:
    assert foreign.get("/words").text == "once upon a time"
    foreign.wait_for(3, SENT, protocol="ndjson")
    foreign.wait_for(1, CLOSED, reason="completed")


def test_a_websocket_is_recorded_in_both_directions(foreign: RecordedServer) -> None:
    with plain.connect_blocking(f"ws://127.0.0.1:{foreign.port}/echo") as client:
        for text in ("one", "two"):
            client.send(text)
            assert client.recv() == text
        assert foreign.metric(ACTIVE, protocol="websocket") == 1
    foreign.wait_for(1, CLOSED, protocol="websocket", reason="client_closed")
    assert foreign.metric(SENT, protocol="websocket") == 2
    assert foreign.metric("riptide_streaming_messages_received_total") == 2
    assert foreign.metric(ACTIVE) == 0


def test_a_websocket_that_the_application_closes_is_completed(foreign: RecordedServer) -> None:
    with plain.connect_blocking(f"ws://127.0.0.1:{foreign.port}/echo") as client:
        client.send("close")
        foreign.wait_for(1, CLOSED, protocol="websocket", reason="completed")
    assert foreign.metric(CLOSED) == 1


def test_a_websocket_that_breaks_off_has_vanished(foreign: RecordedServer) -> None:
    with plain.connect_blocking(f"ws://127.0.0.1:{foreign.port}/echo") as client:
        client.send("one")
        client.recv()
        client.socket.shutdown(socket.SHUT_RDWR)
    foreign.wait_for(1, CLOSED, protocol="websocket", reason="client_vanished")


def test_a_client_that_vanishes_mid_stream_is_recorded_once(foreign: RecordedServer) -> None:
    client = foreign.request_by_hand("/endless.ndjson")
    while b"tick" not in client.recv(4096):
        pass
    vanish(client)
    foreign.wait_for(1, CLOSED, protocol="ndjson", reason="client_closed")
    sent = foreign.metric(SENT)
    assert sent >= 1
    assert foreign.metric("riptide_streaming_streams_ended_total", outcome="cancelled") == 1
    assert foreign.metric("riptide_streaming_errors_total") == 0
    foreign.get("/plain")
    assert foreign.metric(SENT) == sent


def test_a_slow_reader_shows_as_backpressure(foreign: RecordedServer) -> None:
    client = foreign.request_by_hand("/flood.ndjson", "Connection: close")
    assert client.recv(1) == b"H"
    assert foreign.sent_when_stuck() < 64
    while client.recv(BIG):
        pass
    foreign.wait_for(1, CLOSED, reason="completed")
    assert foreign.metric(SENT) == 64
    assert foreign.metric(BLOCKED, protocol="ndjson") >= 1
    assert foreign.metric("riptide_streaming_write_wait_seconds_sum", protocol="ndjson") > 0
    client.close()


def test_what_waited_for_a_client_that_left_was_not_sent(foreign: RecordedServer) -> None:
    client = foreign.request_by_hand("/flood.ndjson")
    assert client.recv(1) == b"H"
    sent = foreign.sent_when_stuck()
    vanish(client)
    foreign.wait_for(1, CLOSED, reason="client_closed")
    assert foreign.metric(SENT) == sent
    assert foreign.metric(BLOCKED) >= 1


def test_a_slow_websocket_shows_as_backpressure(foreign: RecordedServer) -> None:
    with plain.connect_blocking(
        f"ws://127.0.0.1:{foreign.port}/flood", max_size=None, max_queue=1, compression=None
    ) as client:
        for _ in range(64):
            assert len(client.recv()) == BIG
        foreign.wait_for(64, SENT, protocol="websocket")
        assert foreign.metric(BLOCKED, protocol="websocket") >= 1


def test_an_application_that_fails_mid_stream_is_an_internal_error(foreign: RecordedServer) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        foreign.get("/broken.ndjson")
    foreign.wait_for(1, CLOSED, protocol="ndjson", reason="internal_error")
    assert foreign.metric(SENT) == 1
    assert foreign.metric("riptide_streaming_errors_total", error_type="internal") == 1


class Failing(Lifecycle):
    """A lifecycle whose every call raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


@pytest.mark.parametrize("path", ["/sse", "/some.ndjson", "/words", "/plain"])
def test_a_failing_telemetry_changes_no_byte(path: str, foreign: RecordedServer) -> None:
    app = StreamTelemetryMiddleware(make_app(), Failing(), chunked_paths=["/words"])
    with serving(app) as served:
        recorded = plain.get(f"http://127.0.0.1:{served.port}{path}")
    assert recorded.content == foreign.get(path).content
    assert recorded.status_code == 200


def test_a_failing_telemetry_leaves_websockets_alone() -> None:
    with (
        serving(StreamTelemetryMiddleware(make_app(), Failing())) as served,
        plain.connect_blocking(f"ws://127.0.0.1:{served.port}/echo") as client,
    ):
        client.send("one")
        assert client.recv() == "one"


async def test_what_is_neither_request_nor_websocket_passes_untouched() -> None:
    seen = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    channel: asyncio.Queue[Any] = asyncio.Queue()
    arguments = ({"type": "lifespan"}, channel.get, channel.put)
    await StreamTelemetryMiddleware(app, Lifecycle())(*arguments)
    assert seen == [arguments]


def test_it_works_inside_of_other_middleware_too(foreign: RecordedServer) -> None:
    app = make_app()
    app.add_middleware(StreamTelemetryMiddleware, lifecycle=foreign.telemetry.lifecycle)

    @app.middleware("http")
    async def outer(request: Any, call_next: Any) -> Any:
        if request.url.path == "/short-cut":
            return PlainTextResponse("here")
        return await call_next(request)

    with serving(app) as (port, _):
        assert plain.get(f"http://127.0.0.1:{port}/short-cut").text == "here"
        assert plain.get(f"http://127.0.0.1:{port}/sse").text.count("data") == 6
        foreign.wait_for(1, CLOSED, protocol="sse", reason="completed")
    assert foreign.metric(SENT) == 3
