"""The server's side of an application, without a socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from riptide_telemetry.middleware.asgi import StreamTelemetryMiddleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from riptide_telemetry.lifecycle import Lifecycle

    Channel = Callable[..., Awaitable[Any]]
    App = Callable[[Any, Channel, Channel], Awaitable[None]]


class Exchange:
    """Runs an application behind the middleware. Tests fill ``to_app`` and read ``sent``.

    While ``writable`` is not set, sends wait, and set ``waiting``.
    """

    def __init__(self, lifecycle: Lifecycle, scope_type: str = "http", **scope: Any) -> None:
        self._lifecycle = lifecycle
        self.scope = {"type": scope_type, "method": "GET", "path": "/", **scope}
        self.to_app: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self.sent: list[MutableMapping[str, Any]] = []
        self.writable = asyncio.Event()
        self.writable.set()
        self.waiting = asyncio.Event()
        self.refuses = False

    async def run(self, app: App) -> None:
        """Run the application to its end."""
        await StreamTelemetryMiddleware(app, self._lifecycle)(
            self.scope, self.to_app.get, self._send
        )

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if not self.writable.is_set():
            self.waiting.set()
            await self.writable.wait()
        if self.refuses:
            raise OSError("the client has gone")
        self.sent.append(message)
