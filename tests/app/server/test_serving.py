from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import struct
from typing import TYPE_CHECKING, cast

import pytest
from websockets.datastructures import Headers

from riptide.server.http_limits import RequestLimits
from riptide.server.listener import listen
from riptide.server.serving import DrainingServer, _configure
from riptide.streaming.connection import EXTENSION, ClientConnection
from tests import plain
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.applications import Starlette
    from starlette.types import Message, Receive, Scope, Send

    from riptide.streaming.drain import Drain

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class SlowDrain:
    """A drain that takes until the test says so."""

    def __init__(self) -> None:
        self.runs = 0
        self.is_cut_short = False
        self.over = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        await self.over.wait()

    def cut_short(self) -> None:
        self.is_cut_short = True


class Endpoint:
    """An ASGI application that remembers its scopes, and writes as much as it is told to."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.heard: list[Message] = []
        self.write = asyncio.Queue[bytes]()

    @property
    def connection(self) -> ClientConnection:
        connection = self.scopes[-1]["extensions"][EXTENSION]
        assert isinstance(connection, ClientConnection)
        return connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.heard.append(await receive())
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            self.heard.append(await receive())
            return
        if scope["path"] == "/short":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while body := await self.write.get():
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})


class Serving:
    """A server on a free port, in this process."""

    def __init__(self) -> None:
        self.endpoint = Endpoint()
        self.drain = SlowDrain()
        self.listener = listen("127.0.0.1", 0)
        self.port: int = self.listener.getsockname()[1]
        self.started = asyncio.Event()
        self.server = DrainingServer(
            _configure(cast("Starlette", self.endpoint), RequestLimits()),
            cast("Drain", self.drain),
            self.started.set,
        )
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.task = asyncio.create_task(self.server.serve(sockets=[self.listener]))
        await in_time(self.started.wait())

    async def connect(self) -> socket.socket:
        """Return a blocking-free client socket with a small receive buffer."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)  # socket's signature
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        return client


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    serving = Serving()
    await serving.start()
    yield serving
    serving.drain.over.set()
    serving.endpoint.write.put_nowait(b"")
    serving.server.should_exit = serving.server.force_exit = True
    assert serving.task is not None
    with contextlib.suppress(asyncio.CancelledError):
        await in_time(serving.task)
    serving.listener.close()


