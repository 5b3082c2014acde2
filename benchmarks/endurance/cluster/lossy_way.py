"""A way to a server of NATS on which answers to what was stored are lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from benchmarks.endurance.cluster.network import ROUTER

if TYPE_CHECKING:
    from random import Random

# A message to a client: MSG <subject> <sid> [reply-to] <bytes>, and the payload in the next line.
MESSAGE = b"MSG "
ACKNOWLEDGEMENT = b'{"stream":'
LINE_END = b"\r\n"


class LossyWay:
    """Passes on what comes to a port of its own to a server, within this context.

    While ``share`` is not 0, such a part of the acknowledgements of stored messages is lost.
    """

    def __init__(self, server: tuple[str, int], chance: Random, host: str = ROUTER) -> None:
        """``server`` is where the server is, and ``host`` where this way begins."""
        self.share = 0.0
        self.lost = 0
        self.url = ""
        self._server = server
        self._host = host
        self._chance = chance
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._listener = await asyncio.start_server(self._join, self._host, 0)
        self.url = f"nats://{self._host}:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all connections."""
        assert self._listener is not None  # noqa: S101  # it has listened
        self._listener.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._server)
        both = {writer, back}
        self._writers |= both
        try:
            await asyncio.gather(self._pass(reader, back), self._pass_some(there, writer))
        finally:
            self._writers -= both

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _pass_some(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                data = await reader.readuntil(LINE_END)
                if data.startswith((MESSAGE, b"H" + MESSAGE)):
                    payload = await reader.readexactly(int(data.split()[-1]) + len(LINE_END))
                    if self._is_lost(payload):
                        continue
                    data += payload
                writer.write(data)
                await writer.drain()
        writer.close()

    def _is_lost(self, payload: bytes) -> bool:
        is_lost = payload.startswith(ACKNOWLEDGEMENT) and self._chance.random() < self.share
        self.lost += is_lost
        return is_lost
