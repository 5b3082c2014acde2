"""Limits on HTTP requests: how long they take, the size of their heads, how many are pipelined.

uvicorn has no such limits: a client that sends a byte now and then, a header without an end, or
requests without waiting for answers would hold a connection or memory for ever. And a connection
that has one of the last file descriptors is refused.
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
from riptide.server.http_1_0 import Unchunked
from riptide.server.request_head import WEBSOCKET, as_handshake, check_head, offers_websocket
from riptide.syntax.request_fields import OPTIONAL_WHITE_SPACE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

# Browsers and proxies keep to a fraction of this.
MAX_HEAD_BYTES = 64 * 1024
# Pipelined requests that may wait for earlier answers. Their heads share the limit of one head.
MAX_PIPELINED = 16
# Time from a refusal to the close: closing a socket that holds unread data resets it, and the
# refusal may be lost.
LINGER_S = 0.5
RETRY_AFTER_S = 5


class RequestLimits(NamedTuple):
    """Deadlines for sending the head, sending the body, reading the answer, and the next head."""

    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    write_timeout_s: float = 30.0
    keep_alive_s: float = 5.0


class LimitedConfig(uvicorn.Config):
    """uvicorn's configuration, with our limits in it."""

    def __init__(self, app: Any, limits: RequestLimits, **keywords: Any) -> None:
        super().__init__(app, **keywords)
        self.limits = limits


class _Next(Enum):
    """What the client is to send next."""

    REQUEST = auto()
    HEAD = auto()
    BODY = auto()


