"""Whatever the environment holds, the service starts, or refuses in one line that helps.

``tests/telemetry/environment`` tries every variable with every kind of value. Here are real starts,
with one variable of each kind that OpenTelemetry reads by itself.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import plain
from tests.issuer import Issuer
from tests.jwks_server import JwksServer
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

NO_TEXT = b"\xff\xfe".decode("utf-8", "surrogateescape")
EXPORTS = {
    **{f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("METRICS", "TRACES", "LOGS")},
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "100",
}


def _start(directory: Path, *arguments: str, **variables: str) -> list[str]:
    """Start a service that cannot start, and return its lines."""
    done = subprocess.run(
        [RIPTIDE, "serve", *arguments],
        env={"PATH": os.environ["PATH"], "RIPTIDE_PORT": "0", **variables},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "s3cret" not in done.stderr
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        # Read when OpenTelemetry is imported.
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
        # Read when its parts are made.
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "9" * 30),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "sometimes"),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "nowhere"),
        ("OTEL_RESOURCE_ATTRIBUTES", "s3cret"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1e300"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cret;x"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "Bearer s3cret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://u:s3cret@collector"),
        ("OTEL_SERVICE_NAME", NO_TEXT),
        # Read for each record, and for each request.
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "-1"),
        ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "["),
        ("RIPTIDE_ALLOWED_HOSTS", NO_TEXT),
        ("RIPTIDE_JWKS_URL", "ftp://u:s3cret@issuer"),
    ],
)
def test_a_wrong_value_of_each_kind_is_refused_in_one_line(
    tmp_path: Path, variable: str, value: str
) -> None:
    (line,) = _start(tmp_path, **{**EXPORTS, variable: value})
    assert line.startswith(f"riptide: {variable} ")


def test_workers_are_not_started_to_refuse_it_again(tmp_path: Path) -> None:
    (line,) = _start(tmp_path, "--workers", "2", OTEL_SPAN_LINK_COUNT_LIMIT="x")
    assert line.startswith("riptide: OTEL_SPAN_LINK_COUNT_LIMIT is 'x', but must be ")


def test_keys_behind_a_proxy_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path) -> None:
    (line,) = _start(
        tmp_path,
        RIPTIDE_JWKS_URL="https://issuer.invalid/keys",
        ALL_PROXY="socks5://u:s3cret@127.0.0.1:9",
    )
    assert line.startswith("riptide: RIPTIDE_JWKS_URL cannot be fetched: ALL_PROXY must be ")


def test_a_password_for_the_issuer_of_tokens_is_not_logged_at_any_level(
    start_service: StartService,
) -> None:
    with JwksServer(Issuer("ES256")) as server:
        url = server.url.replace("http://", "http://u:s3cret@") + "?key=s3cret"
        service = start_service(jwks_url=url, log_level="debug", log="memory")
        assert server.requests
    assert "s3cret" not in service.log


def test_a_service_serves_with_every_variable_empty(start_service: StartService) -> None:
    from tests.telemetry.environment.test_variables import SPECIFICATION  # noqa: PLC0415  # the list

    empty = {each: "" for each in sorted(SPECIFICATION) if each not in EXPORTS}
    service = start_service(**empty, **EXPORTS, otel_semconv_stability_opt_in="", log="memory")
    plain.get(service.url)
    service.publish("topic", 1)
    log = service.log
    assert service.stop() == 0
    assert "opentelemetry" not in log


@pytest.mark.parametrize("propagators", ["b3", "none"])
def test_a_service_serves_whatever_propagators_and_contexts_are_named(
    start_service: StartService, propagators: str
) -> None:
    service = start_service(
        otel_propagators=propagators, otel_python_context="nonsense", log="memory"
    )
    assert service.log.count("OTEL_PROPAGATORS has no effect here") == 1
    for path in ("/", "/topics", "/metrics"):
        assert plain.get(f"{service.url}{path}").status_code == 200
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    published = plain.post(
        service.topic("topic"),
        content=b"1",
        headers={"Content-Type": "application/json", "traceparent": parent},
    )
    assert published.status_code == 202
    read = plain.get(service.topic("topic"), params={"after": "earliest", "until": "latest"})
    assert parent in read.text


@pytest.mark.parametrize("opt_in", ["", "database", "nonsense"])
def test_metrics_of_plain_requests_keep_their_names(
    start_service: StartService, opt_in: str
) -> None:
    service = start_service(otel_semconv_stability_opt_in=opt_in, log="memory")
    plain.get(f"{service.url}/topics")
    names = {each.partition("{")[0] for each in service.metrics() if "http_server" in each}
    assert "http_server_request_duration_seconds_count" in names
    assert "http_server_duration_milliseconds_count" not in names
