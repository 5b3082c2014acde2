"""An outlet whose other end is the test, and a transport that can be full, cut or closing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from riptide.encoding.formats import NDJSON, Encoding
from riptide.streaming.connection import ClientConnection
from riptide_telemetry import CloseReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide.hub.stream_range import StreamRange


class PipeTransport(asyncio.Transport):
    """The least of a transport that a ``ClientConnection`` looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False
        self.aborted = False
        self.buffered = 0
        self.written: list[bytes] = []
        self.failing = False
        self.on_abort: Callable[[], None] = lambda: None

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.failing:
            raise RuntimeError("the transport is broken")
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.closing = self.aborted = True
        self.on_abort()


class Pipe:
    """An ``Outlet`` that keeps what is written, and whose client the test plays."""

    def __init__(self, encoding: Encoding = NDJSON, *, direct: bool = False) -> None:
        self.direct = direct
        self.encoding = encoding
        self.transport = PipeTransport()
        self.transport.on_abort = lambda: self.vanish(CloseReason.CLIENT_VANISHED)
        self.connection = ClientConnection(self.transport)
        self.frames: list[bytes] = []
        self.opened = False
        self.closed_with: list[tuple[CloseReason, str]] = []
        self.raising = False
        self._taking = asyncio.Event()
        self._taking.set()
        self._gone: asyncio.Future[tuple[CloseReason, str]] = (
            asyncio.get_running_loop().create_future()
        )
        self._hello: Callable[[StreamRange], None] | None = None

    async def open(self) -> None:
        self.opened = True

    async def write(self, frame: bytes) -> None:
        await self._taking.wait()
        if self.transport.closing:
            if self.raising:
                raise ConnectionResetError
            return
        self.frames.append(frame)

    async def close(self, reason: CloseReason, detail: str) -> None:
        self.closed_with.append((reason, detail))

    async def listen(self, hello: Callable[[StreamRange], None]) -> tuple[CloseReason, str]:
        self._hello = hello
        return await self._gone

    # The client's side.

    def stop_taking(self) -> None:
        """Let the write buffer fill: the next write waits."""
        self._taking.clear()
        self.connection.writable.clear()

    def take_again(self) -> None:
        self.connection.writable.set()
        self._taking.set()

    def say(self, request: StreamRange) -> None:
        assert self._hello is not None
        self._hello(request)

    def vanish(self, reason: CloseReason = CloseReason.CLIENT_CLOSED) -> None:
        """Go: the socket is closing, a blocked write returns, the listener hears of it."""
        self.transport.closing = True
        self.connection.lose(None)
        self.take_again()
        if not self._gone.done():
            self._gone.set_result((reason, ""))

    def end_listening(self, reason: CloseReason, detail: str = "") -> None:
        """Break the rules, as heard by the listener; the connection stays."""
        self._gone.set_result((reason, detail))

    def fail(self, error: Exception) -> None:
        """Make the listener itself fail."""
        self._gone.set_exception(error)

    def records(self) -> list[dict[str, object]]:
        """Return what was written, record by record."""
        return [orjson.loads(line) for frame in self.frames for line in frame.splitlines()]

    def data(self) -> list[object]:
        return [record["data"] for record in self.records() if "data" in record]

    def events(self) -> list[object]:
        return [record["event"] for record in self.records() if "event" in record]
