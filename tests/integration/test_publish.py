"""Bad requests get problem details that help, and change nothing."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests import plain
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.service import Service

NDJSON = "application/x-ndjson"
PUBLISHED = "riptide_streaming_messages_published_total"


def _post(service: Service, topic: str, body: bytes, kind: str) -> httpx2.Response:
    return plain.post(service.topic(topic), content=body, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    ("body", "kind", "status", "slug"),
    [
        (b"{", "application/json", 400, "invalid-message"),
        (b"", "application/json", 400, "invalid-message"),
        (b"1 2", "application/json", 400, "invalid-message"),
        (b"NaN", "application/json", 400, "invalid-message"),
        (b'"\xff"', "application/json", 400, "invalid-message"),
        (b'"\\ud800"', "application/json", 400, "invalid-message"),
        (b"[" * 100_000 + b"]" * 100_000, "application/json", 400, "invalid-message"),
        (b"", NDJSON, 400, "invalid-message"),
        (b"\n\n", NDJSON, 400, "invalid-message"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        (b"1", "nonsense", 415, "unsupported-media-type"),
        (b'"' + b"x" * 1_100_000 + b'"', "application/json", 413, "too-large"),
    ],
)
def test_a_bad_body_is_refused_with_problem_details(
    shared_service: Service, topic: str, body: bytes, kind: str, status: int, slug: str
) -> None:
    answer = _post(shared_service, topic, body, kind)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:riptide:problem:{slug}"
    assert problem["status"] == status
    assert problem["detail"]


def test_a_bad_line_is_named_and_nothing_of_its_batch_is_taken(
    start_service: StartService, topic: str
) -> None:
    service = start_service(log="memory")
    answer = _post(service, topic, b'1\n\n"two"\n{"three": 3\n4\n', NDJSON)
    assert answer.status_code == 400
    assert answer.json()["line"] == 4
    assert "line 4" in answer.json()["detail"]
    replay = plain.get(service.topic(topic), params={"until": "latest"}).text
    assert '"total":0' in replay
    assert service.metric(PUBLISHED, outcome="invalid") == 4
    assert service.metric(PUBLISHED, outcome="accepted") == 0


def test_a_body_over_the_limit_is_not_read_to_its_end(
    start_service: StartService, topic: str
) -> None:
    service = start_service(log="memory", max_body_bytes=100_000)
    url = httpx2.URL(service.url)
    for framing in (f"Content-Length: {10**9}", "Transfer-Encoding: chunked"):
        with socket.create_connection((url.host, url.port)) as client:
            client.settimeout(DEADLINE_S)
            head = f"POST /topics/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {NDJSON}\r\n"
            client.sendall(f"{head}{framing}\r\n\r\n".encode())
            if "chunked" in framing:
                client.sendall(b"%x\r\n" % 200_000 + b"1\n" * 100_000)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer.lower()
        assert b"RIPTIDE_MAX_BODY_BYTES" in answer
    assert service.metric(PUBLISHED, outcome="too_large") == 2


def test_a_publisher_that_leaves_in_the_middle_publishes_nothing(
    shared_service: Service, topic: str
) -> None:
    url = httpx2.URL(shared_service.url)
    with socket.create_connection((url.host, url.port)) as client:
        head = f"POST /topics/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {NDJSON}\r\n"
        client.sendall(f"{head}Content-Length: 100\r\n\r\n1\n2\n".encode())
    # What was sent before is dealt with before.
    shared_service.publish(topic, "the only one")
    replay = plain.get(shared_service.topic(topic), params={"until": "latest"}).text
    assert '"total":1' in replay
    assert "the only one" in replay


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/topics/a", 405), ("POST", "/metrics", 405)],
)
def test_a_wrong_path_or_method_is_refused_with_problem_details(
    shared_service: Service, method: str, path: str, status: int
) -> None:
    answer = plain.request(method, f"{shared_service.url}{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 405:
        assert "GET" in answer.headers["allow"]


def test_an_unacceptable_format_is_refused_with_those_there_are(shared_service: Service) -> None:
    for accept in ("text/xml", "image/*;q=0.5", "nonsense"):
        answer = plain.get(shared_service.topic("a"), headers={"Accept": accept})
        assert answer.status_code == 406
        assert "text/event-stream" in answer.json()["detail"]


def _half_close(service: Service, request: bytes) -> bytes:
    """Send a request and the half of a close that belongs to the client; return what comes."""
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
        return received


def test_a_publisher_that_half_closes_hears_that_its_message_is_stored(
    start_service: StartService, topic: str
) -> None:
    service = start_service()
    for number in range(20):
        answer = _half_close(
            service,
            b"POST /topics/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%d" % (topic.encode(), len(b"%d" % number), number),
        )
        assert answer.startswith(b"HTTP/1.1 202 "), answer
    assert service.metric(PUBLISHED, outcome="accepted") == 20


def test_a_stream_of_a_client_that_half_closes_ends(
    start_service: StartService, topic: str
) -> None:
    service = start_service(log="memory")
    service.publish(topic, 1)
    for accept in (b"text/event-stream", b"application/x-ndjson"):
        _half_close(
            service,
            b"GET /topics/%s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n"
            % (topic.encode(), accept),
        )
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    assert service.stop() == 0
    assert "Traceback" not in service.log
    assert "without completing" not in service.log
