"""Several workers as one service: streams are spread over them, and limits are those of all."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from riptide.admission.rate_limit import BURST_S
from riptide.process import descriptors
from tests import plain
from tests.issuer import SECRET, Issuer, bearer
from tests.waiting import DEADLINE_S, wait_until
from tests.worker_processes import targets, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.conftest import StartService
    from tests.service import Service

WORKERS = 3
PROXIED = {"log": "memory", "workers": WORKERS, "trusted_proxies": "127.0.0.1"}
CLIENT = {"X-Forwarded-For": "203.0.113.7"}
STREAMS = 1000
# Promises to operators, and no measures of speed: docs/workers.md.
SPREAD = 0.15
RATE_TOLERANCE = 0.05
ACTIVE = "riptide_streaming_active_connections{"
LIMIT = "riptide_connection_limit "


class Answer(NamedTuple):
    """A stream that was asked for: the connection, which stays open, and what came first."""

    connection: socket.socket
    head: bytes

    @property
    def opened(self) -> bool:
        return b'"opened"' in self.head


def _ask(service: Service, topic: str, headers: Mapping[str, str]) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(service.settings["PORT"])), DEADLINE_S)
    lines = [f"GET /topics/{topic} HTTP/1.1", "Host: localhost", "Accept: text/event-stream"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def _answer(connection: socket.socket) -> Answer:
    head = b""
    while b'"opened"' not in head and b"urn:riptide:problem" not in head:
        chunk = connection.recv(4096)
        assert chunk, f"the stream ended: {head!r}"
        head += chunk
    return Answer(connection, head)


@contextlib.contextmanager
def _streams(
    service: Service, topic: str, count: int, headers: Mapping[str, str] | None = None
) -> Iterator[list[Answer]]:
    """Ask for so many streams at once."""
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(_ask(service, topic, headers or {})) for _ in range(count)
        ]
        yield [_answer(connection) for connection in connections]


def _start(start_service: StartService, **settings: object) -> Service:
    service = start_service(**(PROXIED | settings))
    wait_until(lambda: len(targets(service)) == WORKERS)
    return service


def _of_each(service: Service, name: str) -> dict[str, int]:
    """Return the sum of a metric in each worker."""
    texts = {target: plain.get(f"http://{target}/metrics").text for target in targets(service)}
    return {
        target: sum(
            int(float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith(name)
        )
        for target, text in texts.items()
    }


def _check_spread(service: Service, count: int) -> None:
    active = _of_each(service, ACTIVE)
    assert sum(active.values()) == count
    assert all(abs(each / (count / WORKERS) - 1) <= SPREAD for each in active.values()), active


def _kill_a_worker(service: Service) -> None:
    """Kill the worker with the most streams."""
    active = _of_each(service, ACTIVE)
    victim = max(active, key=lambda target: active[target])
    os.kill(worker_of(service.pid, victim), signal.SIGKILL)
    wait_until(lambda: victim not in targets(service))


def _is_closed(answer: Answer) -> bool:
    answer.connection.setblocking(False)
    try:
        return not answer.connection.recv(65536, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def _wait_for_the_end_of_some(answers: list[Answer]) -> int:
    """Return how many of the streams are left by a worker that was killed."""
    wait_until(lambda: any(_is_closed(answer) for answer in answers))
    return sum(not _is_closed(answer) for answer in answers)


def test_a_thousand_streams_that_come_at_once_are_spread_also_after_a_worker_was_replaced(
    start_service: StartService, topic: str
) -> None:
    descriptors.raise_limit()
    service = _start(start_service, max_connections=STREAMS)
    with _streams(service, topic, STREAMS) as answers:
        assert all(answer.opened for answer in answers)
        _check_spread(service, STREAMS)
        assert sum(_of_each(service, LIMIT).values()) == STREAMS
        _kill_a_worker(service)
        wait_until(lambda: len(targets(service)) == WORKERS)
        cut_off = sum(_is_closed(answer) for answer in answers)
        assert cut_off > STREAMS * (1 - SPREAD) / WORKERS
        # They have waited, as `retry` asks them to, until there was a worker again.
        with _streams(service, topic, cut_off) as again:
            assert all(answer.opened for answer in again)
            _check_spread(service, STREAMS)


def test_a_worker_that_hangs_keeps_nobody_from_connecting(
    start_service: StartService, topic: str
) -> None:
    service = _start(start_service)
    hung = worker_of(service.pid, targets(service)[0])
    os.kill(hung, signal.SIGSTOP)
    with _streams(service, topic, 50) as answers:
        # Whatever the kernel has given to the hung one is answered by its successor, or never.
        assert sum(answer.opened for answer in answers) == 50


def test_the_workers_have_as_many_streams_together_as_are_allowed_and_a_killed_one_has_none(
    start_service: StartService, topic: str
) -> None:
    service = _start(start_service, max_connections=30)
    with _streams(service, topic, 60) as answers:
        opened = [answer for answer in answers if answer.opened]
        # Never more. Two that ask for the last place in the same instant may both be refused.
        assert 30 - WORKERS < len(opened) <= 30
        for refused in (answer for answer in answers if not answer.opened):
            assert refused.head.startswith(b"HTTP/1.1 503 ")
            assert b"urn:riptide:problem:connection-limit" in refused.head
            assert b"retry-after: 5" in refused.head
            assert b"all 30 places for streams are taken" in refused.head
        shown = plain.get(f"{service.url}/healthz/ready").json()["connections"]
        assert shown == f"{len(opened)} of 30 in all workers"
        assert len(_of_each(service, "riptide_streaming_connections_rejected_total")) == WORKERS
        rejected = _of_each(service, "riptide_streaming_connections_rejected_total")
        assert sum(rejected.values()) == 60 - len(opened)
        _kill_a_worker(service)
        left = _wait_for_the_end_of_some(opened)
        with _streams(service, topic, 30) as again:
            assert 30 - WORKERS < left + sum(answer.opened for answer in again) <= 30


@pytest.mark.parametrize("limit", ["address", "identity"])
def test_one_client_has_as_many_streams_over_all_workers_as_it_may(
    start_service: StartService, topic: str, limit: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    service = _start(
        start_service,
        **{f"max_connections_per_{limit}": 12, "token_secret_file": tmp_path / "secret"},
    )
    client = bearer(Issuer().token(sub="alice")) | CLIENT
    other = bearer(Issuer().token(sub="bob")) | {"X-Forwarded-For": "203.0.113.8"}
    with _streams(service, topic, 60, client) as answers:
        opened = [answer for answer in answers if answer.opened]
        assert 12 <= len(opened) <= 12 + WORKERS - 1
        for refused in (answer for answer in answers if not answer.opened):
            assert refused.head.startswith(b"HTTP/1.1 429 ")
            assert f"urn:riptide:problem:{limit}-limit".encode() in refused.head
            assert b"retry-after: 5" in refused.head
        with _streams(service, topic, 5, other) as served:
            assert all(answer.opened for answer in served)
        _kill_a_worker(service)
        left = _wait_for_the_end_of_some(opened)
        with _streams(service, topic, 60, client) as again:
            assert 12 <= left + sum(answer.opened for answer in again) <= 12 + WORKERS - 1


def _publish_all_the_time(service: Service, topic: str, seconds: float) -> tuple[int, list[int]]:
    """Publish over a connection without a pause; return what was accepted, and refusals' waits."""
    accepted, waits, end = 0, [], time.monotonic() + seconds
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(service.settings["PORT"]), timeout=DEADLINE_S
    )
    headers = {"Content-Type": "application/json", **CLIENT}
    while time.monotonic() < end:
        connection.request("POST", f"/topics/{topic}", b"1", headers)
        answer = connection.getresponse()
        answer.read()
        accepted += answer.status == 202
        if answer.status == 429:
            waits.append(int(answer.headers["retry-after"]))
    connection.close()
    return accepted, waits


