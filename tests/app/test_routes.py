from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from riptide.main import make_app
from tests.app.endpoints.answers import ask, publish
from tests.asgi import AsgiExchange, http_scope
from tests.waiting import in_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette

    from riptide.service import Service


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/metrics", 200),
        ("GET", "/healthz/live", 200),
        ("GET", "/healthz/ready", 200),
        ("HEAD", "/healthz/ready", 200),
        ("GET", "/topics/a b", 400),
        ("POST", "/topics/a", 415),
        ("HEAD", "/topics/a", 200),
        ("GET", "/topics", 200),
        ("HEAD", "/topics", 200),
        ("POST", "/topics", 405),
        ("GET", "/topics/", 404),
        ("POST", "/topics/", 404),
        ("GET", "/favicon.ico", 404),
    ],
)
async def test_a_path_leads_where_it_should(
    app: Starlette, method: str, path: str, status: int
) -> None:
    assert (await ask(app, method, path)).status == status


@pytest.mark.parametrize("path", ["/topics/a/b", "/topics/a/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_bad_topic_reaches_its_endpoint_and_is_told_what_is_wrong(
    app: Starlette, method: str, path: str
) -> None:
    headers = [("Content-Type", "application/json")]
    answer = await ask(app, method, path, headers=headers, body=b"1")
    assert (answer.status, answer.problem) == (400, "invalid-topic")


async def test_who_names_no_topic_is_told_where_they_are_listed(app: Starlette) -> None:
    answer = await ask(app, "GET", "/topics/")
    assert answer.problem == "not-found"
    assert "/topics" in answer.json["detail"]


async def test_a_topic_says_all_the_methods_that_it_takes(app: Starlette) -> None:
    answer = await ask(app, "PUT", "/topics/a")
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def measured(service: Service, reader: InMemoryMetricReader) -> Iterator[Starlette]:
    """The application's parts behind routes that report to the reader."""
    provider = MeterProvider([reader])
    telemetry = dataclasses.replace(service.telemetry, meter_provider=provider)
    yield make_app(dataclasses.replace(service, telemetry=telemetry))
    provider.shutdown()


def _requests(reader: InMemoryMetricReader) -> dict[tuple[Any, ...], int]:
    """Return how many requests were measured, by method, route and status."""
    data = reader.get_metrics_data()
    counts: dict[tuple[Any, ...], int] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name != "http.server.request.duration":
                    continue
                for point in metric.data.data_points:
                    labels = point.attributes or {}
                    key = (
                        labels["http.request.method"],
                        labels["http.route"],
                        labels["http.response.status_code"],
                    )
                    counts[key] = counts.get(key, 0) + point.count  # type: ignore[union-attr]  # a histogram's points
    return counts


async def test_plain_endpoints_are_measured_by_their_path(
    measured: Starlette, reader: InMemoryMetricReader
) -> None:
    for path in ("/healthz/live", "/healthz/live", "/"):
        await ask(measured, "GET", path)
    assert _requests(reader) == {("GET", "/healthz/live", 200): 2, ("GET", "/", 200): 1}


async def test_topics_have_metrics_of_their_own_and_are_kept_out_of_those_of_requests(
    measured: Starlette, reader: InMemoryMetricReader
) -> None:
    exchange = AsgiExchange(measured, http_scope("GET", "/topics/a"))
    await exchange.next()
    await exchange.send({"type": "http.disconnect"})
    await in_time(exchange.task)
    await publish(measured, "a", b"1")
    await ask(measured, "POST", "/topics/x/y")
    assert _requests(reader) == {}
