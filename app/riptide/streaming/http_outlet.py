"""Streams over HTTP: NDJSON or Server-Sent Events in one endless response body."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from riptide.encoding import ndjson, sse
from riptide.encoding.formats import NDJSON, SSE, Encoding
from riptide.streaming.connection import connection_of
from riptide_telemetry import CloseReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from riptide.hub.stream_range import StreamRange


class HttpFormat(NamedTuple):
    """A stream format over HTTP: how records are encoded, and the media type to negotiate."""

    encoding: Encoding
    media_type: str


FORMATS = (
    HttpFormat(NDJSON, ndjson.MEDIA_TYPE),
    HttpFormat(SSE, sse.MEDIA_TYPE),
)


def response_headers(http_format: HttpFormat) -> list[tuple[bytes, bytes]]:
    """Return the headers of a stream. They tell proxies not to store, change or delay it."""
    return [
        (b"content-type", http_format.media_type.encode()),
        (b"cache-control", b"no-store, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"vary", b"accept"),
    ]


class HttpOutlet:
    """An ``Outlet`` that writes the body of a response."""

    __slots__ = ("_format", "_receive", "_send", "connection", "direct", "encoding")

    def __init__(self, scope: Scope, receive: Receive, send: Send, http_format: HttpFormat) -> None:
        self.encoding = http_format.encoding
        self.connection = connection_of(scope)
        # Wire bytes are framed as chunks, which HTTP/1.0 does not know (RFC 9112, section 6.1).
        self.direct = self.connection.transport is not None and scope["http_version"] != "1.0"
        self._format = http_format
        self._receive = receive
        self._send = send

    async def open(self) -> None:
        """Send the head of the response."""
        if self.connection.half_closed:
            # The client's half of the close is the only sign of a consumer that has left.
            self.connection.close()
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": response_headers(self._format),
            }
        )

    async def write(self, frame: bytes) -> None:
        """Hand a piece of the body to the server."""
        await self._send({"type": "http.response.body", "body": frame, "more_body": True})

    async def close(self, reason: CloseReason, detail: str) -> None:  # noqa: ARG002  # the last record has said both
        """End the body."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def listen(
        self,
        hello: Callable[[StreamRange], None],  # noqa: ARG002  # HTTP clients cannot send hellos
    ) -> tuple[CloseReason, str]:
        """Wait until the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self.connection.error is not None:
            return CloseReason.CLIENT_VANISHED, ""
        return CloseReason.CLIENT_CLOSED, ""
