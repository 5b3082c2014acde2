"""What HTTP/1.0 needs: bodies of unknown length without chunks (RFC 9112, section 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Unframed:
    """An application whose body, where it gives no length, goes out as it is.

    It ends with the connection, which uvicorn closes after each answer to HTTP/1.0.
    """

    def __init__(self, app: ASGIApp, cycle: Any) -> None:
        """Take uvicorn's side of the request too, which would put the body in chunks."""
        self._app = app
        self._cycle = cycle
        self._has_length = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; uvicorn gets to see the beginning and the end of such a body."""

        async def send_unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message.get("headers", ())}
                self._has_length = b"content-length" in names
                if not self._has_length:
                    self._cycle.chunked_encoding = False
            elif not self._has_length:
                await self._write(message.get("body", b""))
                if message.get("more_body", False):
                    # uvicorn would wait until the client has taken what it got just now.
                    return
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, send_unframed)

    async def _write(self, body: bytes) -> None:
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if body and cycle.scope["method"] != "HEAD" and not cycle.disconnected:
            cycle.transport.write(body)
