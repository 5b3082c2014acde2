"""GET /metrics: the Prometheus exposition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from telemetry import Telemetry


async def metrics(request: Request) -> Response:
    """Answer in the text format, or OpenMetrics, as the scraper accepts."""
    telemetry: Telemetry = request.app.state.telemetry
    scrape = await telemetry.exposition.scrape(
        request.headers.get("accept", ""), request.headers.get("accept-encoding", "")
    )
    headers = {"Content-Type": scrape.content_type, "Vary": "Accept, Accept-Encoding"}
    if scrape.content_encoding is not None:
        headers["Content-Encoding"] = scrape.content_encoding
    return Response(scrape.body, headers=headers)
