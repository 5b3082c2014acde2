"""GET /topics/{topic} with ``Upgrade: websocket``: the topic as text frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from riptide.admission.client import client_of
from riptide.endpoints.problems import problem_response
from riptide.endpoints.subscribe import asked_range, traceparent_of
from riptide.errors import ProblemError
from riptide.streaming.websocket_outlet import WebSocketOutlet
from riptide_telemetry import Protocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from riptide.access.gate import Gate
    from riptide.streaming.streams import Streams


class SubscribeWebSocket:
    """The WebSocket half of a topic's path, an ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a stream to its end, or refuse the handshake with problem details."""
        gate: Gate = scope["app"].state.gate
        streams: Streams = scope["app"].state.streams
        topic = scope["path_params"]["topic"]
        # The first event is the handshake; all that follow are the session's.
        await receive()
        request = HTTPConnection(scope)
        try:
            identity = await gate.admit_consumer(scope, Protocol.WEBSOCKET, topic)
            await streams.serve(
                WebSocketOutlet(scope, receive, send),
                topic,
                *asked_range(request),
                traceparent_of(request),
                client=client_of(scope, identity.subject),
                expires_at=identity.expires_at,
            )
        except ProblemError as problem:
            await problem_response(problem)(scope, receive, send)
