"""ASGI middleware that records the streams of any application, without changes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry.labels import CloseReason
from riptide_telemetry.middleware.http_stream import HttpStream
from riptide_telemetry.middleware.websocket_stream import WebSocketStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide_telemetry.lifecycle import Lifecycle
    from riptide_telemetry.middleware.asgi_types import ASGIApp, Receive, Scope, Send

# The key of a scope under which the middleware keeps the streams that are recorded already.
_RECORDED = "riptide_telemetry.recorded"


class StreamTelemetryMiddleware:
    """Records Server-Sent Events, NDJSON and WebSockets of the application it wraps.

    ``app.add_middleware(StreamTelemetryMiddleware, lifecycle=telemetry.lifecycle)``, or
    ``StreamTelemetryMiddleware(app, telemetry.lifecycle)``. A response is recorded if its content
    type is that of SSE or NDJSON: connections and how they end, messages, bytes, and waits for slow
    readers. Below ``chunked_paths`` (prefixes of paths) every other response without a content
    length is recorded as well: each write is one message, with the protocol label ``ndjson``. A
    prefix may begin with the root path (of a proxy, or of the application's mount) or after it.
    Messages and their order never change, exceptions pass through, and a failure of telemetry is
    only logged.

    A connection is recorded once for each lifecycle. Where the middleware is both around an
    application and around one that is mounted in it, the outer one records, and ``chunked_paths``
    of both apply.

    Delivery latency stays empty: the middleware cannot see when the application made a message.

    Add the middleware outside of middleware that queues messages (``BaseHTTPMiddleware``), because
    the queue would look like a slow reader, and inside of middleware that compresses, because the
    messages of a compressed stream are not counted. After an HTTP client has left, uvicorn drops
    what is sent, and reports the disconnect only through ``receive``. Starlette's applications
    receive; if an application never does, its messages count as sent until it returns.
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
        if scope["type"] not in {"http", "websocket"} or scope.get("method") == "HEAD":
            await self.app(scope, receive, send)
            return
        outer: tuple[HttpStream | WebSocketStream, ...] = scope.get(_RECORDED, ())
        chunked = scope["type"] == "http" and self._expects_chunked(scope)
        for recorded in outer:
            if recorded.records_for(self._lifecycle):
                if chunked and isinstance(recorded, HttpStream):
                    recorded.expect_chunked()
                await self.app(scope, receive, send)
                return
        stream: HttpStream | WebSocketStream
        if scope["type"] == "http":
            stream = HttpStream(self._lifecycle, receive, send, chunked=chunked)
        else:
            stream = WebSocketStream(self._lifecycle, receive, send)
        # In place and removed again, because a copy would hide from middleware outside of this one
        # what frameworks write into the scope (the route).
        scope[_RECORDED] = (*outer, stream)
        ended_by: CloseReason | None = None
        try:
            await self.app(scope, stream.receive, stream.send)
        except BaseException as error:
            # The server cancels an application if it will not wait for the stream any longer.
            failed = isinstance(error, Exception)
            ended_by = CloseReason.INTERNAL_ERROR if failed else CloseReason.DRAINING
            raise
        finally:
            if outer:
                scope[_RECORDED] = outer
            else:
                scope.pop(_RECORDED, None)
            stream.end(ended_by)

    def _expects_chunked(self, scope: Scope) -> bool:
        prefixes = self._chunked_paths
        if not prefixes:
            return False
        root: str = (scope.get("root_path") or "").rstrip("/")
        # Servers and Starlette's mounts leave the root path in the path; some proxies remove it.
        path: str = "/" + scope.get("path", "").removeprefix(root).lstrip("/")
        return path.startswith(prefixes) or (root + path).startswith(prefixes)
