"""Faults of the service's own: each part raises once, and the process says so and ends."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from operations.drill.certificates import make_certificate
from riptide_telemetry import ServicePart
from tests import faulty_service, plain
from tests.faulty_service import PLACES, SECRET
from tests.service import Service
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "k" * 32
# Parts whose fault shows only when something is published.
AT_PUBLISH = {ServicePart.FAN_OUT, ServicePart.CALLBACK}


class FaultyService(Service):
    """A service of which one part raises at ``fail``, and that drains until ``go``."""

    def __init__(self, directory: Path, part: ServicePart) -> None:
        settings: dict[str, Any] = {"drain_seconds": 5 * DEADLINE_S, "heartbeat_seconds": 0.2}
        if part is ServicePart.KEY_REFRESH:
            (directory / "secret").write_text(KEY)
            settings |= {"token_secret_file": directory / "secret", "keys_refresh_seconds": 1}
        if part is ServicePart.CERTIFICATE_RENEWAL:
            certificate, key = make_certificate(directory)
            settings |= {"tls_certificate": certificate, "tls_key": key}
        if part is ServicePart.METRICS_SERVER:
            settings["metrics_port"] = 0
        super().__init__(directory, settings)
        self.command = (sys.executable, faulty_service.__file__, part)

    def fail(self, part: ServicePart) -> None:
        """Make the part raise."""
        (self.directory / "fail").touch()
        if part is ServicePart.DRAIN:
            assert self.process is not None
            self.process.send_signal(signal.SIGTERM)
        if part in AT_PUBLISH:
            # Nobody waits for the answer, which a fault may prevent.
            with socket.create_connection(("127.0.0.1", int(self.settings["PORT"]))) as publisher:
                publisher.sendall(
                    b"POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
                    b"Content-Type: application/json\r\n\r\n1"
                )
                wait_until(lambda: "a fault of Riptide" in self.log, lambda: self.log)


def test_every_part_that_a_fault_may_end_is_tried() -> None:
    # The process of a log that workers share: tests/app/workers/test_log_process.py.
    assert {*PLACES, ServicePart.LOG_SERVER} == set(ServicePart)


@pytest.fixture(params=PLACES)
def part(request: pytest.FixtureRequest) -> ServicePart:
    return ServicePart(request.param)


@pytest.fixture
def service(tmp_path: Path, part: ServicePart) -> Iterator[FaultyService]:
    service = FaultyService(tmp_path, part)
    yield service.start()
    # A drain that a failed test has left would wait for ``go``.
    service.kill()


def test_a_fault_in_any_part_is_said_and_the_process_drains_and_ends(
    service: FaultyService, part: ServicePart, tmp_path: Path
) -> None:
    token = jwt.encode({"riptide": {"subscribe": ["*"]}, "exp": 9_999_999_999}, KEY, "HS256")
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    with (
        plain.client(verify=False) as client,  # the certificate is of the test itself
        client.stream("GET", service.topic("a"), headers=headers) as stream,
    ):
        records = stream.iter_lines()
        assert next(records) == "event: opened"
        service.fail(part)
        wait_until(lambda: f"a fault of Riptide in {part}" in service.log, lambda: service.log)
        assert SECRET in service.log
        # With the metrics port gone, so are readiness and metrics.
        if part is not ServicePart.METRICS_SERVER:
            ready = client.get(f"{service.url}/healthz/ready")
            assert ready.status_code == 503
            assert ready.json()["fault"].startswith(f"{part} failed")
            page = client.get(f"{service.url}/metrics").text
            assert f'riptide_faults_total{{part="{part}"}} 1.0' in page
        # The consumer is told to resume elsewhere.
        if part is not ServicePart.DRAIN:
            assert any('"draining"' in line for line in records)
        (tmp_path / "go").touch()
    assert service.process is not None
    assert service.process.wait(DEADLINE_S) == 1
    assert service.log.splitlines()[-1].startswith(
        f"riptide: the process has ended because of a fault of Riptide in {part}"
    )
    # Nobody may have read the metrics before the end, so the next process shows the fault.
    if part is ServicePart.FAN_OUT:
        service.command = Service.command
        assert service.start().metric("riptide_faults_total", part=part) == 1
        assert service.stop() == 0
        assert service.start().metric("riptide_faults_total") == 0
        service.stop()
