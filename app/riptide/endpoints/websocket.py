"""GET /topics/{topic} with ``Upgrade: websocket``: the topic as text frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.endpoints.problems import problem_response
from riptide.endpoints.subscribe import stream_request_of
from riptide.errors import ProblemError
from riptide.streaming.websocket_outlet import WebSocketOutlet
from riptide_telemetry import StreamProtocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from riptide.access.gate import Gate
    from riptide.streaming.streams import Streams


class SubscribeWebSocket:
    """The WebSocket half of a topic's path, an ASGI application."""

    def __init__(self, gate: Gate, streams: Streams) -> None:
        self._gate = gate
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a stream to its end, or refuse the handshake with problem details."""
        topic = scope["path_params"]["topic"]
        # The first event is the handshake. The session receives all others.
        await receive()
        try:
            identity = await self._gate.admit_consumer(scope, StreamProtocol.WEBSOCKET, topic)
            request = stream_request_of(scope, topic, identity)
            await self._streams.serve(WebSocketOutlet(scope, receive, send), request)
        except ProblemError as problem:
            await problem_response(problem)(scope, receive, send)
