"""The service as ASGI applications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from riptide.access.credentials import TokenOutOfQuery
from riptide.access.cross_origin import EXPOSED_HEADERS, allowed_headers
from riptide.access.origins import ANY
from riptide.endpoints.problems import EXCEPTION_HANDLERS
from riptide.lifespan import lifespan
from riptide.routes import client_routes, operator_routes, worker_routes
from riptide.service import make_service
from riptide.settings.settings import load_settings

if TYPE_CHECKING:
    from riptide.service import Service
    from riptide.settings.settings import Settings


def create_app(settings: Settings | None = None) -> Starlette:
    """Return the application for any ASGI server. Only ``riptide serve`` drains at the signal.

    Raises:
        InvalidSettingsError: a variable of the environment has a value that is not allowed.
        KeyFileError: the operators' token cannot be read.

    """
    return make_app(make_service(settings or load_settings()))


def make_app(service: Service) -> Starlette:
    """Return the application of a service."""
    routes = client_routes(service)
    if service.metrics_targets is not None or service.settings.metrics_port is None:
        routes += operator_routes(service)
    return Starlette(
        routes=routes,
        middleware=_make_middleware(service.settings),
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lambda _app: lifespan(service),
    )


def make_metrics_app(service: Service) -> Starlette:
    """Return the application of the metrics port: a worker's metrics, or metrics and health."""
    is_worker = service.metrics_targets is not None
    routes = worker_routes(service) if is_worker else operator_routes(service)
    return Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS)


def _make_middleware(settings: Settings) -> list[Middleware]:
    layers = [*_trust_proxies(settings), Middleware(TokenOutOfQuery)]
    if settings.allowed_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                allow_methods=["GET", "HEAD", "POST"],
                allow_headers=allowed_headers(),
                # EventSource needs cookies, which are allowed unless any origin is.
                allow_credentials=ANY not in settings.allowed_origins,
                expose_headers=EXPOSED_HEADERS,
            )
        )
    return layers


def _trust_proxies(settings: Settings) -> list[Middleware]:
    """Return the middleware that reads the client's address from the headers of proxies."""
    if not settings.trusted_proxies:
        return []
    trusted = list(settings.trusted_proxies)
    return [Middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)]
