"""Limits to how requests may come: their time, the size of their heads, how many at once.

uvicorn has none of its own. A client that sends a byte now and then, a header without an end, or
requests without waiting for answers, would hold a connection, or our memory, for ever. And none
comes in on the last descriptors.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

import httptools
import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from riptide.errors import (
    ConnectionLimitError,
    HeadTooLargeError,
    MalformedRequestError,
    ProblemError,
    RequestTimeoutError,
)
from riptide.process import descriptors
from riptide.server.http_1_0 import Unframed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

# What browsers and proxies keep to is a fraction of it.
MAX_HEAD_BYTES = 64 * 1024
# Requests that may wait for the answer to the one before; their heads share the limit of one.
MAX_WAITING = 16
# Closing a socket that holds unread data resets it, and the answer may be lost.
LINGER_S = 0.5
RETRY_AFTER_S = 5


class RequestLimits(NamedTuple):
    """How long a client may take; to take an answer too."""

    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    write_timeout_s: float = 30.0


class LimitedConfig(uvicorn.Config):
    """uvicorn's configuration, with our limits in it."""

    def __init__(self, app: Any, limits: RequestLimits, **keywords: Any) -> None:
        super().__init__(app, **keywords)
        self.limits = limits


class _Next(Enum):
    """What is to come of the client."""

    REQUEST = auto()
    HEAD = auto()
    BODY = auto()


class _OutOfTurnError(Exception):
    """A request that cannot wait until those before it are answered."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 within limits; who exceeds one is told so, if that can still be, and cut off.

    At any time a deadline runs for what is to come, or an answer is under way, or uvicorn's
    keep-alive timer runs: no connection waits for ever. The parser's callbacks (``on_...``) raise
    what is wrong with a request; that ends the parsing.
    """

    # Slots, because uvicorn's own attributes fill the dictionary that instances share: with five
    # more, each connection would have one of its own.
    __slots__ = ("_deadline", "_deaf", "_loose_bytes", "_next", "_running")

    config: LimitedConfig

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._deadline: asyncio.TimerHandle | None = None
        self._deaf = False
        self._next = _Next.REQUEST
        # That came in a row and are of no body: of a head, trailers, or nothing at all. A head
        # that begins within a piece is not charged with what stands before it.
        self._loose_bytes = 0
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
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Take what came, if it is within the limits."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._loose_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._stop_at(error)
            return
        if self._loose_bytes > MAX_HEAD_BYTES:
            self._refuse(_too_large())
        elif self._is_idle():
            # It was a blank line, or the end of a body that had its answer before.
            self._expect_within(self.config.limits.head_timeout_s)

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self._next = _Next.HEAD
        if self._deadline is None:
            self._expect_within(self.config.limits.head_timeout_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but no trailer: it would pass for a header (RFC 9110, section 6.5.1)."""
        if self._next is _Next.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request in, or have it wait for its turn; its body is next."""
        self._loose_bytes = 0
        size = _size(self.url, self.headers)
        if size > MAX_HEAD_BYTES:
            raise _too_large()
        upgrades = self.parser.should_upgrade()
        if upgrades and not self._should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequestError("this is no proxy: ask for a path, without CONNECT")
            # It is read again (see ``_parse``).
            return
        waits = self._is_answering()
        # The socket cannot go to another protocol while an answer is written to it.
        if waits and (upgrades or not self._can_wait(size)):
            raise _OutOfTurnError
        self._next = _Next.BODY
        self._expect_within(self.config.limits.body_timeout_s)
        super().on_headers_complete()
        if waits:
            # uvicorn pauses, and would not see the client go; what may wait is little.
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note of the end of a request."""
        if not self.parser.should_upgrade():
            self._next = _Next.REQUEST
            self._loose_bytes = 0
            self._expect_nothing()
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket protocol, if that takes it."""
        self._deaf = True
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

    def _parse(self, data: bytes) -> None:
        """Feed the parser; an upgrade that is not offered counts as not asked for.

        RFC 9110, section 7.8, has it so. The parser takes what follows the head for another
        protocol, the body too: so it gets the head once more, without the upgrade.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                (end,) = upgrade.args
                data = self._head_without_upgrade() + data[end:]
                # The one that is there takes nothing more if the client wants to close.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(seconds, self._too_late)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._next is _Next.REQUEST:
            self.transport.close()
            return
        if self.flow.read_paused:
            # It is us who are slow: what came before is not dealt with yet.
            self._expect_within(self.config.limits.body_timeout_s)
            return
        part = self._next.name.lower()
        self._refuse(
            RequestTimeoutError(f"the {part} of the request took too long: send it in one go")
        )

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        if cycle.scope["http_version"] == "1.0":
            app = Unframed(app, cycle)
        super()._start_asgi_task(cycle, app)

    def _is_answering(self) -> bool:
        """Return whether the answer to any request is still to come, or to end."""
        newest: Any = self.cycle
        return newest is not None and not newest.response_complete

    def _is_idle(self) -> bool:
        """Return whether only the client could make something happen."""
        return self._deadline is None and not self._deaf and not self._is_answering()

    def _can_wait(self, size: int) -> bool:
        if len(self.pipeline) >= MAX_WAITING:
            return False
        scopes = [cycle.scope for cycle, _ in self.pipeline]
        waiting = sum(_size(scope["raw_path"], scope["headers"]) for scope in scopes)
        return waiting + size <= MAX_HEAD_BYTES

    def _tell_application(self) -> None:
        """Let the application know that the client has gone, so that it writes no more.

        Of requests sent one after another without waiting, uvicorn tells the newest only, which
        need not be the one that runs.
        """
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _stop_at(self, error: httptools.HttpParserError) -> None:
        # What a callback raises comes as the context of the parser's own error.
        match error.__context__:
            case ProblemError() as problem:
                self._refuse(problem)
            case _OutOfTurnError():
                self._hear_no_more()
            case _:
                self._refuse(MalformedRequestError("this is not HTTP: send HTTP/1.1 (RFC 9112)"))

    def _hear_no_more(self) -> None:
        """Close the connection after the answers to what came in its turn.

        A client that sends without waiting has to be ready for it (RFC 9112, section 9.3.2).
        """
        self._deaf = True
        self._expect_nothing()
        self.cycle.keep_alive = False
        self.flow.resume_reading()

    def _refuse(self, problem: ProblemError) -> None:
        """Hear no more of this client; answer, unless an answer to it is under way."""
        self._deaf = True
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


def _size(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> int:
    return len(target) + sum(len(name) + len(value) for name, value in headers)


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