def test_a_client_that_publishes_over_all_workers_gets_the_rate_it_was_promised_once(
    start_service: StartService, topic: str
) -> None:
    rate = 50
    service = _start(start_service, publish_rate=rate)
    begin = time.monotonic()
    # So many connections that each worker has some.
    with ThreadPoolExecutor(30) as publishers:
        outcomes = list(
            publishers.map(lambda _: _publish_all_the_time(service, topic, 4), range(30))
        )
    seconds = time.monotonic() - begin
    accepted = sum(each for each, _ in outcomes)
    # The last second is not complete: a connection may end before the next message is due.
    assert accepted <= (1 + RATE_TOLERANCE) * rate * (seconds + BURST_S) + WORKERS
    assert accepted >= (1 - RATE_TOLERANCE) * rate * (4 + BURST_S)
    assert {wait for _, waits in outcomes for wait in waits} == {1}
    published = _of_each(service, "riptide_streaming_messages_published_total")
    assert all(published.values())


@pytest.mark.parametrize("limit", ["accept_rate", "accept_rate_per_address"])
def test_the_workers_open_no_more_streams_a_second_together_than_are_allowed(
    start_service: StartService, topic: str, limit: str
) -> None:
    rate = 10
    service = _start(start_service, **{limit: rate})
    begin = time.monotonic()
    with _streams(service, topic, 150, CLIENT) as answers:
        seconds = time.monotonic() - begin
        opened = sum(answer.opened for answer in answers)
    assert rate * BURST_S <= opened
    assert opened <= (1 + RATE_TOLERANCE) * rate * (seconds + BURST_S) + WORKERS
