"""The middleware around applications that are mounted in others, or served under a root path."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from riptide_telemetry.middleware.asgi import StreamTelemetryMiddleware
from riptide_telemetry.providers import start_telemetry
from tests import plain
from tests.telemetry.foreign_app import make_app, serving
from tests.telemetry.recorded_server import SENT, RecordedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from riptide_telemetry.providers import Telemetry

OPENED = "riptide_streaming_connections_opened_total"
CLOSED = "riptide_streaming_connections_closed_total"


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    started = start_telemetry("1.0")
    yield started
    started.shutdown()


def recorded(app: ASGIApp, telemetry: Telemetry, *chunked_paths: str) -> ASGIApp:
    return StreamTelemetryMiddleware(app, telemetry.lifecycle, chunked_paths=chunked_paths)


@contextlib.contextmanager
def served(app: ASGIApp, telemetry: Telemetry, **options: Any) -> Iterator[RecordedServer]:
    with serving(app, **options) as server:
        yield RecordedServer(server, telemetry)


@pytest.mark.parametrize("prefix", ["/words", "/api/words"])
@pytest.mark.parametrize("root_path", ["/api", "/api/"])
def test_chunked_paths_hold_under_the_root_path_of_a_server(
    prefix: str, root_path: str, telemetry: Telemetry
) -> None:
    app = recorded(make_app(), telemetry, prefix)
    with served(app, telemetry, root_path=root_path) as server:
        server.get("/words")
        server.wait_for(1, CLOSED, protocol="ndjson", reason="completed")
    assert server.metric(SENT) == 3


@pytest.mark.parametrize("prefix", ["/words", "/api/words"])
@pytest.mark.parametrize("depth", [1, 2])
def test_chunked_paths_hold_in_a_mounted_application(
    prefix: str, depth: int, telemetry: Telemetry
) -> None:
    app = recorded(make_app(), telemetry, "/outer" + prefix if depth == 2 else prefix, prefix)
    for path in ["/api", "/outer"][:depth]:
        app = Starlette(routes=[Mount(path, app)])
    with served(app, telemetry) as server:
        assert server.get("/outer"[: 6 * (depth - 1)] + "/api/words").text == "once upon a time"
        server.wait_for(1, CLOSED, protocol="ndjson", reason="completed")
    assert server.metric(SENT) == 3


def test_chunked_paths_hold_behind_a_proxy_that_removes_the_root_path(
    telemetry: Telemetry,
) -> None:
    inner = recorded(make_app(), telemetry, "/words")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": "/api"}, receive, send)

    with served(app, telemetry) as server:
        server.get("/words")
        server.wait_for(3, SENT, protocol="ndjson")


def test_other_paths_under_the_root_path_are_left_alone(telemetry: Telemetry) -> None:
    app = Starlette(routes=[Mount("/api", recorded(make_app(), telemetry, "/sse-only"))])
    with served(app, telemetry) as server:
        server.get("/api/words")
    assert server.metric(OPENED) == 0


@pytest.mark.parametrize("path", ["/sse", "/some.ndjson", "/words"])
def test_a_stream_of_a_mounted_application_counts_once_for_one_telemetry(
    path: str, telemetry: Telemetry
) -> None:
    inner = recorded(recorded(make_app(), telemetry), telemetry, "/words")
    app = recorded(Starlette(routes=[Mount("/api", inner)]), telemetry)
    with served(app, telemetry) as server:
        server.get(f"/api{path}")
        server.wait_for(1, CLOSED, reason="completed")
    assert server.metric(OPENED) == 1
    assert server.metric(SENT) == 3
    assert server.metric("riptide_streaming_streams_ended_total") == 1


def test_a_websocket_of_a_mounted_application_counts_once_for_one_telemetry(
    telemetry: Telemetry,
) -> None:
    app = Starlette(routes=[Mount("/api", recorded(make_app(), telemetry))])
    with served(recorded(app, telemetry), telemetry) as server:
        with plain.connect_blocking(f"ws://127.0.0.1:{server.port}/api/echo") as client:
            client.send("one")
            assert client.recv() == "one"
        server.wait_for(1, CLOSED, reason="client_closed")
    assert server.metric(OPENED) == 1
    assert server.metric(SENT) == 1
    assert server.metric("riptide_streaming_messages_received_total") == 1


def test_two_telemetries_record_a_stream_once_each(telemetry: Telemetry) -> None:
    other = start_telemetry("2.0")
    app = Starlette(routes=[Mount("/api", recorded(make_app(), other))])
    with serving(recorded(app, telemetry)) as server:
        for each in (telemetry, other):
            RecordedServer(server, each).get("/api/sse")
        for each in (telemetry, other):
            RecordedServer(server, each).wait_for(2, CLOSED, reason="completed")
            assert RecordedServer(server, each).metric(SENT) == 6
    other.shutdown()


async def test_the_scope_is_left_as_it_was(telemetry: Telemetry) -> None:
    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        scope["route"] = "/chosen"

    async def channel(*_arguments: Any) -> Any:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/"}
    await recorded(recorded(app, telemetry), telemetry)(scope, channel, channel)
    assert scope == {"type": "http", "method": "GET", "path": "/", "route": "/chosen"}
