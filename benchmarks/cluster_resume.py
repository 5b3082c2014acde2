"""How long a consumer waits that comes back with an id, for the first message it has missed.

At the instance that took the messages, at another one, and, beside them, at a service of its own
with a log in SQLite. The ids are from all over a topic, so what is missed is read from the log.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.consumers import MARK, READ_BYTES, TIMEOUT_S
from benchmarks.figures import RATIO, Figure, Result, ratios
from benchmarks.peers import cluster, riptide
from benchmarks.publisher import Publisher
from benchmarks.service import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = 50_000
# Of one publish.
BATCH = 1_000
RESUMES = 200
TOPIC = "resumed"
MESSAGE = b'{"sensor":"a-17","reading":21.75,"note":"%b","padding":"%b"}\n' % (MARK, b"x" * 60)
HERE, ELSEWHERE, SQLITE = "where it was published", "at another instance", "SQLite"
MILLISECONDS = 1e3


def run(*, quick: bool) -> Result:
    """Measure resuming by an id at three places, in turn."""
    messages, resumes, rounds = (2 * BATCH, 5, 1) if quick else (MESSAGES, RESUMES, 5)
    found: dict[str, list[list[float]]] = {}
    with _services(messages) as ports:
        epochs = {place: _fill(port, messages) for place, port in _publish_at(ports).items()}
        for number in range(rounds):
            chosen = random.Random(number).sample(range(1, messages), resumes)  # noqa: S311  # no secret
            for place, port in ports.items():
                epoch = epochs.get(place) or epochs[HERE]
                waits = [_resume(port, f"{epoch}-{sequence}") for sequence in chosen]
                found.setdefault(place, []).append(waits)
    figures = [_ratio(found, ELSEWHERE, HERE), _ratio(found, HERE, SQLITE)]
    columns = {"p50": 49, "p99": 98}
    for place, (column, at) in itertools.product(ports, columns.items()):
        samples = [statistics.quantiles(waits, n=100)[at] for waits in found[place]]
        figures.append(Figure(f"{place}: {column}", "ms", samples, row=place, column=column))
    return Result(figures, {"rounds": rounds, "messages": messages, "resumes": resumes})


@contextlib.contextmanager
def _services(messages: int) -> Iterator[dict[str, int]]:
    """Run two instances and a service with a log in SQLite; yield their ports."""
    kept, cores = 2 * messages, os.sched_getaffinity(0)
    with (
        riptide.serve(cores=cores, log="sqlite", retention_messages=kept) as sqlite,
        cluster.servers() as servers,
        cluster.instances(servers, 2, retention_messages=kept) as running,
    ):
        here, elsewhere = running.instances
        yield {HERE: here.port, ELSEWHERE: elsewhere.port, SQLITE: sqlite.port}


def _publish_at(ports: dict[str, int]) -> dict[str, int]:
    return {place: port for place, port in ports.items() if place != ELSEWHERE}


def _fill(port: int, messages: int) -> str:
    """Publish, and return the epoch of the messages' ids."""
    publisher = Publisher(port, TOPIC)
    for _ in range(messages // BATCH):
        publisher.publish(MESSAGE * BATCH)
    publisher.close()
    with _stream(port, "earliest") as connection:
        text = _read_first(connection)
    # The first record of a stream has an id as well: that of where it begins.
    return text.partition(b"id: ")[2][:8].decode()


def _resume(port: int, message_id: str) -> float:
    """Return how many milliseconds it takes until the first message has come."""
    began = time.perf_counter()
    with _stream(port, message_id) as connection:
        _read_first(connection)
    return (time.perf_counter() - began) * MILLISECONDS


@contextlib.contextmanager
def _stream(port: int, after: str) -> Iterator[socket.socket]:
    request = (
        f"GET /topics/{TOPIC}?after={after} HTTP/1.1\r\nHost: {HOST}\r\n"
        "Accept: text/event-stream\r\n\r\n"
    )
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        connection.sendall(request.encode())
        yield connection


def _read_first(connection: socket.socket) -> bytes:
    """Read up to the first message.

    Raises:
        RuntimeError: the stream ended before, or its id was not known any more.

    """
    text = b""
    while MARK not in text:
        piece = connection.recv(READ_BYTES)
        text += piece
        if not piece or b'"event":"reset"' in text:
            raise RuntimeError(f"a consumer could not resume: {text[:300]!r}")
    return text


def _ratio(found: dict[str, list[list[float]]], above: str, below: str) -> Figure:
    medians = ([statistics.median(waits) for waits in found[place]] for place in (above, below))
    return Figure(f"p50: {above} ÷ {below}", RATIO, ratios(*medians))
