"""GET /topics/{topic}: the topic as NDJSON or Server-Sent Events, as the client accepts."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from starlette.datastructures import QueryParams
from starlette.responses import Response

from riptide.admission.client import client_of
from riptide.errors import NotAcceptableError, ProblemError, UpgradeRequiredError
from riptide.media_types import best_match
from riptide.message import check_topic
from riptide.streaming import control
from riptide.streaming.http_outlet import FORMATS, HttpFormat, HttpOutlet, response_headers
from riptide.streaming.stream_request import StreamRequest
from riptide.syntax.request_fields import RequestField, read
from riptide_telemetry import StreamProtocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from riptide.access.gate import Gate
    from riptide.access.identity import Identity
    from riptide.streaming.streams import Streams
    from riptide_telemetry import Lifecycle


class Subscribe:
    """The streaming half of a topic's path, an ASGI application."""

    def __init__(self, gate: Gate, streams: Streams, lifecycle: Lifecycle) -> None:
        self._gate = gate
        self._streams = streams
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a stream to its end.

        Raises:
            ProblemError: the stream was refused, and nothing has been sent. The refusal has been
                counted, that of a HEAD request too.

        """
        # No ``Request`` is made: a stream would keep it in memory, and may stay open for days.
        http_format = self._choose_format(scope)
        topic = scope["path_params"]["topic"]
        outlet = HttpOutlet(scope, receive, send, http_format)
        try:
            identity = await self._gate.admit_consumer(scope, http_format.encoding.protocol, topic)
            if scope["method"] == "HEAD":
                self._check_topic(topic, http_format)
                response = Response()
                response.raw_headers = response_headers(http_format)
                await response(scope, receive, send)
                return
            await self._streams.serve(outlet, stream_request_of(scope, topic, identity))
        except ProblemError as refusal:
            is_sse = http_format.encoding.protocol is StreamProtocol.SSE
            if not is_sse or refusal.retry_after is None:
                raise
            last_id = read(scope, RequestField.LAST_EVENT_ID)
            if last_id is None:
                raise
            await _refuse_in_band(http_format, last_id, refusal)(scope, receive, send)

    def _check_topic(self, topic: str, http_format: HttpFormat) -> None:
        try:
            check_topic(topic)
        except ProblemError as problem:
            protocol = http_format.encoding.protocol
            self._lifecycle.connection_rejected(protocol, problem.reject_reason)
            raise

    def _choose_format(self, scope: Scope) -> HttpFormat:
        """Return the format that the client prefers.

        Raises:
            NotAcceptableError: the client accepts none. The refusal is counted under NDJSON, the
                format for clients without a preference.
            UpgradeRequiredError: this is the handshake of a WebSocket client, without the headers
                that ask for the upgrade. The client could not read any other format.

        """
        protocol = StreamProtocol.NDJSON
        try:
            if read(scope, RequestField.SEC_WEBSOCKET_KEY) is not None:
                protocol = StreamProtocol.WEBSOCKET
                raise UpgradeRequiredError(
                    "this is a WebSocket handshake without its headers Upgrade and Connection: a "
                    "proxy on the way has removed them and has to be told to pass them on"
                )
            return negotiate(read(scope, RequestField.ACCEPT))
        except ProblemError as problem:
            self._lifecycle.connection_rejected(protocol, problem.reject_reason)
            raise


def _refuse_in_band(http_format: HttpFormat, last_id: str, refusal: ProblemError) -> Response:
    """Refuse a reconnecting ``EventSource`` with a stream of one record.

    After any status but 200, ``EventSource`` never reconnects again (WHATWG HTML, section 9.2.3).
    """
    record = control.refusal(
        refusal.reject_reason,
        last_id,
        refusal.detail,
        control.jittered_ms(refusal.retry_after or 1),
    )
    response = Response(http_format.encoding.encode_control(record))
    response.raw_headers += response_headers(http_format)
    # Close the connection: where places for streams are scarce, file descriptors are too.
    response.headers["Connection"] = "close"
    return response


@functools.lru_cache(maxsize=16)
def negotiate(accept: str | None) -> HttpFormat:
    """Choose the format (RFC 9110, section 12.5.1); NDJSON where the client has no preference.

    The results are cached, because few different headers are in use.

    Raises:
        NotAcceptableError: the client accepts neither format.

    """
    # ``best_match`` prefers the last of several that fit equally well.
    supported = [http_format.media_type for http_format in reversed(FORMATS)]
    best = best_match(supported, accept or "*/*")
    for http_format in FORMATS:
        if http_format.media_type == best:
            return http_format
    raise NotAcceptableError(
        f"{(accept or '')[:100]!r} fits no format of a stream: accept "
        + " or ".join(http_format.media_type for http_format in FORMATS)
        + ", or open a WebSocket"
    )


def stream_request_of(scope: Scope, topic: str, identity: Identity) -> StreamRequest:
    """Return what a client asks for by its headers and its query.

    ``Last-Event-ID`` takes precedence over ``?after=``: an ``EventSource`` that reconnects repeats
    its URL, so the header is the newer of the two.
    """
    query = QueryParams(scope["query_string"])
    return StreamRequest(
        topic,
        read(scope, RequestField.LAST_EVENT_ID) or query.get("after"),
        query.get("until"),
        read(scope, RequestField.TRACEPARENT) or "",
        client_of(scope, identity.subject),
        identity.expires_at,
    )
