"""TLS: every transport over it, and a slow reader that is noticed through it."""

from __future__ import annotations

import datetime as dt
import re
import socket
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx2
import orjson
import pytest

from operations.drill.certificates import make_certificate
from tests import plain
from tests.service import RIPTIDE, SERVING, Service
from tests.slow_socket import slow_socket
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAYLOAD = "x" * 1000


class SecureService(Service):
    """A service behind TLS, and a client that trusts it."""

    def __init__(self, directory: Path) -> None:
        certificate, key = make_certificate(directory)
        settings = {
            "log": "memory",
            # More than a test publishes: nobody falls off the ring before the write timeout.
            "ring_messages": 20_000,
            "tls_certificate": certificate,
            "tls_key": key,
            "write_timeout_seconds": 2,
            "heartbeat_seconds": 1,
            "metrics_port": 0,
        }
        super().__init__(directory, settings)
        self.certificate = certificate
        self.trust = ssl.create_default_context(cafile=certificate)
        self.client = plain.client(verify=self.trust)

    def sample(self, name: bytes) -> float:
        elsewhere = self.log.partition("metrics and health on ")[2].split()[0]
        body = self.client.get(f"{elsewhere}/metrics").content
        return float(body.partition(b"\n%s " % name)[2].split()[0])


RENEWING = """
from riptide import cli
from riptide.server import tls
tls.CHECK_INTERVAL_S = 0.05
cli.main(["serve"])
"""


class RenewingService(SecureService):
    """A service that looks for a renewed certificate all the time."""

    command = (sys.executable, "-c", RENEWING)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureService]:
    yield from _running(SecureService(tmp_path_factory.mktemp("secure")))


@pytest.fixture
def renewing(tmp_path: Path) -> Iterator[SecureService]:
    yield from _running(RenewingService(tmp_path))


def _running(service: SecureService) -> Iterator[SecureService]:
    service.start()
    yield service
    service.client.close()
    assert service.stop() == 0
    assert "Traceback" not in service.log, service.log


def _publish(service: SecureService, topic: str, *messages: object) -> None:
    answer = service.client.post(
        service.topic(topic),
        content=b"\n".join(map(orjson.dumps, messages)),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert answer.status_code == 202, answer.text


def test_it_serves_https_and_says_so(secure: SecureService) -> None:
    match = SERVING.search(secure.log)
    assert match is not None
    assert match[1].startswith("https://")
    (group,) = secure.client.get(
        secure.log.partition("metrics and health on ")[2].split()[0] + "/metrics/targets"
    ).json()
    assert group["labels"] == {"__scheme__": "https"}


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
def test_messages_come_live_over_http(secure: SecureService, topic: str, accept: str) -> None:
    with secure.client.stream("GET", secure.topic(topic), headers={"Accept": accept}) as stream:
        pieces = stream.iter_bytes()
        next(pieces)
        received = b""
        for number in range(20):
            _publish(secure, topic, f"message {number}.")
            while b"message %d." % number not in received:
                received += next(pieces)


def test_messages_come_live_over_websocket(secure: SecureService, topic: str) -> None:
    url = secure.topic(topic).replace("https", "wss", 1)
    with plain.connect_securely(url, secure.trust) as websocket:
        assert orjson.loads(websocket.recv())["event"] == "opened"
        for number in range(20):
            _publish(secure, topic, number)
            assert orjson.loads(websocket.recv())["data"] == number


@pytest.mark.parametrize("protocol", ["sse", "websocket"])
def test_a_reader_that_stalls_is_held_back_and_cut_off_and_costs_bounded_memory(
    secure: SecureService, topic: str, protocol: str
) -> None:
    url = httpx2.URL(secure.url)
    raw = slow_socket()
    raw.connect((url.host, url.port))
    before = secure.sample(
        b'riptide_streaming_backpressure_events_total{protocol="%s"}' % protocol.encode()
    )
    closed = b'riptide_streaming_connections_closed_total{protocol="%s",reason="client_stalled"}'
    with secure.trust.wrap_socket(raw, server_hostname="127.0.0.1") as stalled:
        head = f"GET /topics/{topic} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        if protocol == "websocket":
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            head += "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n"
        stalled.sendall(f"{head}\r\n".encode())
        received = b""
        while b'"opened"' not in received:
            received += stalled.recv(65536)
        gone = secure.sample(closed % protocol.encode())
        for _ in range(20):
            _publish(secure, topic, *[PAYLOAD] * 500)
        assert secure.sample(b"riptide_streaming_memory_usage_bytes") < 32 * 1024 * 1024
        wait_until(lambda: secure.sample(closed % protocol.encode()) > gone)
    after = secure.sample(
        b'riptide_streaming_backpressure_events_total{protocol="%s"}' % protocol.encode()
    )
    assert after > before
    assert secure.sample(b"riptide_streaming_messages_unaccounted") == 0


def test_who_does_not_speak_tls_gets_nowhere_and_hurts_nobody(
    secure: SecureService, topic: str
) -> None:
    url = httpx2.URL(secure.url)
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", b""):
        with socket.create_connection((url.host, url.port), timeout=DEADLINE_S) as plain:
            plain.sendall(data)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65536):
                pass
    _publish(secure, topic, 1)


