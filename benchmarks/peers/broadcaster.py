"""sse-starlette with a broadcaster in its process: a queue for each consumer.

Its documentation suggests this, and most services in Python do it. Run as
``python -m benchmarks.peers.broadcaster``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers.peer import SSE, Peer, Serving, started
from benchmarks.service import HOST, wait_for_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

BACKLOG = 2048


class Broadcaster:
    """The queues of all consumers."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[str]] = set()

    async def publish(self, request: Request) -> Response:
        """Put the body into each queue."""
        message = (await request.body()).decode()
        for queue in self._queues:
            queue.put_nowait(message)
        return Response(status_code=202)

    async def subscribe(self, _request: Request) -> EventSourceResponse:
        """Send the messages that come into a new queue."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._queues.add(queue)
        return EventSourceResponse(self._messages(queue), ping=3600)

    async def _messages(self, queue: asyncio.Queue[str]) -> AsyncIterator[dict[str, str]]:
        try:
            while True:
                yield {"data": await queue.get()}
        finally:
            self._queues.discard(queue)


@contextlib.contextmanager
def serve() -> Iterator[Serving]:
    """Run this module."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        with started([sys.executable, "-m", "benchmarks.peers.broadcaster"], log) as process:
            port = wait_for_port(process, log)
            yield Serving(port, port, process.pid)


BROADCASTER = Peer(
    "sse-starlette",
    (SSE,),
    "/subscribe",
    {"path": "/publish", "content_type": "application/json"},
    serve,
)


def main() -> None:
    """Serve on any port until a signal."""
    logging.basicConfig(level=logging.INFO)
    broadcaster = Broadcaster()
    app = Starlette(
        routes=[
            Route("/publish", broadcaster.publish, methods=["POST"]),
            Route("/subscribe", broadcaster.subscribe),
        ]
    )
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        # Publishers keep their connection for the whole run.
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=1,
    )
    with socket.create_server((HOST, 0), backlog=BACKLOG) as listener:
        logging.getLogger("benchmark").info("serving on http://%s:%d", *listener.getsockname())
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
