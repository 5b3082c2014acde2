from __future__ import annotations

import asyncio
import os
import resource
import socket
from typing import TYPE_CHECKING

import orjson
import pytest
from uvicorn.server import ServerState

from app import request_limits
from app.descriptors import LAST
from app.request_limits import MAX_HEAD_BYTES, LimitedConfig, LimitedHttpProtocol, RequestLimits
from app.server import StreamingHttpProtocol, listen
from tests.app.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send


class Counting:
    """An application that answers with how many bytes of a body came, and can be slow to."""

    def __init__(self) -> None:
        self.bodies: list[int | None] = []
        self.reading = asyncio.Event()
        self.reading.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.reading.wait()
        size, more = 0, scope["path"] != "/unread"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.bodies.append(None)
                return
            size += len(message["body"])
            more = message["more_body"]
        self.bodies.append(size)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % size})


class Exchange:
    """The application behind the protocol, on a real socket."""

    def __init__(self, port: int, app: Counting, state: ServerState) -> None:
        self.port = port
        self.app = app
        self.state = state

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def answer(self, *pieces: bytes) -> bytes:
        """Send, and read until the other side closes."""
        reader, writer = await self.open()
        for piece in pieces:
            writer.write(piece)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer


@pytest.fixture
async def exchange(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Exchange]:
    monkeypatch.setattr(request_limits, "LINGER_S", 0.05)
    app = Counting()
    config = LimitedConfig(
        app,
        RequestLimits(head_timeout_s=0.15, body_timeout_s=0.15),
        http=StreamingHttpProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    with listen("127.0.0.1", 0) as listener:
        server = await loop.create_server(
            lambda: StreamingHttpProtocol(config=config, server_state=state, app_state={}),
            sock=listener,
        )
        yield Exchange(listener.getsockname()[1], app, state)
        app.reading.set()
        for connection in list(state.connections):
            assert isinstance(connection, LimitedHttpProtocol)
            connection.transport.abort()
        await eventually(lambda: not state.connections)
        server.close()
        await server.wait_closed()


def _problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = orjson.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return problem["status"], problem["type"].rpartition(":")[2]


@pytest.mark.parametrize("left", [0, LAST - 1])
async def test_a_connection_on_one_of_the_last_descriptors_is_answered_and_sent_away(
    exchange: Exchange, caplog: pytest.LogCaptureFixture, left: int
) -> None:
    loop = asyncio.get_running_loop()
    before, writer = await exchange.open()
    # Its answer is to come when all is over.
    exchange.app.reading.clear()
    writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    await eventually(lambda: exchange.state.tasks)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(("127.0.0.1", exchange.port)) as client:
        # It waits to be accepted, and gets the lowest descriptor that is free.
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1 + left, limits[1]))
        client.setblocking(False)  # socket's signature
        answer = b""
        try:
            while piece := await asyncio.wait_for(loop.sock_recv(client, 10_000), 10):
                answer += piece
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert _problem(answer) == (503, "connection-limit")
    assert b"retry-after: 5" in answer
    assert answer.lower().count(b"connection:") == 1
    assert "refused with 503" in caplog.text
    # Who was there before goes on, and who comes after is let in.
    exchange.app.reading.set()
    assert (await asyncio.wait_for(before.read(), 10)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    after = await exchange.answer(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert after.startswith(b"HTTP/1.1 200 ")


def test_the_protocol_that_we_serve_with_has_the_limits() -> None:
    assert issubclass(StreamingHttpProtocol, LimitedHttpProtocol)


async def test_a_head_that_takes_too_long_is_cut_off(exchange: Exchange) -> None:
    assert _problem(await exchange.answer(b"GET / HT")) == (408, "request-timeout")
    assert exchange.app.bodies == []


async def test_who_says_nothing_is_told_nothing(exchange: Exchange) -> None:
    assert await exchange.answer() == b""


async def test_a_body_that_takes_too_long_is_cut_off_and_the_application_hears_of_it(
    exchange: Exchange,
) -> None:
    answer = await exchange.answer(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123")
    assert _problem(answer) == (408, "request-timeout")
    await eventually(lambda: exchange.app.bodies)
    assert exchange.app.bodies == [None]


async def test_an_answer_that_was_given_is_not_followed_by_another(exchange: Exchange) -> None:
    answer = await exchange.answer(
        b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123"
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_client_is_not_blamed_for_our_own_slowness(exchange: Exchange) -> None:
    exchange.app.reading.clear()
    body = b"x" * 1_000_000
    reader, writer = await exchange.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await asyncio.sleep(0.4)
    exchange.app.reading.set()
    assert b"1000000" in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
    writer.close()


async def test_every_request_of_a_connection_has_its_time(exchange: Exchange) -> None:
    reader, writer = await exchange.open()
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        await asyncio.sleep(0.1)
    writer.write(b"GET / HT")
    assert _problem(await asyncio.wait_for(reader.read(), 10)) == (408, "request-timeout")
    writer.close()


@pytest.mark.parametrize("over", [False, True])
async def test_a_head_may_be_as_large_as_its_limit(exchange: Exchange, *, over: bool) -> None:
    known = len("/") + len("host") + len("x") + len("connection") + len("close") + len("x-a")
    value = b"y" * (MAX_HEAD_BYTES - known + over)
    answer = await exchange.answer(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + value + b"\r\n\r\n"
    )
    if over:
        assert _problem(answer) == (431, "head-too-large")
    else:
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_head_that_never_ends_is_refused_before_it_does(exchange: Exchange) -> None:
    answer = await exchange.answer(b"GET / HTTP/1.1\r\nX-A: ", b"y" * (2 * MAX_HEAD_BYTES))
    assert _problem(answer) == (431, "head-too-large")
    assert exchange.app.bodies == []


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (b"GET / HTTP/1.1\r\nX-A: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET /\xff HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
    ],
)
async def test_a_bad_request_after_a_good_one_has_an_answer_of_its_own(
    exchange: Exchange, second: bytes, status: int
) -> None:
    reader, writer = await exchange.open()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
    writer.write(second)
    assert _problem(await asyncio.wait_for(reader.read(), 10))[0] == status
    writer.close()


async def test_what_is_not_http_is_told_so(exchange: Exchange) -> None:
    assert _problem(await exchange.answer(b"HELO\r\n\r\n")) == (400, "malformed-request")


async def test_what_follows_a_request_and_is_none_does_not_write_into_its_answer(
    exchange: Exchange,
) -> None:
    exchange.app.reading.clear()
    answer = await exchange.answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00\x00\r\n\r\n")
    exchange.app.reading.set()
    assert answer.count(b"HTTP/1.1") <= 1


async def test_a_handshake_of_bytes_beyond_ascii_is_refused(exchange: Exchange) -> None:
    head = b"Host: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    answer = await exchange.answer(b"GET /\xff HTTP/1.1\r\n" + head)
    assert _problem(answer) == (400, "malformed-request")


async def test_a_client_that_goes_is_gone_for_the_request_that_runs_and_not_only_the_newest(
    exchange: Exchange,
) -> None:
    exchange.app.reading.clear()
    _, writer = await exchange.open()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    await eventually(lambda: exchange.state.tasks)
    (protocol,) = exchange.state.connections
    assert isinstance(protocol, LimitedHttpProtocol)
    assert protocol._running is not protocol.cycle
    protocol.transport.abort()
    await eventually(lambda: not exchange.state.connections)
    exchange.app.reading.set()
    await eventually(lambda: not exchange.state.tasks)
    assert exchange.app.bodies == [None]
    writer.close()


async def test_a_client_that_goes_leaves_no_timer_behind(exchange: Exchange) -> None:
    _, writer = await exchange.open()
    writer.write(b"GET / HT")
    await eventually(lambda: exchange.state.connections)
    (protocol,) = exchange.state.connections
    assert isinstance(protocol, LimitedHttpProtocol)
    assert protocol._deadline is not None
    writer.transport.abort()
    await eventually(lambda: not exchange.state.connections)
    assert protocol._deadline is None
