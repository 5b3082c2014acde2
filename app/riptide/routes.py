"""Which path leads where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.trace import NoOpTracerProvider
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute, request_response

from riptide.access.operators import OperatorsOnly
from riptide.endpoints.health import live, ready
from riptide.endpoints.metrics import metrics, misdirected, targets
from riptide.endpoints.openapi import openapi
from riptide.endpoints.page import page
from riptide.endpoints.publish import publish
from riptide.endpoints.subscribe import Subscribe
from riptide.endpoints.topics import topics
from riptide.endpoints.websocket import SubscribeWebSocket
from riptide.errors import NotFoundError

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

# A topic's name is checked by its endpoint, so that a bad one is told what is wrong with it.
TOPIC = "/topics/{topic:path}"
OPERATORS = ("/metrics", "/metrics/targets", "/healthz/live", "/healthz/ready")
"""The paths that a port, or a token, of their own can keep from everybody else."""


class ByMethod:
    """A topic's path, an application a method: so a wrong method is told all the right ones."""

    def __init__(self, **applications: ASGIApp) -> None:
        self.methods = list(applications)
        self._applications = applications

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the route lets no other methods through.

        Raises:
            NotFoundError: it names no topic at all.

        """
        if not scope["path_params"]["topic"]:
            raise NotFoundError("a topic is at /topics/NAME; all there are, at /topics")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._applications[method](scope, receive, send)


def make_routes(
    meter_provider: MeterProvider,
    tracer_provider: TracerProvider,
    *,
    shares_port: bool,
    operators_token: bytes | None = None,
) -> list[BaseRoute]:
    """Return the routes; the plain ones report ``http.server.*``, those of topics do not.

    A stream's life would land in request durations, whose bounds end at 10 seconds. Of a publish,
    that instrumentation would take more time than all the rest; it has metrics and a span of its
    own. Nor is traced what probes and scrapers ask for without end. A worker that shares its port
    has its metrics on another one.
    """
    untraced = NoOpTracerProvider()

    def plain(path: str, endpoint: Any, *, traced: bool = False) -> Route:
        def name_span(_scope: Any) -> tuple[str, dict[str, str]]:
            return f"GET {path}", {"http.route": path}

        instrumented = Middleware(
            OpenTelemetryMiddleware,
            meter_provider=meter_provider,
            tracer_provider=tracer_provider if traced else untraced,
            default_span_details=name_span,
            exclude_spans=["send", "receive"],
        )
        layers = [instrumented]
        if operators_token is not None and path in OPERATORS:
            layers.append(Middleware(OperatorsOnly, token=operators_token))
        return Route(path, endpoint, methods=["GET"], middleware=layers)

    topic = ByMethod(GET=Subscribe(), POST=request_response(publish))
    return [
        # First, for they are asked for most, and are compared in this order.
        Route(TOPIC, topic, methods=topic.methods),
        WebSocketRoute(TOPIC, SubscribeWebSocket()),
        plain("/topics", topics),
        plain("/", page, traced=True),
        plain("/openapi.json", openapi),
        plain("/metrics", misdirected if shares_port else metrics),
        plain("/metrics/targets", targets),
        plain("/healthz/live", live),
        plain("/healthz/ready", ready),
    ]