def test_the_command_line_speaks_tls(
    secure: SecureService, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.certificate))
    monkeypatch.setenv("RIPTIDE_URL", secure.url)
    subprocess.run(
        [RIPTIDE, "publish", "-q", topic], input=b"hello\n", check=True, timeout=DEADLINE_S
    )
    for protocol in ("sse", "ndjson", "websocket"):
        tail = [
            str(RIPTIDE),
            "tail",
            topic,
            "--after=earliest",
            "--count=1",
            f"--protocol={protocol}",
        ]
        assert (
            subprocess.run(tail, check=True, capture_output=True, timeout=DEADLINE_S).stdout
            == b"hello\n"
        )


def test_a_renewed_certificate_is_served_on_all_ports_without_a_break_of_streams(
    renewing: RenewingService,
) -> None:
    service, old = renewing, renewing.client
    with old.stream("GET", service.topic("news")) as stream:
        pieces = stream.iter_bytes()
        assert b'"opened"' in next(pieces)
        make_certificate(service.directory, valid_for=dt.timedelta(days=30))
        wait_until(lambda: "serving the renewed certificate" in service.log, lambda: service.log)
        renewed = ssl.create_default_context(cafile=service.certificate)
        with plain.client(verify=renewed) as client:
            service.client = client
            assert service.sample(b"riptide_streaming_memory_usage_bytes") > 0
            expiry = service.sample(b"riptide_tls_certificate_expiry_timestamp_seconds")
            assert expiry == pytest.approx(time.time() + 30 * 86400, abs=DEADLINE_S)
            assert service.sample(b"riptide_tls_certificate_refused") == 0
            _publish(service, "news", "a message")
        while b"a message" not in next(pieces):
            pass
    with plain.client(verify=service.trust) as distrustful, pytest.raises(httpx2.ConnectError):
        distrustful.get(service.url)
    service.client = old


def test_each_worker_shows_when_the_certificate_that_it_serves_expires(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, valid_for=dt.timedelta(days=30))
    settings = {"log": "memory", "workers": 2, "tls_certificate": certificate, "tls_key": key}
    service = Service(tmp_path, settings).start()
    with plain.client(verify=ssl.create_default_context(cafile=certificate)) as client:
        targets = wait_until(lambda: _both(client.get(f"{service.url}/metrics/targets").json()))
        for target in targets:
            metrics = client.get(f"https://{target}/metrics").text
            (expiry,) = re.findall(
                r"^riptide_tls_certificate_expiry_timestamp_seconds (\S+)$", metrics, re.MULTILINE
            )
            assert float(expiry) == pytest.approx(time.time() + 30 * 86400, abs=DEADLINE_S)
    assert service.stop() == 0


def _both(groups: list[dict[str, list[str]]]) -> list[str] | None:
    """Return the targets of both workers, once there are two."""
    targets = [target for group in groups for target in group["targets"]]
    return targets if len(targets) == 2 else None
