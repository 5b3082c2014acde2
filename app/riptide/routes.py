"""The routes: which path leads to which endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import NoOpTracerProvider
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute, request_response

from riptide.access.operators import OperatorsOnly
from riptide.endpoints.health import live
from riptide.endpoints.metrics import Metrics, Targets
from riptide.endpoints.openapi import openapi
from riptide.endpoints.page import Page
from riptide.endpoints.publish import Publish
from riptide.endpoints.subscribe import Subscribe
from riptide.endpoints.topics import Topics
from riptide.endpoints.websocket import SubscribeWebSocket
from riptide.errors import NotFoundError
from riptide.process.http_conventions import load_instrumentation

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from riptide.service import Service

# The route takes any name, so that the endpoint can say what is wrong with a bad one.
TOPIC = "/topics/{topic:path}"


class ByMethod:
    """One path with an application per method, so that a 405 lists all methods of the path."""

    def __init__(self, **applications: ASGIApp) -> None:
        self.methods = list(applications)
        self._applications = applications

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. The route has refused all other methods.

        Raises:
            NotFoundError: the path names no topic.

        """
        if not scope["path_params"]["topic"]:
            raise NotFoundError("a topic is at /topics/NAME; all there are, at /topics")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._applications[method](scope, receive, send)


def client_routes(service: Service) -> list[BaseRoute]:
    """Return the clients' routes: topics, their list, the page and the description of the API.

    Streams and publishes report no ``http.server.*``, because they have metrics and spans of their
    own. The bounds of request durations end at 10 seconds, too early for streams; and that
    instrumentation would take more time than all the rest of a publish.
    """
    topic = ByMethod(
        GET=Subscribe(service.gate, service.streams, service.telemetry.lifecycle),
        POST=request_response(Publish(service.gate, service.ingest).publish),
    )
    return [
        # First, because routes are tried in this order, and topics get the most requests.
        Route(TOPIC, topic, methods=topic.methods),
        WebSocketRoute(TOPIC, SubscribeWebSocket(service.gate, service.streams)),
        _plain(service, "/topics", Topics(service.gate, service.hub).topics),
        _plain(service, "/", Page(service.settings.token_cookie).page, traced=True),
        _plain(service, "/openapi.json", openapi),
    ]


def operator_routes(service: Service) -> list[BaseRoute]:
    """Return the operators' routes: metrics and health, behind their token if there is one.

    ``RIPTIDE_METRICS_PORT`` moves these routes to a port of their own.
    """
    metrics = Metrics(service.telemetry, service.service_metrics).metrics
    guards = _guards(service)
    return [
        _plain(service, "/metrics", metrics, guards),
        _plain(service, "/metrics/targets", Targets(service.metrics_targets).targets, guards),
        _plain(service, "/healthz/live", live, guards),
        _plain(service, "/healthz/ready", service.readiness.ready, guards),
    ]


def worker_routes(service: Service) -> list[BaseRoute]:
    """Return the routes of a worker's own port: its metrics, which report no ``http.server.*``."""
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

    The route has no spans unless ``traced``, because probes and scrapers ask without end.
    """

    def name_span(_scope: Any) -> tuple[str, dict[str, str]]:
        return f"GET {path}", {"http.route": path}

    instrumented = Middleware(
        load_instrumentation(),
        meter_provider=service.telemetry.meter_provider,
        tracer_provider=service.telemetry.tracer_provider if traced else NoOpTracerProvider(),
        default_span_details=name_span,
        exclude_spans=["send", "receive"],
    )
    return Route(path, endpoint, methods=["GET"], middleware=[instrumented, *(guards or ())])