async def _read(client: socket.socket, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        piece = await in_time(asyncio.get_running_loop().sock_recv(client, 65536))
        assert piece, data
        data += piece
    return data


def _reset(client: socket.socket) -> None:
    """Close so that the other side gets a reset and no goodbye."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


async def test_a_client_that_does_not_read_pauses_its_connection_until_it_does(
    serving: Serving,
) -> None:
    loop = asyncio.get_running_loop()
    client = await serving.connect()
    await loop.sock_sendall(client, GET)
    await eventually(lambda: serving.endpoint.scopes)
    connection = serving.endpoint.connection
    assert (connection.writable.is_open, connection.is_gone()) == (True, False)
    serving.endpoint.write.put_nowait(b"x" * 16_000_000)
    await eventually(lambda: not connection.writable.is_open)
    assert connection.buffered_bytes() > 0
    while not connection.writable.is_open:
        await loop.sock_recv(client, 1_000_000)
    serving.endpoint.write.put_nowait(b"")
    await _read(client, b"0\r\n\r\n")
    client.close()


@pytest.mark.parametrize(
    ("leave", "broken"), [(socket.socket.close, False), (_reset, True)], ids=["close", "reset"]
)
async def test_an_orderly_close_is_told_from_a_reset(
    serving: Serving, leave: Callable[[socket.socket], None], *, broken: bool
) -> None:
    client = await serving.connect()
    await asyncio.get_running_loop().sock_sendall(client, GET)
    await _read(client, b"\r\n\r\n")
    connection = serving.endpoint.connection
    leave(client)
    await eventually(lambda: connection.lost)
    assert connection.is_gone()
    assert connection.buffered_bytes() == 0
    assert (connection.error is not None) is broken


async def test_aborting_cuts_a_client_off_that_reads_nothing(serving: Serving) -> None:
    client = await serving.connect()
    await asyncio.get_running_loop().sock_sendall(client, GET)
    await eventually(lambda: serving.endpoint.scopes)
    connection = serving.endpoint.connection
    serving.endpoint.write.put_nowait(b"x" * 16_000_000)
    await eventually(lambda: not connection.writable.is_open)
    connection.abort()
    await eventually(lambda: connection.lost)
    client.close()


async def test_requests_on_one_connection_see_one_connection(serving: Serving) -> None:
    client = await serving.connect()
    for _ in range(2):
        await asyncio.get_running_loop().sock_sendall(client, GET.replace(b"/ ", b"/short ", 1))
        await _read(client, b"\r\n\r\n")
    first, second = serving.endpoint.scopes
    assert first["extensions"][EXTENSION] is second["extensions"][EXTENSION]
    client.close()


async def test_a_websocket_has_its_connection_beside_the_extensions_of_the_server(
    serving: Serving,
) -> None:
    async with plain.connect(f"ws://127.0.0.1:{serving.port}/", compression=None) as client:
        await eventually(lambda: serving.endpoint.scopes)
        (scope,) = serving.endpoint.scopes
        assert "websocket.http.response" in scope["extensions"]
        connection = serving.endpoint.connection
        assert not connection.is_gone()
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers
    await eventually(lambda: connection.lost)


async def test_an_open_websocket_holds_the_headers_of_its_handshake_once(serving: Serving) -> None:
    mark = {"X-Mark": "7f3a"}
    async with plain.connect(f"ws://127.0.0.1:{serving.port}/", additional_headers=mark) as client:
        await eventually(lambda: serving.endpoint.scopes)
        (scope,) = serving.endpoint.scopes
        assert (b"x-mark", b"7f3a") in scope["headers"]
        held = [found for found in gc.get_objects() if type(found) is Headers and "X-Mark" in found]
        # The one that is left is the client's own.
        assert client.request is not None
        assert held == [client.request.headers]


async def test_a_frame_over_the_limit_is_refused_with_its_code(serving: Serving) -> None:
    async with plain.connect(f"ws://127.0.0.1:{serving.port}/", compression=None) as client:
        await client.send("x" * (64 * 1024 + 1))
        await in_time(client.wait_closed())
        assert client.close_code == 1009
    await eventually(lambda: len(serving.endpoint.heard) == 2)
    assert serving.endpoint.heard[1]["code"] == 1009


async def test_the_first_signal_drains_and_the_server_listens_until_it_is_over(
    serving: Serving,
) -> None:
    serving.server.handle_exit(signal.SIGTERM, None)
    await eventually(lambda: serving.drain.runs)
    # Newcomers are still answered, so that they can be told to go elsewhere.
    client = await serving.connect()
    await asyncio.get_running_loop().sock_sendall(client, GET.replace(b"/ ", b"/short ", 1))
    assert b"204" in await _read(client, b"\r\n\r\n")
    client.close()
    assert serving.task is not None
    assert not serving.task.done()
    serving.drain.over.set()
    await in_time(asyncio.shield(serving.task))
    assert serving.drain.runs == 1


async def test_the_second_signal_makes_the_server_leave_at_once(serving: Serving) -> None:
    assert serving.task is not None
    serving.server.handle_exit(signal.SIGINT, None)
    await eventually(lambda: serving.drain.runs)
    serving.server.handle_exit(signal.SIGINT, None)
    await in_time(asyncio.shield(serving.task))
    assert not serving.drain.over.is_set()
    assert serving.drain.is_cut_short


async def test_a_terminal_that_goes_is_no_second_signal(serving: Serving) -> None:
    assert serving.task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        serving.server.handle_exit(number, None)
        await eventually(lambda: serving.drain.runs)
    assert not serving.server.should_exit
    serving.drain.over.set()
    await in_time(asyncio.shield(serving.task))
    assert serving.drain.runs == 1


async def test_a_signal_before_the_start_means_that_there_is_none() -> None:
    serving = Serving()
    serving.server.handle_exit(signal.SIGTERM, None)
    assert serving.server.should_exit
    await in_time(serving.server.serve(sockets=[serving.listener]))
    assert serving.drain.runs == 0
    serving.listener.close()
