"""An application behind our HTTP protocol, on a real socket and without a server's other parts."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from uvicorn.server import ServerState

from riptide.server.http_limits import LINGER_S, LimitedConfig, LimitedHttpProtocol, RequestLimits
from riptide.server.listener import listen
from riptide.server.protocols import StreamingHttpProtocol
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp

App = TypeVar("App", bound="ASGIApp")


class Timer:
    """What ``call_later`` returns."""

    def __init__(self, due_s: float, run: Callable[[], object]) -> None:
        self.due_s = due_s
        self.run = run
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class TimedByTest:
    """The event loop as protocols see it: their timers run when the test lets time pass."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now_s = 0.0
        self._timers: list[Timer] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        timer = Timer(self._now_s + delay, lambda: callback(*args))
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and run the timers that are due by then, in their order."""
        end_s = self._now_s + seconds
        while due := [each for each in self._timers if each.due_s <= end_s and not each.cancelled]:
            timer = min(due, key=lambda each: each.due_s)
            self._timers.remove(timer)
            self._now_s = timer.due_s
            timer.run()
        self._now_s = end_s


class Heard:
    """How many bytes have come to the server's side."""

    def __init__(self) -> None:
        self.total = 0


class Exchange(Generic[App]):
    """What a client can do, and the state of the server's side, for which time stands still."""

    def __init__(
        self, port: int, app: App, state: ServerState, time: TimedByTest, heard: Heard
    ) -> None:
        self.port = port
        self.app = app
        self.state = state
        self.time = time
        self._heard = heard

    @property
    def protocol(self) -> StreamingHttpProtocol:
        """The server's side of the only connection."""
        (protocol,) = self.state.connections
        assert isinstance(protocol, StreamingHttpProtocol)
        return protocol

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, and wait until the server knows."""
        before = set(self.state.connections)
        streams = await asyncio.open_connection("127.0.0.1", self.port)
        await eventually(lambda: self.state.connections - before)
        return streams

    async def say(self, writer: asyncio.StreamWriter, *pieces: bytes) -> None:
        """Send, and wait until the server has heard each piece before the next."""
        for piece in pieces:
            wanted = self._heard.total + len(piece)
            writer.write(piece)
            await eventually(lambda wanted=wanted: self._heard.total >= wanted)  # type: ignore[misc]  # bound at once

    async def answer(self, *pieces: bytes, wait_s: float = 0) -> bytes:
        """Send, let time pass, and read until the other side closes.

        A refused client is given some time more to read why.
        """
        reader, writer = await self.open()
        await self.say(writer, *pieces)
        self.time.advance(wait_s)
        self.time.advance(LINGER_S)
        answer = await in_time(reader.read())
        writer.close()
        return answer


@contextlib.asynccontextmanager
async def serve(
    app: App, limits: RequestLimits, *, host: str = "127.0.0.1"
) -> AsyncIterator[Exchange[App]]:
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
    time, heard = TimedByTest(), Heard()

    class Protocol(StreamingHttpProtocol):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            heard.total += len(data)

    with listen(host, 0) as listener:
        server = await loop.create_server(
            lambda: Protocol(
                config=config,
                server_state=state,
                app_state={},
                _loop=time,
            ),
            sock=listener,
        )
        yield Exchange(listener.getsockname()[1], app, state, time, heard)
        for connection in list(state.connections):
            assert isinstance(connection, LimitedHttpProtocol)
            connection.transport.abort()
        await eventually(lambda: not state.connections)
        server.close()
        await server.wait_closed()
