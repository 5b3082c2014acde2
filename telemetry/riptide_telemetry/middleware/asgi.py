"""Records the streams of any ASGI application, which does not have to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry.labels import CloseReason
from riptide_telemetry.middleware.http_stream import HttpStream
from riptide_telemetry.middleware.websocket_stream import WebSocketStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide_telemetry.lifecycle import Lifecycle
    from riptide_telemetry.middleware.asgi_types import ASGIApp, Receive, Scope, Send


class StreamTelemetryMiddleware:
    """Records Server-Sent Events, NDJSON and WebSockets of the application it wraps.

    ``app.add_middleware(StreamTelemetryMiddleware, lifecycle=telemetry.lifecycle)``, or
    ``StreamTelemetryMiddleware(app, telemetry.lifecycle)``. A response is recorded if its content
    type is that of SSE or NDJSON, and then by itself: connections and how they end, messages,
    bytes, waiting for slow readers. Under ``chunked_paths``, prefixes of paths, so is every other
    response without a content length, each write as one message, with the protocol label
    ``ndjson``. The messages and their order are never changed, exceptions pass through, and a
    failure of telemetry is logged only.

    Delivery latency stays empty: when the application made a message is not to be seen from here.

    Its place is outside of middleware that queues what it passes on (``BaseHTTPMiddleware``), lest
    the queue be taken for a slow reader, and inside of what compresses: the messages of a
    compressed stream are not counted. uvicorn drops what is sent over HTTP after the client has
    left, and says so to applications that receive, as those of Starlette do; for one that never
    receives, messages count as sent until it returns.
    """

    def __init__(
        self, app: ASGIApp, lifecycle: Lifecycle, *, chunked_paths: str | Sequence[str] = ()
    ) -> None:
        self.app = app
        self._lifecycle = lifecycle
        paths = (chunked_paths,) if isinstance(chunked_paths, str) else chunked_paths
        self._chunked_paths = tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, and record what it streams."""
        stream: HttpStream | WebSocketStream
        if scope["type"] == "http" and scope.get("method") != "HEAD":
            chunked = scope.get("path", "").startswith(self._chunked_paths)
            stream = HttpStream(self._lifecycle, receive, send, chunked=chunked)
        elif scope["type"] == "websocket":
            stream = WebSocketStream(self._lifecycle, receive, send)
        else:
            await self.app(scope, receive, send)
            return
        ended_by: CloseReason | None = None
        try:
            await self.app(scope, stream.receive, stream.send)
        except BaseException as error:
            # A cancellation is the server's, that will not wait for the stream any longer.
            ours = isinstance(error, Exception)
            ended_by = CloseReason.INTERNAL_ERROR if ours else CloseReason.DRAINING
            raise
        finally:
            stream.end(ended_by)
