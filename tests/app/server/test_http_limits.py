from __future__ import annotations

import asyncio
import os
import resource
import socket
from typing import TYPE_CHECKING

import orjson
import pytest

from riptide.process.descriptors import LAST
from riptide.server.http_limits import (
    LINGER_S,
    MAX_HEAD_BYTES,
    MAX_PIPELINED,
    LimitedHttpProtocol,
    RequestLimits,
)
from riptide.server.protocols import StreamingHttpProtocol
from tests.app.exchange import Exchange, serve
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send


class Counting:
    """An application that answers with how many bytes of a body came, and can be slow to."""

    def __init__(self) -> None:
        self.bodies: list[int | None] = []
        self.headers: list[dict[bytes, bytes]] = []
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
        self.headers.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % size})


# Below what uvicorn keeps an idle connection for.
TIMEOUT_S = 4.0


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange[Counting]]:
    app = Counting()
    limits = RequestLimits(head_timeout_s=TIMEOUT_S, body_timeout_s=TIMEOUT_S)
    async with serve(app, limits) as exchange:
        yield exchange
        app.reading.set()


def _problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = orjson.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return problem["status"], problem["type"].rpartition(":")[2]


@pytest.mark.parametrize("left", [0, LAST - 1])
async def test_a_connection_on_one_of_the_last_descriptors_is_answered_and_sent_away(
    exchange: Exchange[Counting], caplog: pytest.LogCaptureFixture, left: int
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
            while piece := await in_time(loop.sock_recv(client, 10_000)):
                answer += piece
                exchange.time.advance(LINGER_S)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert _problem(answer) == (503, "connection-limit")
    assert b"retry-after: 5" in answer
    assert answer.lower().count(b"connection:") == 1
    assert "refused with 503" in caplog.text
    # Who was there before goes on, and who comes after is let in.
    exchange.app.reading.set()
    assert (await in_time(before.read())).startswith(b"HTTP/1.1 200 ")
    writer.close()
    after = await exchange.answer(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert after.startswith(b"HTTP/1.1 200 ")


def test_the_protocol_that_we_serve_with_has_the_limits() -> None:
    assert issubclass(StreamingHttpProtocol, LimitedHttpProtocol)


async def test_a_head_that_takes_too_long_is_cut_off(exchange: Exchange[Counting]) -> None:
    answer = await exchange.answer(b"GET / HT", wait_s=TIMEOUT_S)
    assert _problem(answer) == (408, "request-timeout")
    assert exchange.app.bodies == []


async def test_who_says_nothing_is_told_nothing(exchange: Exchange[Counting]) -> None:
    assert await exchange.answer(wait_s=TIMEOUT_S) == b""


async def test_a_body_that_takes_too_long_is_cut_off_and_the_application_hears_of_it(
    exchange: Exchange[Counting],
) -> None:
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123"
    answer = await exchange.answer(post, wait_s=TIMEOUT_S)
    assert _problem(answer) == (408, "request-timeout")
    await eventually(lambda: exchange.app.bodies)
    assert exchange.app.bodies == [None]


async def test_an_answer_that_was_given_is_not_followed_by_another(
    exchange: Exchange[Counting],
) -> None:
    reader, writer = await exchange.open()
    writer.write(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123")
    answer = await in_time(reader.readuntil(b"0\r\n\r\n"))
    exchange.time.advance(TIMEOUT_S)
    answer += await in_time(reader.read())
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_client_is_not_blamed_for_our_own_slowness(exchange: Exchange[Counting]) -> None:
    exchange.app.reading.clear()
    body = b"x" * 1_000_000
    reader, writer = await exchange.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await eventually(lambda: exchange.protocol.flow.read_paused)
    exchange.time.advance(3 * TIMEOUT_S)
    exchange.app.reading.set()
    assert b"1000000" in await in_time(reader.readuntil(b"0\r\n\r\n"))
    writer.close()


async def test_every_request_of_a_connection_has_its_time(exchange: Exchange[Counting]) -> None:
    reader, writer = await exchange.open()
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await in_time(reader.readuntil(b"0\r\n\r\n"))
        exchange.time.advance(0.7 * TIMEOUT_S)
    await exchange.say(writer, b"GET / HT")
    exchange.time.advance(TIMEOUT_S)
    exchange.time.advance(LINGER_S)
    assert _problem(await in_time(reader.read())) == (408, "request-timeout")
    writer.close()


async def test_an_idle_connection_is_kept_as_long_as_the_limit_says() -> None:
    async with serve(Counting(), RequestLimits(keep_alive_s=70)) as exchange:
        reader, writer = await exchange.open()
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await in_time(reader.readuntil(b"0\r\n\r\n"))
            exchange.time.advance(69)
        exchange.time.advance(2)
        assert await in_time(reader.read()) == b""
        writer.close()


@pytest.mark.parametrize("over", [False, True])
async def test_a_head_may_be_as_large_as_its_limit(
    exchange: Exchange[Counting], *, over: bool
) -> None:
    known = len("/") + len("host") + len("x") + len("connection") + len("close") + len("x-a")
    value = b"y" * (MAX_HEAD_BYTES - known + over)
    answer = await exchange.answer(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + value + b"\r\n\r\n"
    )
    if over:
        assert _problem(answer) == (431, "head-too-large")
    else:
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_head_that_never_ends_is_refused_before_it_does(
    exchange: Exchange[Counting],
) -> None:
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
    exchange: Exchange[Counting], second: bytes, status: int
) -> None:
    reader, writer = await exchange.open()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await in_time(reader.readuntil(b"0\r\n\r\n"))
    await exchange.say(writer, second)
    exchange.time.advance(LINGER_S)
    assert _problem(await in_time(reader.read()))[0] == status
    writer.close()


async def test_what_is_not_http_is_told_so(exchange: Exchange[Counting]) -> None:
    assert _problem(await exchange.answer(b"HELO\r\n\r\n")) == (400, "malformed-request")


async def test_what_follows_a_request_and_is_none_does_not_write_into_its_answer(
    exchange: Exchange[Counting],
) -> None:
    exchange.app.reading.clear()
    answer = await exchange.answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00\x00\r\n\r\n")
    exchange.app.reading.set()
    assert answer.count(b"HTTP/1.1") <= 1


async def test_a_handshake_of_bytes_beyond_ascii_is_refused(exchange: Exchange[Counting]) -> None:
    head = b"Host: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    answer = await exchange.answer(b"GET /\xff HTTP/1.1\r\n" + head)
    assert _problem(answer) == (400, "malformed-request")


async def test_a_client_that_goes_is_gone_for_the_request_that_runs_and_not_only_the_newest(
    exchange: Exchange[Counting],
) -> None:
    exchange.app.reading.clear()
    _, writer = await exchange.open()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    await eventually(lambda: exchange.state.tasks)
    protocol = exchange.protocol
    assert protocol._running is not protocol.cycle
    protocol.transport.abort()
    await eventually(lambda: not exchange.state.connections)
    exchange.app.reading.set()
    await eventually(lambda: not exchange.state.tasks)
    assert exchange.app.bodies == [None]
    writer.close()


async def test_a_client_that_goes_leaves_no_timer_behind(exchange: Exchange[Counting]) -> None:
    _, writer = await exchange.open()
    writer.write(b"GET / HT")
    await eventually(lambda: exchange.state.connections)
    protocol = exchange.protocol
    assert protocol._deadline is not None
    writer.transport.abort()
    await eventually(lambda: not exchange.state.connections)
    assert protocol._deadline is None


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n\r\n"
)
H2C = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"


async def test_a_trailer_is_no_header(exchange: Exchange[Counting]) -> None:
    reader, writer = await exchange.open()
    writer.write(CHUNKED + b"Authorization: x\r\nHost: y\r\n\r\n")
    await in_time(reader.readuntil(b"0\r\n\r\n"))
    assert exchange.app.headers == [{b"host": b"x", b"transfer-encoding": b"chunked"}]
    writer.close()


@pytest.mark.parametrize("trailers", [b"a:b\r\n" * 20_000, b"a:" + b"b" * 100_000])
@pytest.mark.parametrize("split", [False, True])
async def test_trailers_have_the_limit_of_a_head(
    exchange: Exchange[Counting], trailers: bytes, *, split: bool
) -> None:
    reader, writer = await exchange.open()
    size = 10_001 if split else len(trailers)
    pieces = (trailers[start : start + size] for start in range(0, len(trailers), size))
    await exchange.say(writer, CHUNKED, *pieces)
    exchange.time.advance(LINGER_S)
    assert _problem(await in_time(reader.read())) == (431, "head-too-large")
    writer.close()


async def test_a_chunked_body_of_small_pieces_is_not_taken_for_trailers(
    exchange: Exchange[Counting],
) -> None:
    answer = await exchange.answer(
        b"POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\nx\r\n" * 30_000
        + b"0\r\n\r\n"
    )
    assert b"30000" in answer


async def test_of_many_requests_at_once_some_wait_and_the_rest_is_not_heard(
    exchange: Exchange[Counting],
) -> None:
    exchange.app.reading.clear()
    reader, writer = await exchange.open()
    writer.write(GET * (MAX_PIPELINED + 50))
    await eventually(lambda: exchange.state.connections and exchange.protocol._ignores_input)
    assert len(exchange.protocol.pipeline) == MAX_PIPELINED
    exchange.app.reading.set()
    answer = await in_time(reader.read())
    assert answer.count(b"HTTP/1.1 200") == MAX_PIPELINED + 1
    *others, last = answer.split(b"HTTP/1.1 ")
    assert b"connection: close" in last
    assert all(b"connection: close" not in each for each in others)
    writer.close()


async def test_heads_that_wait_have_the_limit_of_one(exchange: Exchange[Counting]) -> None:
    exchange.app.reading.clear()
    reader, writer = await exchange.open()
    writer.write(GET.replace(b"Host", b"X: " + b"y" * (MAX_HEAD_BYTES // 2) + b"\r\nHost") * 4)
    await eventually(lambda: exchange.state.connections and exchange.protocol._ignores_input)
    exchange.app.reading.set()
    assert (await in_time(reader.read())).count(b"HTTP/1.1 200") == 2
    writer.close()


async def test_a_client_that_goes_takes_the_requests_that_wait_along(
    exchange: Exchange[Counting],
) -> None:
    exchange.app.reading.clear()
    _, writer = await exchange.open()
    writer.write(GET * 5)
    await eventually(lambda: exchange.state.connections and len(exchange.protocol.pipeline) == 4)
    protocol = exchange.protocol
    # Though none of them is read any more, that the client goes is seen at once.
    writer.close()
    await eventually(lambda: not exchange.state.connections)
    assert not protocol.pipeline


async def test_an_answer_that_is_under_way_keeps_its_connection_from_a_websocket(
    exchange: Exchange[Counting],
) -> None:
    exchange.app.reading.clear()
    reader, writer = await exchange.open()
    writer.write(GET)
    await eventually(lambda: exchange.state.tasks)
    protocol = exchange.protocol
    writer.write(HANDSHAKE + b"\x81\x80\x00\x00\x00\x00")
    await eventually(lambda: protocol._ignores_input)
    exchange.app.reading.set()
    answer = await in_time(reader.read())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1
    await eventually(lambda: protocol.connection.lost)
    writer.close()


@pytest.mark.parametrize("rest", [b"\r\n", b"\n\r\n"])
async def test_a_blank_line_is_no_sign_of_life(exchange: Exchange[Counting], rest: bytes) -> None:
    reader, writer = await exchange.open()
    writer.write(GET)
    await in_time(reader.readuntil(b"0\r\n\r\n"))
    await exchange.say(writer, rest)
    exchange.time.advance(TIMEOUT_S)
    assert await in_time(reader.read()) == b""
    writer.close()


async def test_the_end_of_a_body_that_was_answered_before_is_no_sign_of_life(
    exchange: Exchange[Counting],
) -> None:
    reader, writer = await exchange.open()
    writer.write(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n12")
    await in_time(reader.readuntil(b"0\r\n\r\n"))
    await exchange.say(writer, b"34")
    exchange.time.advance(TIMEOUT_S)
    assert await in_time(reader.read()) == b""
    writer.close()


async def test_a_connection_that_was_told_of_a_blank_line_takes_requests(
    exchange: Exchange[Counting],
) -> None:
    reader, writer = await exchange.open()
    for _ in range(3):
        writer.write(b"\r\n" + GET)
        assert b" 200 " in await in_time(reader.readuntil(b"0\r\n\r\n"))
        await exchange.say(writer, b"\r\n")
        exchange.time.advance(0.7 * TIMEOUT_S)
    writer.close()


async def test_an_upgrade_that_is_not_offered_counts_as_not_asked_for(
    exchange: Exchange[Counting],
) -> None:
    reader, writer = await exchange.open()
    post = b"POST / HTTP/1.1\r\n" + H2C + b"Content-Length: %d\r\n\r\n%s"
    # What is in the body is no request, whether it comes at once or later.
    writer.write(post % (len(GET), GET) + post % (2, b"12"))
    for size in (len(GET), 2):
        assert b"%d\r\n0\r\n\r\n" % size in await in_time(reader.readuntil(b"0\r\n\r\n"))
    await exchange.say(writer, post % (len(GET), b""))
    writer.write(GET + GET)
    await in_time(reader.readuntil(b"0\r\n\r\n"))
    await in_time(reader.readuntil(b"0\r\n\r\n"))
    assert exchange.app.bodies == [len(GET), 2, len(GET), 0]
    assert all(b"upgrade" not in headers for headers in exchange.app.headers)
    writer.close()


async def test_a_client_that_wants_an_upgrade_or_else_to_close_gets_the_latter(
    exchange: Exchange[Counting],
) -> None:
    head = b"POST / HTTP/1.1\r\n" + H2C.replace(b"Upgrade,", b"close, Upgrade,")
    answer = await exchange.answer(head + b"Content-Length: 3\r\n\r\n123")
    assert b"connection: close" in answer
    assert exchange.app.bodies == [3]


async def test_a_tunnel_is_refused(exchange: Exchange[Counting]) -> None:
    for target in (b"/", b"x:443"):
        answer = await exchange.answer(b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert _problem(answer) == (400, "malformed-request")
