"""Limits to how a request may come: the time for its head and its body, and the size of its head.

uvicorn has none of its own. A client that sends a byte now and then, or a header without an end,
would hold a connection, or our memory, for ever. And none comes in on the last descriptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app import descriptors
from app.errors import (
    ConnectionLimitError,
    HeadTooLargeError,
    MalformedRequestError,
    ProblemError,
    RequestTimeoutError,
)

if TYPE_CHECKING:
    import asyncio

# What browsers and proxies keep to is a fraction of it.
MAX_HEAD_BYTES = 64 * 1024
# Closing a socket that holds unread data resets it, and the answer may be lost.
LINGER_S = 0.5
RETRY_AFTER_S = 5


class RequestLimits(NamedTuple):
    """How long a client may take."""

    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0


class LimitedConfig(uvicorn.Config):
    """uvicorn's configuration, with our limits in it."""

    def __init__(self, app: Any, limits: RequestLimits, **keywords: Any) -> None:
        super().__init__(app, **keywords)
        self.limits = limits


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 within limits; who exceeds one is told so, if that can still be, and cut off."""

    # Slots, because uvicorn's own attributes fill the dictionary that instances share: with five
    # more, each connection would have one of its own.
    __slots__ = ("_deadline", "_head_bytes", "_in_head", "_refused", "_running", "_silent")

    config: LimitedConfig

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._deadline: asyncio.TimerHandle | None = None
        self._silent = True
        self._in_head = True
        self._head_bytes = 0
        self._refused = False
        self._running: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Expect a request, if there are descriptors left for who may come next."""
        super().connection_made(transport)
        left = descriptors.left_above(transport.get_extra_info("socket").fileno())
        if left < descriptors.LAST:
            descriptors.warn_of_last("a connection was refused with 503")
            self._refuse(_no_descriptor())
            if left < descriptors.LAST // 2:
                # Nor can many linger.
                transport.close()
            return
        self._expect_within(self.config.limits.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._expect_nothing()
        self._tell_application()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, if it keeps a head within its limit."""
        if self._refused:
            return
        self._silent = False
        # A head that begins within a piece is not charged with what stands before it.
        in_head = self._in_head
        super().data_received(data)
        if in_head and self._in_head and not self._refused:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_too_large())

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        if self._deadline is None:
            self._expect_within(self.config.limits.head_timeout_s)

    def on_headers_complete(self) -> None:
        """Let the request in; its body is next."""
        self._in_head = False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._refuse(_too_large())
            return
        self._expect_within(self.config.limits.body_timeout_s)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note of the end of a request."""
        if not self._refused:
            self._expect_nothing()
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket protocol, if that takes it."""
        self._expect_nothing()
        if not self.url.isascii():
            self._refuse(MalformedRequestError("the target has bytes beyond ASCII: escape them"))
            return
        super().handle_websocket_upgrade()
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            # Its parser is stricter than that of HTTP; uvicorn would leave it at that.
            self._refuse(
                MalformedRequestError(
                    "this is no WebSocket handshake (RFC 6455): it is malformed, or has more than "
                    "128 headers or a line over 8 KiB"
                )
            )

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._refuse(MalformedRequestError(f"{msg} Send HTTP/1.1 (RFC 9112)"))

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(seconds, self._too_late)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._silent:
            self.transport.close()
            return
        if self.flow.read_paused:
            # It is us who are slow: what came before is not dealt with yet.
            self._expect_within(self.config.limits.body_timeout_s)
            return
        part = "head" if self._in_head else "body"
        self._refuse(
            RequestTimeoutError(f"the {part} of the request took too long: send it in one go")
        )

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _tell_application(self) -> None:
        """Let the application know that the client has gone, so that it writes no more.

        Of requests sent one after another without waiting, uvicorn tells the newest only, which
        need not be the one that runs.
        """
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _refuse(self, problem: ProblemError) -> None:
        """Hear no more of this client; answer, unless an answer to it is under way."""
        self._refused = True
        self._expect_nothing()
        if self.transport.is_closing():
            return
        self._tell_application()
        cycle: Any = self.cycle
        if cycle is not None:
            # The cycle is of this request, or still of the one before it.
            current = cycle is self._running and cycle.scope is self.scope
            if cycle.response_started if current else not cycle.response_complete:
                self.transport.close()
                return
        self.transport.write(_response(problem))
        self.loop.call_later(LINGER_S, self.transport.close)


def _too_large() -> HeadTooLargeError:
    return HeadTooLargeError(f"the target and headers are over the limit of {MAX_HEAD_BYTES} bytes")


def _no_descriptor() -> ConnectionLimitError:
    return ConnectionLimitError(
        "the service has as many files open as it may: try again later, or raise its limit",
        retry_after=RETRY_AFTER_S,
    )


def _response(problem: ProblemError) -> bytes:
    body = orjson.dumps(problem.body())
    headers = {
        **{name.lower(): value for name, value in problem.headers().items()},
        "content-type": "application/problem+json",
        "content-length": str(len(body)),
        "connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[problem.status] + head.encode() + b"\r\n" + body
