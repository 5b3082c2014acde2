"""An application that knows nothing of Riptide, and a real server to run it in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import uvicorn
from fastapi import FastAPI, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse

from tests.waiting import DEADLINE_S, turns, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import ASGIApp

BIG = 1 << 20


async def ticks(count: int) -> AsyncIterator[dict[str, Any]]:
    for number in range(count):
        yield {"event": "tick", "data": f"{number}\nand a second line"}


async def lines(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield f'{{"number": {number},'
        yield ' "split": true}\n'


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b'{"tick": 1}\n'
        await asyncio.sleep(0.01)


async def flood() -> AsyncIterator[bytes]:
    for _ in range(64):
        yield b"x" * BIG + b"\n"
        # uvloop pauses a writer only in the next turn of the loop.
        await asyncio.sleep(0)


async def broken() -> AsyncIterator[bytes]:
    yield b'{"number": 0}\n'
    raise RuntimeError("broken mid-stream")


async def words() -> AsyncIterator[str]:
    for word in ("once", " upon", " a time"):
        yield word


BODIES = {"endless": endless, "flood": flood, "broken": broken}


def make_app() -> FastAPI:
    """Return an application with a route of each kind."""
    app = FastAPI()

    @app.get("/sse")
    def sse(count: int = 3) -> EventSourceResponse:
        return EventSourceResponse(ticks(count))

    @app.get("/{kind}.ndjson")
    def ndjson(kind: str, count: int = 3) -> StreamingResponse:
        body = BODIES[kind]() if kind in BODIES else lines(count)
        return StreamingResponse(body, media_type="application/x-ndjson")

    @app.get("/words")
    def chunked() -> StreamingResponse:
        return StreamingResponse(words(), media_type="text/plain")

    @app.get("/plain")
    def plain() -> Response:
        return Response("data: not a stream\n\n", media_type="text/plain")

    add_websockets(app)
    return app


def add_websockets(app: FastAPI) -> None:
    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while (text := await websocket.receive_text()) != "close":
                await websocket.send_text(text)
            await websocket.close()

    @app.websocket("/flood")
    async def websocket_flood(websocket: WebSocket) -> None:
        await websocket.accept()
        for _ in range(64):
            await websocket.send_bytes(b"x" * BIG)
            await asyncio.sleep(0)


class Server(uvicorn.Server):
    """A server that tells on which event loop it runs."""

    loop: asyncio.AbstractEventLoop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def take_turns(self) -> None:
        """Return once the event loop has done what was ready."""
        asyncio.run_coroutine_threadsafe(turns(), self.loop).result(DEADLINE_S)


class Served(NamedTuple):
    port: int
    server: Server


@contextlib.contextmanager
def serving(app: ASGIApp, **options: Any) -> Iterator[Served]:
    """Serve the application on a port and in a thread of its own, with uvicorn's options."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, lifespan="auto", ws_max_queue=1, **options)
        server = Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        wait_until(lambda: server.started or not thread.is_alive())
        assert thread.is_alive()
        try:
            yield Served(listener.getsockname()[1], server)
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
