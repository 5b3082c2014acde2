"""GET /metrics: the Prometheus exposition. GET /metrics/targets: the addresses to scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from riptide.errors import NotFoundError
from riptide.syntax.request_fields import RequestField, read

if TYPE_CHECKING:
    from starlette.requests import Request

    from riptide.endpoints.metrics_targets import MetricsTargets
    from riptide.endpoints.service_metrics import ServiceMetrics
    from riptide_telemetry import Telemetry


class Metrics:
    """The metrics of this process, or those of all workers if it answers for the service."""

    def __init__(self, telemetry: Telemetry, of_service: ServiceMetrics | None = None) -> None:
        self._telemetry = telemetry
        self._of_service = of_service

    async def metrics(self, request: Request) -> Response:
        """Answer in the text format or OpenMetrics, as the scraper accepts.

        Raises:
            NotFoundError: metrics are only pushed. A nearly empty answer would look like a scrape
                that works.

        """
        if self._telemetry.pushes_only:
            raise NotFoundError(
                "metrics are not shown here, but sent as OTEL_METRICS_EXPORTER says: "
                "set it to prometheus, or prometheus,otlp, to have them scraped"
            )
        exposition = self._telemetry.exposition
        if self._of_service is not None:
            exposition = self._of_service.up_to_date()
        scrape = await exposition.scrape(
            read(request.scope, RequestField.ACCEPT) or "",
            read(request.scope, RequestField.ACCEPT_ENCODING) or "",
        )
        headers = {"Content-Type": scrape.content_type, "Vary": "Accept, Accept-Encoding"}
        if scrape.content_encoding is not None:
            headers["Content-Encoding"] = scrape.content_encoding
        return Response(scrape.body, headers=headers)


class Targets:
    """The addresses to scrape: this process, or all workers if it is one of several."""

    def __init__(self, workers: MetricsTargets | None) -> None:
        self._workers = workers

    async def targets(self, request: Request) -> Response:
        """Answer with all targets in the format of Prometheus's HTTP service discovery."""
        if self._workers is None:
            found: list[dict[str, Any]] = [{"targets": [request.url.netloc], "labels": {}}]
        else:
            found = self._workers.discover(request.url.hostname or "localhost")
        if request.url.scheme == "https":
            for group in found:
                group["labels"]["__scheme__"] = "https"
        return Response(orjson.dumps(found), media_type="application/json")