class _CannotWaitError(Exception):
    """A pipelined request that cannot wait for the answers to earlier ones."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 within limits. A client over one is told so, if no answer has begun, and cut off.

    No connection waits for ever: at any time a deadline runs for what the client is to send next,
    or an answer is under way, or uvicorn's keep-alive timer runs. The parser's callbacks
    (``on_...``) raise the error of a request, which ends the parsing.
    """

    # Slots, because uvicorn's attributes nearly fill the keys that the dictionaries of instances
    # share (PEP 412): with five more, each connection would have a dictionary with its own keys.
    __slots__ = ("_bytes_outside_bodies", "_deadline", "_ignores_input", "_next", "_running")

    config: LimitedConfig

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        # uvicorn's configuration takes whole seconds only.
        self.timeout_keep_alive = self.config.limits.keep_alive_s  # type: ignore[assignment]  # as above
        self._deadline: asyncio.TimerHandle | None = None
        self._ignores_input = False
        self._next = _Next.REQUEST
        # Consecutive bytes received that belong to no body (head, trailers, blank lines). A reset
        # drops all bytes of the present piece, so a head is never charged with bytes before it.
        self._bytes_outside_bodies = 0
        # The ``RequestResponseCycle`` that is being answered; ``cycle`` is the newest.
        self._running: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Wait for a request, unless the connection has one of the last file descriptors."""
        super().connection_made(transport)
        left = descriptors.left_above(transport.get_extra_info("socket").fileno())
        if left < descriptors.LAST:
            descriptors.warn_of_last("a connection was refused with 503")
            self._refuse(_no_descriptor())
            if left < descriptors.LAST // 2:
                # So few descriptors are left that the connection must not linger either.
                transport.close()
            return
        self._set_deadline(self.config.limits.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadline, and tell the application that the client has gone."""
        self._clear_deadline()
        self._tell_application()
        super().connection_lost(exc)
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse the bytes received, and refuse those over the limits."""
        if self._ignores_input:
            return
        self._unset_keepalive_if_required()
        self._bytes_outside_bodies += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._on_parser_error(error)
            return
        if self._bytes_outside_bodies > MAX_HEAD_BYTES:
            self._refuse(_too_large())
        elif self._is_idle():
            # This was a blank line, or the end of a body whose request had been answered before.
            self._set_deadline(self.config.limits.head_timeout_s)

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self._next = _Next.HEAD
        if self._deadline is None:
            self._set_deadline(self.config.limits.head_timeout_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but no trailer, which would pass for one (RFC 9110, section 6.5.1)."""
        if self._next is _Next.HEAD:
            # The parser leaves the white space behind the value.
            super().on_header(name, value.strip(OPTIONAL_WHITE_SPACE))

    def on_headers_complete(self) -> None:
        """Start the request, or queue it behind earlier ones; its body is next."""
        self._bytes_outside_bodies = 0
        size = _size(self.url, self.headers)
        if size > MAX_HEAD_BYTES:
            raise _too_large()
        self.expect_100_continue = check_head(self.headers)
        upgrades = self.parser.should_upgrade()
        if upgrades and not self._should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequestError("this is no proxy: ask for a path, without CONNECT")
            # ``_parse`` reads the head again, without the upgrade.
            return
        waits = self._is_answering()
        # An upgrade cannot wait: the socket cannot change its protocol while an answer is written.
        if waits and (upgrades or not self._can_wait(size)):
            raise _CannotWaitError
        self._next = _Next.BODY
        self._set_deadline(self.config.limits.body_timeout_s)
        super().on_headers_complete()
        if waits:
            # uvicorn pauses reading here, and would not see the client go. Reading on takes little
            # memory, because what may wait is limited.
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._bytes_outside_bodies = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        if not self.parser.should_upgrade():
            self._next = _Next.REQUEST
            self._bytes_outside_bodies = 0
            self._clear_deadline()
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to the WebSocket protocol, or refuse a malformed handshake."""
        self._ignores_input = True
        self._clear_deadline()
        if not self.url.isascii():
            self._refuse(MalformedRequestError("the target has bytes beyond ASCII: escape them"))
            return
        self.headers[:] = as_handshake(self.headers)
        super().handle_websocket_upgrade()
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            # The WebSocket parser is stricter than that of HTTP, and has refused the head. uvicorn
            # would leave the client without an answer.
            self._refuse(
                MalformedRequestError(
                    "this is no WebSocket handshake (RFC 6455): it is malformed, or has more than "
                    "128 headers or a line over 8 KiB"
                )
            )

    def _get_upgrade(self) -> bytes | None:
        return WEBSOCKET if offers_websocket(self.headers) else None

    def close_after_answer(self) -> bool:
        """Take no further input, and close after the answer to a request that came in full.

        Return whether there is such an answer to wait for. There is none if it has begun (it is a
        stream), if the application itself waits for the client (to hear that it has gone), or if
        more requests wait.
        """
        cycle: Any = self.cycle
        waits = self._is_answering() and not cycle.more_body and not cycle.response_started
        if not waits or self.pipeline or cycle.message_event._waiters:  # noqa: SLF001  # an event has no public method that tells
            return False
        self._close_after_answers()
        return True

    def _parse(self, data: bytes) -> None:
        """Feed the parser; ignore an upgrade that is not offered (RFC 9110, section 7.8).

        At an upgrade the parser takes everything after the head, the body too, for another
        protocol. So the head is parsed again, without the upgrade.
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
                # The old parser takes no more data if the request has ``Connection: close``.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, self._on_deadline)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        if self._next is _Next.REQUEST:
            self.transport.close()
            return
        if self.flow.read_paused:
            # The application is slow, not the client: it has not taken what was received before.
            self._set_deadline(self.config.limits.body_timeout_s)
            return
        part = self._next.name.lower()
        self._refuse(
            RequestTimeoutError(f"the {part} of the request took too long: send it in one go")
        )

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        if cycle.scope["http_version"] == "1.0":
            app = Unchunked(app, cycle)
        super()._start_asgi_task(cycle, app)

    def _is_answering(self) -> bool:
        """Return whether any request has not been answered to the end."""
        newest: Any = self.cycle
        return newest is not None and not newest.response_complete

    def _is_idle(self) -> bool:
        """Return whether the connection waits for the client alone, and no deadline is set."""
        return self._deadline is None and not self._ignores_input and not self._is_answering()

    def _can_wait(self, size: int) -> bool:
        if len(self.pipeline) >= MAX_PIPELINED:
            return False
        scopes = [cycle.scope for cycle, _ in self.pipeline]
        waiting = sum(_size(scope["raw_path"], scope["headers"]) for scope in scopes)
        return waiting + size <= MAX_HEAD_BYTES

    def _tell_application(self) -> None:
        """Tell the application that the client has gone, so that it writes no more.

        uvicorn tells it only for the newest of pipelined requests, which need not be the one that
        is being answered.
        """
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _on_parser_error(self, error: httptools.HttpParserError) -> None:
        # The error that a callback raised is the context of the parser's own.
        match error.__context__:
            case ProblemError() as problem:
                self._refuse(problem)
            case _CannotWaitError():
                self._close_after_answers()
            case _:
                self._refuse(MalformedRequestError("this is not HTTP: send HTTP/1.1 (RFC 9112)"))

    def _close_after_answers(self) -> None:
        """Ignore further input, and close the connection after the answers to earlier requests.

        A client that pipelines requests has to expect this (RFC 9112, section 9.3.2).
        """
        self._ignores_input = True
        self._clear_deadline()
        self.cycle.keep_alive = False
        self.flow.resume_reading()

    def _refuse(self, problem: ProblemError) -> None:
        """Ignore further input, answer unless another answer is under way, and close."""
        self._ignores_input = True
        self._clear_deadline()
        if self.transport.is_closing():
            return
        self._tell_application()
        cycle: Any = self.cycle
        if cycle is not None:
            # The cycle is that of this request, or still that of the one before.
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
