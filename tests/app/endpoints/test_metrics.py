from __future__ import annotations

import dataclasses
import gzip
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from riptide.main import make_app
from tests.app.endpoints.answers import ask, publish
from tests.asgi import AsgiExchange, http_scope

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from riptide.service import Service


async def _value(app: Starlette, name: str, **labels: str) -> float:
    text = (await ask(app, "GET", "/metrics")).body.decode()
    (value,) = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return value


async def test_an_ordinary_scrape_gets_the_text_format(app: Starlette) -> None:
    answer = await ask(app, "GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "content-encoding" not in answer.headers
    assert b"riptide_streaming_active_connections" in answer.body


async def test_a_scraper_that_knows_open_metrics_gets_it(app: Starlette) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = await ask(app, "GET", "/metrics", headers=[("Accept", accept)])
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


async def test_a_scraper_that_unpacks_gets_it_compressed(app: Starlette) -> None:
    answer = await ask(app, "GET", "/metrics", headers=[("Accept-Encoding", "gzip")])
    assert answer.headers["content-encoding"] == "gzip"
    assert b"riptide_streaming" in gzip.decompress(answer.body)
    assert answer.headers["vary"] == "Accept, Accept-Encoding"


async def test_what_a_stream_does_shows(app: Starlette) -> None:
    assert await _value(app, "riptide_streaming_active_connections", protocol="ndjson") == 0
    exchange = AsgiExchange(app, http_scope("GET", "/topics/a"))
    await exchange.next()
    await exchange.next()
    await publish(app, "a", b"1", b"2")
    await exchange.next()
    assert await _value(app, "riptide_streaming_active_connections", protocol="ndjson") == 1
    assert await _value(app, "riptide_streaming_messages_sent_total", protocol="ndjson") == 2
    assert await _value(app, "riptide_streaming_memory_usage_bytes") > 0
    await exchange.send({"type": "http.disconnect"})
    await exchange.task
    assert await _value(app, "riptide_streaming_active_connections", protocol="ndjson") == 0
    assert await _value(app, "riptide_streaming_total_connections", protocol="ndjson") == 1
    assert await _value(app, "riptide_streaming_memory_usage_bytes") == 0


async def test_where_metrics_are_pushed_a_scraper_is_told_so(service: Service) -> None:
    pushing = dataclasses.replace(service.telemetry, pushes_only=True)
    app = make_app(dataclasses.replace(service, telemetry=pushing))
    answer = await ask(app, "GET", "/metrics")
    assert (answer.status, answer.problem) == (404, "not-found")
    assert "OTEL_METRICS_EXPORTER" in answer.json["detail"]
