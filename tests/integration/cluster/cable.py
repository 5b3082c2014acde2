"""The network between an instance and its servers, which can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Cable:
    """Passes on what comes to a port of its own to another one, within this context.

    While it is cut, connections end, and no new ones are taken.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def cut(self) -> None:
        """End all connections, and refuse others."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()
        await eventually(lambda: not self._writers)

    async def mend(self) -> None:
        """Take connections again, at the same port."""
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._writers.discard, writer)
            self._writers.add(writer)
            stack.callback(writer.close)
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            stack.callback(back.close)
            ways: list[Awaitable[None]] = [_pass_on(reader, back), _pass_on(there, writer)]
            await asyncio.gather(*ways)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    # The other way ends as well.
    writer.transport.abort()
