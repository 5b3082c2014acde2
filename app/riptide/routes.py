"""Which path leads where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.trace import NoOpTracerProvider
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute, request_response

from riptide.access.operators import OperatorsOnly
from riptide.endpoints.health import Readiness, live
from riptide.endpoints.metrics import Metrics, Targets, misdirected
from riptide.endpoints.openapi import openapi
from riptide.endpoints.page import Page
from riptide.endpoints.publish import Publish
from riptide.endpoints.subscribe import Subscribe
from riptide.endpoints.topics import Topics
from riptide.endpoints.websocket import SubscribeWebSocket
from riptide.errors import NotFoundError

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from riptide.service import Service

# A topic's name is checked by its endpoint, so that a bad one is told what is wrong with it.
TOPIC = "/topics/{topic:path}"


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


def client_routes(service: Service) -> list[BaseRoute]:
    """Return what clients use: topics, their list, the page and the description of the API.

    Streams and publishes report no ``http.server.*``. A stream's life would land in request
    durations, whose bounds end at 10 seconds; and that instrumentation would take more time than
    all the rest of a publish, which has metrics and a span of its own.
    """
    topic = ByMethod(
        GET=Subscribe(service.gate, service.streams, service.telemetry.lifecycle),
        POST=request_response(Publish(service.gate, service.ingest).publish),
    )
    return [
        # First, because they are asked for most, and routes are compared in this order.
        Route(TOPIC, topic, methods=topic.methods),
        WebSocketRoute(TOPIC, SubscribeWebSocket(service.gate, service.streams)),
        _plain(service, "/topics", Topics(service.gate, service.hub).topics),
        _plain(service, "/", Page(service.settings.token_cookie).page, traced=True),
        _plain(service, "/openapi.json", openapi),
    ]


def operator_routes(service: Service) -> list[BaseRoute]:
    """Return what operators use: metrics and health, behind their token if there is one.

    They can be kept from everybody else on a port of their own.
    """
    shares_port = service.metrics_targets is not None
    metrics = misdirected if shares_port else Metrics(service.telemetry).metrics
    readiness = Readiness(service.streams, service.log, service.telemetry)
    guards = _guards(service)
    return [
        _plain(service, "/metrics", metrics, guards),
        _plain(service, "/metrics/targets", Targets(service.metrics_targets).targets, guards),
        _plain(service, "/healthz/live", live, guards),
        _plain(service, "/healthz/ready", readiness.ready, guards),
    ]


def worker_routes(service: Service) -> list[BaseRoute]:
    """Return what a worker has on a port of its own: its metrics, which nothing instruments."""
    metrics = Metrics(service.telemetry).metrics
    return [Route("/metrics", metrics, middleware=_guards(service))]


def _guards(service: Service) -> list[Middleware]:
    token = service.operators_token
    return [] if token is None else [Middleware(OperatorsOnly, token=token)]


def _plain(
    service: Service,
    path: str,
    endpoint: Any,
    guards: list[Middleware] | None = None,
    *,
    traced: bool = False,
) -> Route:
    """Return a route that reports ``http.server.*``.

    It has no spans unless ``traced``: probes and scrapers ask without end.
    """

    def name_span(_scope: Any) -> tuple[str, dict[str, str]]:
        return f"GET {path}", {"http.route": path}

    instrumented = Middleware(
        OpenTelemetryMiddleware,
        meter_provider=service.telemetry.meter_provider,
        tracer_provider=service.telemetry.tracer_provider if traced else NoOpTracerProvider(),
        default_span_details=name_span,
        exclude_spans=["send", "receive"],
    )
    return Route(path, endpoint, methods=["GET"], middleware=[instrumented, *(guards or ())])
