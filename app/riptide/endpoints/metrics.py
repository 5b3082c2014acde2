"""GET /metrics: the Prometheus exposition. GET /metrics/targets: the addresses to scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from riptide.errors import MisdirectedError, NotFoundError
from riptide.syntax.request_fields import RequestField, read

if TYPE_CHECKING:
    from starlette.requests import Request

    from riptide.endpoints.metrics_targets import MetricsTargets
    from riptide_telemetry import Telemetry


class Metrics:
    """The metrics of this process."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

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
        scrape = await self._telemetry.exposition.scrape(
            read(request.scope, RequestField.ACCEPT) or "",
            read(request.scope, RequestField.ACCEPT_ENCODING) or "",
        )
        headers = {"Content-Type": scrape.content_type, "Vary": "Accept, Accept-Encoding"}
        if scrape.content_encoding is not None:
            headers["Content-Encoding"] = scrape.content_encoding
        return Response(scrape.body, headers=headers)


async def misdirected(request: Request) -> Response:
    """Refuse, because the metrics would be those of whichever worker took the connection.

    Raises:
        MisdirectedError: always; the text says where the workers' metrics are.

    """
    raise MisdirectedError(
        f"several workers share this port and each has metrics of its own: "
        f"let Prometheus discover them (http_sd_configs) at {request.url.path}/targets"
    )


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
