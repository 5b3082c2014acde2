"""POST /topics/{topic}: one JSON message, or a batch of them as NDJSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from riptide.admission.client import client_of
from riptide.errors import UnsupportedMediaTypeError
from riptide.message import check_topic

if TYPE_CHECKING:
    from starlette.requests import Request

    from riptide.access.gate import Gate
    from riptide.publishing.ingest import Ingest


async def publish(request: Request) -> Response:
    """Answer 202 with the ids once the log has the messages."""
    gate: Gate = request.app.state.gate
    ingest: Ingest = request.app.state.ingest
    topic = request.path_params["topic"]
    identity = await gate.admit_publisher(request.scope, topic)
    check_topic(topic)
    _refuse_coding(request.headers.get("content-encoding", "identity"))
    length = request.headers.get("content-length")
    try:
        receipt = await ingest.publish(
            topic,
            request.headers.get("content-type", ""),
            None if length is None else int(length),
            request.stream(),
            request.headers.get("traceparent", ""),
            client_of(request.scope, identity.subject),
        )
    except ClientDisconnect:
        # Nobody is left to answer; nothing of a body that broke off is published.
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


def _refuse_coding(coding: str) -> None:
    """Refuse compressed bodies: a few bytes could become any number."""
    if coding.strip().lower() != "identity":
        raise UnsupportedMediaTypeError(
            f"bodies are not taken in the coding {coding[:64]!r}: send it without Content-Encoding"
        )
