"""An application behind our HTTP protocol, on a real socket and without a server's other parts."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Generic, TypeVar

from uvicorn.server import ServerState

from riptide.server.http_limits import LimitedConfig, LimitedHttpProtocol, RequestLimits
from riptide.server.serving import StreamingHttpProtocol, listen
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

App = TypeVar("App", bound="ASGIApp")


class Exchange(Generic[App]):
    """What a client can do, and the state of the server's side."""

    def __init__(self, port: int, app: App, state: ServerState) -> None:
        self.port = port
        self.app = app
        self.state = state

    @property
    def protocol(self) -> StreamingHttpProtocol:
        """The server's side of the only connection."""
        (protocol,) = self.state.connections
        assert isinstance(protocol, StreamingHttpProtocol)
        return protocol

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


@contextlib.asynccontextmanager
async def serve(app: App, limits: RequestLimits) -> AsyncIterator[Exchange[App]]:
    config = LimitedConfig(
        app,
        limits,
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
        for connection in list(state.connections):
            assert isinstance(connection, LimitedHttpProtocol)
            connection.transport.abort()
        await eventually(lambda: not state.connections)
        server.close()
        await server.wait_closed()
