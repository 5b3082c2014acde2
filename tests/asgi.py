"""A hand-driven ASGI client: unlike those of HTTP libraries, it can read endless bodies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message


class AsgiExchange:
    """One request or WebSocket, driven event by event."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        self.received: list[Message] = []
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self.task: asyncio.Task[None] = asyncio.create_task(
            app(scope, self._to_app.get, self._from_app.put)  # type: ignore[arg-type]  # coroutine, said as awaitable
        )

    async def send(self, message: Message) -> None:
        """Give the application an event to receive."""
        await self._to_app.put(message)

    async def next(self) -> Message:
        """Return the next event that the application sends; raise what ended it instead."""
        getter = asyncio.create_task(self._from_app.get())
        await asyncio.wait(
            {getter, self.task}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED
        )
        if not getter.done():
            # The application may have sent and ended in one go.
            await asyncio.sleep(0)
        if getter.done():
            message = getter.result()
            self.received.append(message)
            return message
        getter.cancel()
        if self.task.done():
            self.task.result()
            raise EOFError("the application ended")
        raise TimeoutError("the application sent nothing")


def http_scope(
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Iterable[tuple[str, str]] = (),
    **more: Any,
) -> dict[str, Any]:
    """Return the scope of an HTTP request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        **more,
    }


def websocket_scope(path: str, *, query: str = "", **more: Any) -> dict[str, Any]:
    """Return the scope of a WebSocket handshake."""
    scope = http_scope("GET", path, query=query)
    del scope["method"]
    scope |= {"type": "websocket", "scheme": "ws", "subprotocols": []}
    scope["extensions"] = {"websocket.http.response": {}}
    return scope | more
