"""What clients are told while the log is being opened, which takes minutes if it is upgraded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from starlette.routing import Route, Router

from riptide.endpoints.health import live, not_ready
from riptide.endpoints.problems import problem_response
from riptide.errors import LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from riptide.server.side_server import SideServer

logger = logging.getLogger("riptide.server")

# Most starts are over before; their clients wait in the backlog of the listener.
PATIENCE_S = 1.0
RETRY_AFTER_S = 5


async def _ready(request: Request) -> Response:  # noqa: ARG001  # Starlette's signature
    return not_ready("it is being opened")


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    problem = LogUnavailableError(
        "the message log is being opened: what was sent was not published; try again later",
        retry_after=RETRY_AFTER_S,
    )
    await problem_response(problem)(scope, receive, send)


opening_app = Router(
    [Route("/healthz/live", live), Route("/healthz/ready", _ready)], default=_refuse
)
"""The application of these servers: the process is live, and all the rest is refused."""


@contextlib.asynccontextmanager
async def answering_while_opening(servers: Sequence[SideServer]) -> AsyncIterator[None]:
    """Let the servers, which run ``opening_app``, answer if this context lasts long."""
    begun = asyncio.Event()

    async def serve() -> None:
        await asyncio.sleep(PATIENCE_S)
        begun.set()
        logger.info("the log is still being opened: until it is, only /healthz/live answers 200")
        await asyncio.gather(*(server.run_beside() for server in servers))

    serving = asyncio.create_task(serve())
    try:
        yield
    finally:
        if begun.is_set():
            for server in servers:
                server.should_exit = True
        else:
            serving.cancel()
            for server in servers:
                server.listener.close()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
