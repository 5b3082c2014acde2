"""Clients that mean harm, or are broken: each is told so or cut off, and nobody else suffers.

Every test ends with the service in good health; at the end of all, its log has no fault of ours and
its memory is what it was.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import os
import re
import socket
import struct
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx2
import orjson
import pytest
from websockets.frames import CloseCode, Opcode

from riptide.publishing.ingest import LARGEST_BODIES
from riptide.server.websocket_limits import MAX_FRAMES_A_SECOND
from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.contract.raw import RawStream
from tests.service import Service
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartService
    from tests.contract.consumers import Transport

MEBIBYTE = 1024 * 1024
# As many as may be on their way at once.
PIPELINED = 16
# Room for what the allocator keeps of the largest bodies that are taken.
MEMORY_BYTES = 64 * MEBIBYTE
UNACCOUNTED = b"riptide_streaming_messages_unaccounted"
ACTIVE = "riptide_streaming_active_connections"
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


def _resident_bytes(service: Service) -> int:
    status = Path(f"/proc/{service.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _open_files(service: Service) -> int:
    return len(list(Path(f"/proc/{service.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {
        "log": "memory",
        # Ten times what a client takes that shares the processor with many.
        "head_timeout_seconds": 3,
        "body_timeout_seconds": 4,
        "write_timeout_seconds": 4,
        "heartbeat_seconds": 1,
        "max_body_bytes": MEBIBYTE,
        "max_message_bytes": 64 * 1024,
    }
    service = Service(tmp_path_factory.mktemp("target"), settings).start()
    # What it takes to have served at all.
    with plain.client(base_url=service.url) as client:
        for _ in range(50):
            client.post("/topics/warm", content=b"1", headers={"Content-Type": "application/json"})
        client.get("/metrics")
    memory, files = _resident_bytes(service), _open_files(service)
    yield service
    service.wait_for_metric(0, ACTIVE)
    wait_until(lambda: _open_files(service) <= files, "no descriptor is leaked")
    assert _resident_bytes(service) < memory + MEMORY_BYTES
    assert service.stop() == 0
    assert "Traceback" not in service.log, service.log


@pytest.fixture(autouse=True)
def _in_good_health(target: Service) -> Iterator[None]:
    yield
    with contextlib.closing(
        HTTPConnection(target.url.removeprefix("http://"), timeout=DEADLINE_S)
    ) as http:

        def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
            http.request(method, path, body, {"Content-Type": "application/json"})
            answer = http.getresponse()
            return answer.status, answer.read()

        assert ask("GET", "/healthz/ready")[0] == 200
        well = b'"well at %d"' % time.monotonic_ns()
        assert ask("POST", "/topics/health", well)[0] == 202
        assert well in ask("GET", "/topics/health?until=latest")[1]
        assert b"\n%s 0.0\n" % UNACCOUNTED in ask("GET", "/metrics")[1]


class Attacker:
    """A socket to the service."""

    def __init__(self, service: Service) -> None:
        url = httpx2.URL(service.url)
        self.socket = socket.create_connection((url.host, url.port), timeout=DEADLINE_S)
        self.received = b""

    def read_until(self, text: bytes) -> None:
        """Read until the text has come."""
        while text not in self.received:
            chunk = self.socket.recv(65536)
            assert chunk, self.received[-1000:]
            self.received += chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_until_cut_off(self, data: bytes, pause_s: float = 0.0) -> int:
        """Send the same again and again until nobody takes it; return how many bytes went."""
        sent = 0
        deadline = time.monotonic() + DEADLINE_S
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                sent += self.socket.send(data)
                time.sleep(pause_s)
                if self._read_now():
                    return sent
        self.rest()
        assert time.monotonic() < deadline, "it was never cut off"
        return sent

    def _read_now(self) -> bool:
        """Read what is there; return whether that was all that will ever come."""
        self.socket.setblocking(False)
        try:
            while chunk := self.socket.recv(65536):
                self.received += chunk
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(DEADLINE_S)
        return True

    def rest(self) -> bytes:
        """Read until the service closes."""
        with contextlib.suppress(ConnectionError):
            while chunk := self.socket.recv(65536):
                self.received += chunk
        return self.received

    def rest_of_answer(self) -> bytes:
        """Read to the end of an answer, whether the service closes then or not; a JSON object."""
        while not self.received.endswith(b"}"):
            chunk = self.socket.recv(65536)
            assert chunk, self.received
            self.received += chunk
        return self.received

    @property
    def status(self) -> int:
        """The status of the first answer, 0 if there was none."""
        match = STATUS.match(self.received)
        return int(match[1]) if match else 0

    def problem(self) -> str:
        """Return the kind of problem that the answer describes."""
        assert b"application/problem+json" in self.received, self.received[:500]
        body = orjson.loads(self.received.partition(b"\r\n\r\n")[2])
        assert body["detail"]
        kind: str = body["type"]
        return kind.removeprefix("urn:riptide:problem:")


def _ask(service: Service, *requests: bytes) -> list[Attacker]:
    """Send requests, each on a connection, and read the answers until they are closed."""
    with contextlib.ExitStack() as stack:
        attackers = [stack.enter_context(Attacker(service)) for _ in requests]
        for attacker, request in zip(attackers, requests, strict=True):
            attacker.send(request)
        for attacker in attackers:
            attacker.rest()
        return attackers


# --- slow, half-open and endless


def test_a_connection_that_says_nothing_is_closed(target: Service) -> None:
    with contextlib.ExitStack() as stack:
        attackers = [stack.enter_context(Attacker(target)) for _ in range(100)]
        assert {attacker.rest() for attacker in attackers} == {b""}


def test_slow_headers_are_cut_off_however_steadily_they_trickle(target: Service) -> None:
    beginnings = [
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"GET /topics/a HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    ]
    for attacker in _ask(target, *beginnings):
        assert (attacker.status, attacker.problem()) == (408, "request-timeout")
    with Attacker(target) as attacker:
        attacker.send(beginnings[-1])
        attacker.send_until_cut_off(b"a", pause_s=0.05)


def test_slow_headers_on_a_connection_that_was_good_before_are_cut_off(target: Service) -> None:
    with Attacker(target) as attacker:
        attacker.send(b"GET /healthz/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        attacker.read_until(b"}")
        attacker.received = b""
        attacker.send(b"GET /healthz/live HT")
        attacker.rest()
        assert (attacker.status, attacker.problem()) == (408, "request-timeout")


POST = b"POST /topics/hostile HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_a_body_that_does_not_come_is_not_waited_for(target: Service) -> None:
    before = target.metric("riptide_streaming_messages_published_total", outcome="accepted")
    beginnings = [
        POST + b"Content-Length: 1000\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n",
    ]
    for attacker in _ask(target, *beginnings):
        assert (attacker.status, attacker.problem()) == (408, "request-timeout")
    after = target.metric("riptide_streaming_messages_published_total", outcome="accepted")
    assert after == before


def test_a_body_that_trickles_is_cut_off(target: Service) -> None:
    with Attacker(target) as attacker:
        attacker.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        attacker.send_until_cut_off(b"1\r\n1\r\n", pause_s=0.05)


@pytest.mark.parametrize(
    "head",
    [
        POST + b"Content-Length: 9999999999\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n",
        # Not read at all: refused before, or not expected.
        b"POST /topics/hostile HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /healthz/live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /topics/hostile HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"DELETE /topics/hostile HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n",
    ],
)
def test_an_endless_body_is_cut_off_and_takes_no_memory(target: Service, head: bytes) -> None:
    memory = _resident_bytes(target)
    with Attacker(target) as attacker:
        attacker.send(head)
        attacker.send_until_cut_off(b"8000\r\n" + b"1" * 0x8000 + b"\r\n")
    assert _resident_bytes(target) < memory + MEMORY_BYTES


def test_half_open_connections_are_given_up(target: Service, topic: str) -> None:
    # A client that has said all that it will ever say, and one that reads nothing.
    with RawStream(target, topic, "sse") as quiet, RawStream(target, topic, "ndjson") as deaf:
        quiet.wait_until_open()
        deaf.wait_until_open()
        quiet.socket.shutdown(socket.SHUT_WR)
        target.wait_for_metric(1, ACTIVE)
        for _ in range(12):
            target.publish_lines(topic, [b'"%s"' % (b"x" * 1000)] * 800)
        target.wait_for_metric(0, ACTIVE)


def test_a_blank_line_after_an_answer_keeps_no_connection_open(target: Service) -> None:
    for upgrade in (b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"):
        with Attacker(target) as attacker:
            attacker.send(b"GET /healthz/live HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % upgrade)
            attacker.read_until(b"}")
            attacker.send(b"\r\n")
            assert attacker.rest().endswith(b"}")


def test_what_is_left_of_a_stream_that_is_over_is_not_kept_for_who_does_not_read_it(
    target: Service, topic: str
) -> None:
    files = _open_files(target)
    lines = [b'"%s"' % (b"x" * 50_000)] * 10
    ids = [target.publish_lines(topic, lines) for _ in range(12)]
    epoch, _, last = ids[-1][1].partition("-")
    closed = "riptide_streaming_connections_closed_total"
    ends = {"protocol": "ndjson", "reason": "completed"}
    before = target.metric(closed, **ends)
    with contextlib.ExitStack() as stack:
        # From what the kernel's buffers take to what they do not, in steps of what ours takes.
        for behind in range(20, 120, 2):
            url = httpx2.URL(target.topic(topic))
            client = stack.enter_context(contextlib.closing(socket.socket()))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((url.host, url.port))
            client.sendall(
                b"GET %s?until=latest&after=%s-%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
                % (url.raw_path, epoch.encode(), int(last) - behind)
            )
        target.wait_for_metric(0, ACTIVE)
        assert 0 < target.metric(closed, **ends) - before < 50
        wait_until(lambda: _open_files(target) <= files, "no connection is kept")


# --- requests that are too large, or none at all


def test_a_head_over_its_limit_is_refused(target: Service) -> None:
    heads = [
        b"GET /topics/a?after=" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: x\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: "
        + b"riptide_token=x; " * 10_000
        + b"\r\n\r\n",
    ]
    for attacker in _ask(target, *heads):
        assert (attacker.status, attacker.problem()) == (431, "head-too-large")


@pytest.mark.parametrize("endless", [b"x" * 65536, b"X-A: y\r\n" * 8192])
def test_an_endless_head_is_cut_off_and_takes_no_memory(target: Service, endless: bytes) -> None:
    memory = _resident_bytes(target)
    with Attacker(target) as attacker:
        attacker.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-B: ")
        attacker.send_until_cut_off(endless)
    assert _resident_bytes(target) < memory + MEMORY_BYTES


def test_what_is_not_http_is_refused(target: Service) -> None:
    requests = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS handshake
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /topics/a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX\x00Y: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: a\x00b\r\n\r\n",
        b"GET /topics/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    for attacker in _ask(target, *requests):
        assert (attacker.status, attacker.problem()) == (400, "malformed-request")


def test_one_request_is_not_smuggled_inside_another(target: Service) -> None:
    inner = b"POST /topics/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1"
    for framing in (
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n" % (5 + len(inner)),
        b"Transfer-Encoding: xchunked\r\nContent-Length: 1\r\n\r\n1",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ):
        (attacker,) = _ask(target, POST + framing + inner)
        assert attacker.received.count(b"HTTP/1.1 2") == 0, attacker.received


QUADRATIC = b';"' + b";" * 60_000


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (
            b"GET /topics/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream%s\r\n\r\n",
            (406, "not-acceptable"),
        ),
        (POST.rstrip() + b"%s\r\nContent-Length: 1\r\n\r\n1", (415, "unsupported-media-type")),
    ],
)
def test_a_media_type_that_takes_long_to_read_is_not_read(
    target: Service, head: bytes, problem: tuple[int, str]
) -> None:
    with Attacker(target) as attacker:
        attacker.send(head % QUADRATIC)
        attacker.rest_of_answer()
        assert (attacker.status, attacker.problem()) == problem


@pytest.mark.parametrize("line", [b"\n", b"1\n", b" \n"])
def test_a_batch_of_more_lines_than_the_limit_is_refused_unread(
    target: Service, line: bytes
) -> None:
    memory = _resident_bytes(target)
    published = "riptide_streaming_messages_published_total"
    before = target.metric(published, outcome="accepted")
    answer = plain.post(
        target.topic("hostile"),
        content=line * (MEBIBYTE // len(line)),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:riptide:problem:too-large"
    assert "RIPTIDE_MAX_BATCH_MESSAGES" in answer.json()["detail"]
    assert target.metric(published, outcome="accepted") == before
    assert _resident_bytes(target) < memory + 16 * MEBIBYTE


def test_bodies_that_are_held_back_are_bounded_and_others_go_on_publishing(
    start_service: StartService, topic: str
) -> None:
    service = start_service(log="memory", max_body_bytes=256 * 1024)
    held = "riptide_streaming_memory_usage_bytes"
    body = b'"' + b"x" * (256 * 1024 - 3)
    head = POST + b"Content-Length: %d\r\n\r\n" % (len(body) + 1)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(Attacker(service)) for _ in range(LARGEST_BODIES)]
        for attacker in crowd:
            attacker.send(head + body)
        service.wait_for_metric(LARGEST_BODIES * len(body), held)
        refused = stack.enter_context(Attacker(service))
        refused.send(head + body)
        refused.rest_of_answer()
        assert (refused.status, refused.problem()) == (503, "body-limit")
        assert b"\r\nretry-after: " in refused.received.lower()
        # What most clients publish gets through.
        service.publish(topic, "small")
        # So does each of the bodies, once it is whole.
        crowd[0].send(b'"')
        crowd[0].rest_of_answer()
        assert crowd[0].status == 202
        # And there is room again.
        late = stack.enter_context(Attacker(service))
        late.send(head + body + b'"')
        late.rest_of_answer()
        assert late.status == 202
    service.wait_for_metric(0, held)
    published = "riptide_streaming_messages_published_total"
    assert service.metric(published, outcome="body_limit") == 1
    assert service.metric(published, outcome="accepted") == 3


def test_a_request_is_not_smuggled_in_the_body_of_one_that_asks_for_an_upgrade(
    target: Service, topic: str
) -> None:
    inner = b"POST /topics/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1"
    body = orjson.dumps(inner.decode())
    head = (
        POST.replace(b"hostile", topic.encode())
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
        + b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with Attacker(target) as together, Attacker(target) as apart:
        last = head.replace(b"Upgrade, ", b"close, Upgrade, ")
        together.send(head + body + last + body)
        apart.send(last)
        time.sleep(0.1)
        apart.send(body)
        for attacker, requests in ((together, 2), (apart, 1)):
            attacker.rest()
            assert attacker.received.count(b"HTTP/1.1 202") == requests
            assert attacker.received.count(b"HTTP/1.1") == requests
    replay = plain.get(f"{target.topic(topic)}?after=earliest&until=latest").text
    assert replay.count('"data":') == 3


def test_trailers_are_no_headers_and_have_an_end(target: Service) -> None:
    memory = _resident_bytes(target)
    head = b"POST /topics/hostile HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    (attacker,) = _ask(
        target, head + b"1\r\n1\r\n0\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    )
    assert (attacker.status, attacker.problem()) == (415, "unsupported-media-type")
    for endless in (b"a:b\r\n" * 13_000, b"x" * 65_000):
        with Attacker(target) as attacker:
            attacker.send(head.replace(b"Host", b"Content-Type: application/json\r\nHost"))
            attacker.send(b"1\r\n1\r\n0\r\na:")
            attacker.send_until_cut_off(endless)
    assert _resident_bytes(target) < memory + 16 * MEBIBYTE


def test_requests_behind_a_stream_take_no_memory(target: Service, topic: str) -> None:
    memory = _resident_bytes(target)
    with contextlib.ExitStack() as stack:
        attackers = [stack.enter_context(Attacker(target)) for _ in range(10)]
        for attacker in attackers:
            attacker.send(b"GET /topics/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % topic.encode())
            attacker.read_until(b'"opened"')
            attacker.send(b"GET / HTTP/1.1\r\n\r\n" * 50_000)
        target.wait_for_metric(10, ACTIVE)
        assert _resident_bytes(target) < memory + 16 * MEBIBYTE
        # The streams are none the worse for it.
        target.publish(topic, "after all")
        for attacker in attackers:
            attacker.read_until(b'"after all"')
    target.wait_for_metric(0, ACTIVE)


# --- topics, ids and data that want to be something else


NAMES = [
    "%0d%0aSet-Cookie:%20a=b",
    "a%0d%0aevent:%20end",
    "a%00b",
    "..%2f..%2fetc%2fpasswd",
    "../../etc/passwd",
    "..",
    ".",
    "%2e%2e",
    "..%5c..%5cwindows",
    "a%252e%252e%252fb",
    "%c0%ae%c0%ae%2f",
    "a;b",
    "a%20b",
    "%E2%80%A8",
    "x" * 129,
    "",
]


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_topic_cannot_be_a_path_or_a_header(target: Service, method: bytes) -> None:
    body = b"Content-Type: application/json\r\nContent-Length: 1\r\n\r\n1"
    requests = [
        b"%s /topics/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        % (method, name.encode())
        + (body if method == b"POST" else b"\r\n")
        for name in NAMES
    ]
    for name, attacker in zip(NAMES, _ask(target, *requests), strict=True):
        # A line break is in no path that leads anywhere, and without a name there is no topic.

        # A line break is in no path that leads anywhere, nor does one end in a slash.
        nowhere = "%0d" in name or not name
        problem = (404, "not-found") if nowhere else (400, "invalid-topic")
        assert (attacker.status, attacker.problem()) == problem, name
        assert b"\r\nset-cookie" not in attacker.received.lower()
    files = [path for path in target.directory.rglob("*") if path.name not in {"log", "data"}]
    assert files == []


WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\nOrigin: http://page.example\r\n"
)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        (b"GET", b""),
        (b"GET", b"Accept: text/event-stream\r\n"),
        (b"GET", WEBSOCKET),
        (b"POST", b"Content-Type: application/json\r\nContent-Length: 1\r\n"),
    ],
)
def test_a_page_that_points_its_own_name_to_us_gets_nothing(
    target: Service, method: bytes, more: bytes
) -> None:
    head = b"%s /topics/a HTTP/1.1\r\nHost: page.example:%s\r\n%s\r\n%s"
    port = target.url.rpartition(":")[2].encode()
    (attacker,) = _ask(target, head % (method, port, more, b"1" if method == b"POST" else b""))
    assert (attacker.status, attacker.problem()) == (421, "unknown-host")
    assert b"RIPTIDE_ALLOWED_HOSTS" in attacker.received


@pytest.mark.parametrize(
    "position",
    [
        "%0d%0aevent:%20end",
        "00000000-1%0adata:%20x",
        "00000000-1%00",
        "-1",
        "00000000-99999999999999999999",
        "earliest%0a",
        "../x",
    ],
)
@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
def test_a_position_cannot_write_into_the_stream(
    target: Service, position: str, accept: str
) -> None:
    answer = plain.get(
        f"{target.topic('a')}?after={position}&until=latest", headers={"Accept": accept}
    )
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:riptide:problem:invalid-position"


def test_a_last_event_id_cannot_write_into_the_stream(target: Service) -> None:
    head = (
        b"GET /topics/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Accept: text/event-stream\r\n"
    )
    values = [b"a\nevent: x", b"a\r\n\tevent: x", b"a\rb", b"\xff\xfe", b"a\x85b"]
    for attacker in _ask(target, *(head + b"Last-Event-ID: %s\r\n\r\n" % each for each in values)):
        assert attacker.status == 400
        assert b"\nevent: x" not in attacker.received


NASTY = [
    "a\r\nb",
    "\n\nevent: end\ndata: {}\n\n",
    "\r\r",
    "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e",
    "data: x\nid: 1\nretry: 1\n\n",
    "\x00\x1f",
    "</script>",
    "0\r\n\r\nHTTP/1.1 200 OK",
]


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)
async def test_line_breaks_in_data_stay_in_the_data(
    target: Service, topic: str, transport: Transport
) -> None:
    target.publish(topic, *NASTY)
    # Raw, as white space of JSON.
    raw = b'{"a":\r1,\r\r"b":\t2}\r'
    answer = plain.post(
        target.topic(topic), content=raw, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 202
    async with transport.open(target, topic, after="earliest", until="latest") as consumer:
        records = await consumer.rest()
    data = [record["data"] for record in records if "event" not in record]
    assert data == [*NASTY, {"a": 1, "b": 2}]
    assert [record.get("event") for record in records if "event" in record] == [
        "opened",
        "progress",
        "end",
    ]


@pytest.mark.parametrize(
    ("coding", "status"), [("gzip", 415), ("deflate", 415), ("br, gzip", 415), ("identity", 202)]
)
def test_a_compressed_bomb_is_not_unpacked(target: Service, coding: str, status: int) -> None:
    memory = _resident_bytes(target)
    bomb = b"1" if status == 202 else gzip.compress(b'"' + b"0" * 100 * MEBIBYTE + b'"', 9)
    answer = plain.post(
        target.topic("hostile"),
        content=bomb,
        headers={"Content-Type": "application/json", "Content-Encoding": coding},
    )
    assert answer.status_code == status
    assert _resident_bytes(target) < memory + MEMORY_BYTES


@pytest.mark.parametrize(
    "body", [b"[" * 60_000, b'{"a":' * 10_000, b'"' + b"x" * 65_537 + b'"', b"1" * 60_000, b"\xff"]
)
def test_json_that_is_no_message_is_refused(target: Service, body: bytes) -> None:
    answer = plain.post(
        target.topic("hostile"), content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {202, 400, 413}
    if body[:1] != b"1":
        assert answer.status_code != 202


def test_thousands_of_topics_are_no_burden(target: Service) -> None:
    memory = _resident_bytes(target)
    for method in (b"GET", b"POST"):
        with Attacker(target) as attacker:
            for block in range(0, 2000, PIPELINED):
                for number in range(block, block + PIPELINED):
                    attacker.send(
                        b"%s /topics/topic-%d?until=latest HTTP/1.1\r\nHost: localhost\r\n"
                        % (method, number)
                        + b"Content-Type: application/json\r\nContent-Length: 1\r\n\r\n1"
                    )
                attacker.received = b""
                while len(re.findall(rb"HTTP/1\.1 20[02]", attacker.received)) < PIPELINED:
                    chunk = attacker.socket.recv(65536)
                    assert chunk, attacker.received[-1000:]
                    attacker.received += chunk
    assert target.metric("riptide_topics") == 0
    # A topic is no label.
    assert "topic-1" not in plain.get(f"{target.url}/metrics").text
    assert _resident_bytes(target) < memory + MEMORY_BYTES


# --- WebSocket


def _frame(opcode: Opcode, data: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """Return a masked frame, however wrong it is (RFC 6455, section 5.2)."""
    first = bytes([fin << 7 | rsv1 << 6 | opcode])
    if len(data) < 126:
        length = bytes([0x80 | len(data)])
    elif len(data) < 1 << 16:
        length = b"\xfe" + struct.pack("!H", len(data))
    else:
        length = b"\xff" + struct.pack("!Q", len(data))
    return first + length + b"\x00" * 4 + data


class WebSocketAttacker(Attacker):
    """An attacker whose WebSocket is open."""

    def __init__(self, service: Service, topic: str) -> None:
        super().__init__(service)
        self.send(_handshake(f"/topics/{topic}".encode()))
        self.read_until(b'"opened"')
        self.received = b""

    def close_code(self) -> int:
        """Read up to the close frame; return its code, 1006 if there is none."""
        while True:
            rest = self.received
            while len(rest) >= 4:
                length, header = rest[1] & 127, 2
                if length == 126:
                    length, header = struct.unpack("!H", rest[2:4])[0], 4
                if rest[0] & 15 == Opcode.CLOSE:
                    (code,) = struct.unpack("!H", rest[header : header + 2])
                    return int(code)
                rest = rest[header + length :]
            with contextlib.suppress(ConnectionError):
                if chunk := self.socket.recv(65536):
                    self.received += chunk
                    continue
            return CloseCode.ABNORMAL_CLOSURE


def _handshake(path: bytes, *headers: bytes) -> bytes:
    key = base64.b64encode(os.urandom(16))
    lines = [
        b"GET %s HTTP/1.1" % path,
        b"Host: localhost",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + key,
        *headers,
    ]
    return b"\r\n".join([*lines, b"", b""])


def test_compression_is_not_agreed_to(target: Service, topic: str) -> None:
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    with Attacker(target) as attacker:
        attacker.send(_handshake(f"/topics/{topic}".encode(), offer))
        head = attacker.socket.recv(65536)
    assert b" 101 " in head
    assert b"sec-websocket-extensions" not in head.lower()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (_frame(Opcode.TEXT, b"x" * 65_537), 1009),
        (_frame(Opcode.BINARY, b"x"), 1003),
        (_frame(Opcode.TEXT, b"\xff\xfe"), 1007),
        (_frame(Opcode.TEXT, b"not json"), 1007),
        (_frame(Opcode.TEXT, b"[" * 30_000), 1007),
        (_frame(Opcode.TEXT, b'{"after": "earliest\\nid: x"}'), 1007),
        (_frame(Opcode.TEXT, b'{"after": ["earliest"]}'), 1007),
        # Compressed, though that was not agreed to.
        (_frame(Opcode.TEXT, b"\x00" * 100, rsv1=True), 1002),
        (_frame(Opcode.CONT, b"x"), 1002),
        (_frame(Opcode.PING, b"x", fin=False), 1002),
    ],
)
def test_a_frame_that_breaks_the_rules_ends_the_stream_with_its_code(
    target: Service, topic: str, frame: bytes, code: int
) -> None:
    with WebSocketAttacker(target, topic) as attacker:
        attacker.send(frame)
        assert attacker.close_code() == code
    target.wait_for_metric(0, ACTIVE)


def test_a_giant_frame_is_refused_before_it_has_come(target: Service, topic: str) -> None:
    with WebSocketAttacker(target, topic) as attacker:
        attacker.send(b"\x81\xff" + struct.pack("!Q", 1 << 62) + b"\x00" * 4)
        assert attacker.close_code() == 1009


@pytest.mark.parametrize("piece", [b"", b"x", b"x" * 60_000])
def test_a_message_in_endless_fragments_is_cut_off(
    target: Service, topic: str, piece: bytes
) -> None:
    with WebSocketAttacker(target, topic) as attacker:
        attacker.send(_frame(Opcode.TEXT, piece, fin=False))
        attacker.send_until_cut_off(_frame(Opcode.CONT, piece, fin=False))
        assert attacker.close_code() == 1009


FLOODS = {
    "pings": _frame(Opcode.PING, b""),
    "pings with data": _frame(Opcode.PING, b"x" * 125),
    "pongs": _frame(Opcode.PONG, b""),
    "hellos": _frame(Opcode.TEXT, b"{}"),
    "large hellos": _frame(Opcode.TEXT, b"{%s}" % (b" " * 1000)),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_frames_is_cut_off_whether_its_answers_are_read_or_not(
    target: Service, topic: str, flood: str
) -> None:
    memory = _resident_bytes(target)
    closed = "riptide_streaming_connections_closed_total"
    before = target.metric(closed, reason="too_many_frames")
    frames = FLOODS[flood] * 500
    with WebSocketAttacker(target, topic) as reading:
        reading.send_until_cut_off(frames)
    with WebSocketAttacker(target, topic) as deaf, contextlib.suppress(ConnectionError):
        for _ in range(MEBIBYTE * 8 // len(frames)):
            deaf.send(frames)
    target.wait_for_metric(before + 2, closed, reason="too_many_frames")
    assert _resident_bytes(target) < memory + 16 * MEBIBYTE


def test_a_frame_more_than_a_client_may_send_in_a_second_has_its_code(
    target: Service, topic: str
) -> None:
    with WebSocketAttacker(target, topic) as attacker:
        attacker.send(FLOODS["pongs"] * (MAX_FRAMES_A_SECOND + 1))
        assert attacker.close_code() == 1008


def test_a_handshake_that_is_none_is_refused(target: Service) -> None:
    handshakes = [
        _handshake(b"/topics/\xff\xfe"),
        _handshake(b"/topics/" + b"x" * 9000),
        _handshake(b"/topics/a", *[b"X-%d: y" % number for number in range(150)]),
        _handshake(b"/topics/a", b"X-A: " + b"y" * 9000),
        _handshake(b"/topics/a").replace(b"Version: 13", b"Version: 12"),
        _handshake(b"/topics/a").replace(b"Sec-WebSocket-Key: ", b"X: "),
        _handshake(b"/topics/a%0d%0aX-A:%20b"),
        _handshake(b"/topics/..%2f..%2fx"),
        _handshake(b"/nothing/there"),
    ]
    for attacker in _ask(target, *handshakes):
        assert 400 <= attacker.status < 500, attacker.received


@pytest.mark.parametrize("path", [b"/topics/other", b"/nothing"])
@pytest.mark.parametrize("between", [b"", b"GET /healthz/live HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_stream_keeps_its_connection_from_a_websocket(
    target: Service, topic: str, path: bytes, between: bytes
) -> None:
    with Attacker(target) as attacker:
        attacker.send(b"GET /topics/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % topic.encode())
        attacker.read_until(b'"opened"')
        attacker.send(between + _handshake(path) + _frame(Opcode.TEXT, b"{}"))
        target.publish(topic, "still a stream")
        attacker.read_until(b'"still a stream"')
        assert attacker.received.count(b"HTTP/1.1") == 1
        assert target.metric(ACTIVE) == 1
    target.wait_for_metric(0, ACTIVE)


# --- many at once


async def test_a_crowd_of_attackers_leaves_others_their_stream(target: Service, topic: str) -> None:
    transport = TRANSPORTS[1]
    async with transport.open(target, topic) as consumer:
        await consumer.next("opened")

        def attack() -> None:
            with contextlib.ExitStack() as stack:
                crowd = [stack.enter_context(Attacker(target)) for _ in range(300)]
                for number, attacker in enumerate(crowd):
                    attacker.send([b"GET / HT", POST, b"\x00" * 10, b""][number % 4])
                for attacker in crowd:
                    attacker.rest()

        attacking = asyncio.create_task(asyncio.to_thread(attack))
        numbers = list(range(50))
        for number in numbers:
            await asyncio.to_thread(target.publish, topic, number)
        assert [record["data"] for record in await consumer.messages(50)] == numbers
        await attacking
