"""Answers to HTTP/1.0: bodies of unknown length go without chunks (RFC 9112, section 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Unchunked:
    """An application whose response body is sent without chunks if its length is unknown.

    The end of such a body is that of the connection, which uvicorn closes after each answer to
    HTTP/1.0.
    """

    def __init__(self, app: ASGIApp, cycle: Any) -> None:
        """Wrap the application; ``cycle`` is uvicorn's ``RequestResponseCycle`` of the request."""
        self._app = app
        self._cycle = cycle
        self._has_length = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application. A body without a length is written here, all else by uvicorn."""

        async def send_unchunked(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The headers may be an iterator, which can be read only once.
                message = {**message, "headers": list(message.get("headers", ()))}
                names = {name.lower() for name, _ in message["headers"]}
                self._has_length = b"content-length" in names
                if not self._has_length:
                    self._cycle.chunked_encoding = False
            elif not self._has_length:
                await self._write(message.get("body", b""))
                if message.get("more_body", False):
                    # uvicorn would wait until the client has taken what was written just now.
                    return
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, send_unchunked)

    async def _write(self, body: bytes) -> None:
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if body and cycle.scope["method"] != "HEAD" and not cycle.disconnected:
            cycle.transport.write(body)
