"""POST /topics/{topic}: one JSON message, or a batch of them as NDJSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from riptide.admission.client import client_of
from riptide.publishing.publish_request import PublishRequest
from riptide.syntax.request_fields import RequestField, read

if TYPE_CHECKING:
    from starlette.requests import Request

    from riptide.access.gate import Gate
    from riptide.publishing.ingest import Ingest


class Publish:
    """The publishing half of a topic's path."""

    def __init__(self, gate: Gate, ingest: Ingest) -> None:
        self._gate = gate
        self._ingest = ingest

    async def publish(self, request: Request) -> Response:
        """Answer 202 with the ids once the log has the messages.

        Raises:
            ProblemError: the publish was refused, and has been counted.

        """
        scope, topic = request.scope, request.path_params["topic"]
        identity = await self._gate.admit_publisher(scope, topic)
        length = read(scope, RequestField.CONTENT_LENGTH)
        try:
            receipt = await self._ingest.publish(
                PublishRequest(
                    topic,
                    read(scope, RequestField.CONTENT_TYPE) or "",
                    request.stream(),
                    None if length is None else int(length),
                    read(scope, RequestField.CONTENT_ENCODING) or "identity",
                    read(scope, RequestField.TRACEPARENT) or "",
                    client_of(scope, identity.subject),
                )
            )
        except ClientDisconnect:
            # The client has gone before the end of the body: nothing of it is published, and nobody
            # reads this answer.
            return Response(status_code=400)
        return Response(
            orjson.dumps(
                {
                    "topic": topic,
                    "count": receipt.last.sequence - receipt.first.sequence + 1,
                    "ids": {"first": str(receipt.first), "last": str(receipt.last)},
                }
            ),
            status_code=202,
            media_type="application/json",
        )
