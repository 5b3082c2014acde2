"""One endpoint that streams Server-Sent Events, behind a middleware.

Run by the benchmark ``middleware`` as ``python -m benchmarks.streaming_app NAME MESSAGES``. The
OpenTelemetry SDK is set up for the least cost: nothing reads metrics, and nothing exports spans.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette_exporter import PrometheusMiddleware

from benchmarks.service import HOST
from riptide_telemetry import start_telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

EVENT = b'id: 3f9a1c2e-42\ndata: {"sensor":"a-17","reading":21.75}\n\n'


def bare(app: Starlette) -> None:
    """Add nothing."""


def opentelemetry(app: Starlette) -> None:
    """Add opentelemetry-instrumentation-asgi with its defaults."""
    app.add_middleware(
        OpenTelemetryMiddleware,
        tracer_provider=TracerProvider(),
        meter_provider=MeterProvider([InMemoryMetricReader()]),
    )


def opentelemetry_excluding(app: Starlette) -> None:
    """Add opentelemetry-instrumentation-asgi without a span for each message."""
    app.add_middleware(
        OpenTelemetryMiddleware,
        tracer_provider=TracerProvider(),
        meter_provider=MeterProvider([InMemoryMetricReader()]),
        exclude_spans=["send", "receive"],
    )


def starlette_exporter(app: Starlette) -> None:
    """Add starlette-exporter with its defaults."""
    app.add_middleware(PrometheusMiddleware)


def fastapi_instrumentator(app: Starlette) -> None:
    """Add prometheus-fastapi-instrumentator with its defaults."""
    Instrumentator().instrument(app)


def riptide(app: Starlette) -> None:
    """Add Riptide's middleware."""
    module = importlib.import_module("riptide_telemetry.middleware.asgi")
    app.add_middleware(
        module.StreamTelemetryMiddleware, lifecycle=start_telemetry("benchmark").lifecycle
    )


CONTENDERS: dict[str, Callable[[Starlette], None]] = {
    "bare": bare,
    "opentelemetry-instrumentation-asgi": opentelemetry,
    "the same, exclude_spans=[send, receive]": opentelemetry_excluding,
    "starlette-exporter": starlette_exporter,
    "prometheus-fastapi-instrumentator": fastapi_instrumentator,
}
if importlib.util.find_spec("riptide_telemetry.middleware.asgi") is not None:
    CONTENDERS["riptide_telemetry.middleware.asgi.StreamTelemetryMiddleware"] = riptide


def make_app(contender: str, message_count: int) -> Starlette:
    """Return the application; each request gets so many messages."""

    async def events() -> AsyncIterator[bytes]:
        for _ in range(message_count):
            yield EVENT

    async def stream(_request: Request) -> StreamingResponse:
        return StreamingResponse(events(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/stream", stream)])
    CONTENDERS[contender](app)
    return app


def main(contender: str, message_count: int) -> None:
    """Serve on any port until a signal."""
    logging.basicConfig(level=logging.INFO)
    app = make_app(contender, message_count)
    config = uvicorn.Config(app, access_log=False, log_config=None, timeout_graceful_shutdown=1)
    with socket.create_server((HOST, 0), backlog=128) as listener:
        logging.getLogger("benchmark").info("serving on http://%s:%d", *listener.getsockname())
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
