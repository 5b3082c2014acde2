"""How consumers that catch up from the log affect live consumers and newcomers to other topics.

Thousands of consumers read topics with a long backlog from the beginning. Meanwhile one message
after another goes to a live consumer, and newcomers read the few messages of a quiet topic. Each
has a clock of its own: a sample counts from when it was due, so that a stall is seen by all that
were due in it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import selectors
import socket
import statistics
import tempfile
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import machine
from benchmarks.consumers import MARK, READ_BYTES, TIMEOUT_S, Consumers
from benchmarks.figures import RATIO, Bar, Figure, Result, ratios
from benchmarks.publisher import Publisher
from benchmarks.service import HOST, riptide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

MILLISECONDS = 1_000
LIVE_BAR, NEWCOMER_BAR_MS = Bar(2), Bar(100)
LIVE_PAUSE_S, NEWCOMER_PAUSE_S = 0.02, 0.04
QUIET_MESSAGES = 10
# Messages of one publish; as many as one may have at the default limits.
BATCH = 1000
# Consumers that connect and have not been answered: a storm of connections is another benchmark's.
CONNECTING = 5
# Of the process that catches up, so that it yields the core that it shares with what is measured.
NICENESS = 15
MESSAGE = b'{"sensor":"a-17","reading":21.75,"note":"%b","padding":"%b"}\n' % (MARK, b"x" * 60)


class Load(NamedTuple):
    """So many consumers of so many topics with so many messages; ``calm_s`` without them."""

    consumers: int
    topics: int
    messages: int
    calm_s: float


class Waits(NamedTuple):
    """How long each live message and each newcomer took, in milliseconds."""

    live: list[float]
    newcomers: list[float]


FULL = (
    Load(100, 10, 10_000, 3.0),
    Load(500, 10, 10_000, 3.0),
    Load(2_000, 10, 10_000, 3.0),
    Load(2_000, 200, 10_000, 3.0),
)
QUICK = (Load(10, 2, 1_000, 0.3),)
ROUNDS = 3


class Measured(NamedTuple):
    """What one round with one load took."""

    calm: Waits
    busy: Waits
    took_s: float
    processor_us: float


def run(*, quick: bool) -> Result:
    """Measure without and with consumers that catch up, few and many, on few and many topics."""
    figures: list[Figure] = []
    loads = QUICK if quick else FULL
    for load in loads:
        figures += _figures(load, [_measure(load) for _ in range(1 if quick else ROUNDS)])
    return Result(figures, {"loads": [load._asdict() for load in loads]})


def _figures(load: Load, rounds: list[Measured]) -> Iterator[Figure]:
    at = f"{load.consumers:,} consumers of {load.topics} topics"
    calm = [_p99(each.calm.live) for each in rounds]
    busy = [_p99(each.busy.live) for each in rounds]
    newcomers = [_p99(each.busy.newcomers) for each in rounds]
    yield Figure(f"{at}: live p99 ÷ without them", RATIO, ratios(busy, calm), LIVE_BAR)
    yield Figure(f"{at}: a newcomer's p99", "ms", newcomers, NEWCOMER_BAR_MS)
    columns = {
        ("live p50", "ms"): [statistics.median(each.busy.live) for each in rounds],
        ("live p99", "ms"): busy,
        ("live p99 without", "ms"): calm,
        ("newcomer's p50", "ms"): [statistics.median(each.busy.newcomers) for each in rounds],
        ("newcomer's p99", "ms"): newcomers,
        ("newcomer's p99 without", "ms"): [_p99(each.calm.newcomers) for each in rounds],
        ("until all have caught up", "s"): [each.took_s for each in rounds],
        ("processor time for a delivery", "µs"): [each.processor_us for each in rounds],
    }
    for (column, unit), samples in columns.items():
        yield Figure(f"{at}: {column}", unit, samples, row=at, column=column)


def _measure(load: Load) -> Measured:
    with (
        tempfile.TemporaryDirectory() as directory,
        riptide(log="sqlite", data_dir=directory, max_connections=load.consumers + 100) as server,
    ):
        _fill(server.port, load)
        # Otherwise the system writes it seconds later, and the syncs that are measured wait.
        os.sync()
        calm = _watch(server.port, lambda: time.sleep(load.calm_s))
        before = machine.cpu_seconds(server.pid)
        took: list[float] = []
        with _catching_up(server.port, load) as caught_up:
            busy = _watch(server.port, lambda: took.append(caught_up()))
        processor_s = machine.cpu_seconds(server.pid) - before
    return Measured(calm, busy, took[0], processor_s / load.consumers / load.messages * 1e6)


def _p99(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=100)[98]


def _fill(port: int, load: Load) -> None:
    """Publish the backlogs, and the few messages of the quiet topic."""
    for topic in range(load.topics):
        publisher = Publisher(port, f"backlog-{topic}")
        for _ in range(load.messages // BATCH):
            publisher.publish(MESSAGE * BATCH)
        publisher.close()
    publisher = Publisher(port, "quiet")
    publisher.publish(MESSAGE * QUIET_MESSAGES)
    publisher.close()


def _watch(port: int, meanwhile: Callable[[], None]) -> Waits:
    """Measure live messages and newcomers until a function returns.

    Raises:
        RuntimeError: a message did not come.

    """
    ends = threading.Event()
    waits = Waits([], [])
    failures: list[Exception] = []

    def repeat(pause_s: float, measure: Callable[[], None], waited: list[float]) -> None:
        due = time.monotonic()
        try:
            while not ends.is_set():
                time.sleep(max(0.0, due - time.monotonic()))
                measure()
                waited.append((time.monotonic() - due) * MILLISECONDS)
                due += pause_s
        except (OSError, RuntimeError) as error:
            failures.append(error)

    with contextlib.ExitStack() as stack:
        stack.enter_context(machine.pinned_to(machine.client_cores()))
        (live,) = stack.enter_context(Consumers(port, 1, "live")).sockets
        live.settimeout(TIMEOUT_S)
        publisher = Publisher(port, "live")
        stack.callback(publisher.close)

        def send_live() -> None:
            publisher.send(MESSAGE)
            _read_marks(live, 1)
            publisher.receive()

        threads = [
            threading.Thread(target=repeat, args=(LIVE_PAUSE_S, send_live, waits.live)),
            threading.Thread(
                target=repeat,
                args=(NEWCOMER_PAUSE_S, lambda: _read_quiet(port), waits.newcomers),
            ),
        ]
        for thread in threads:
            thread.start()
        try:
            meanwhile()
        finally:
            ends.set()
            for thread in threads:
                thread.join()
    if failures:
        raise failures[0]
    return waits


def _read_quiet(port: int) -> None:
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        connection.sendall(_request("quiet"))
        _read_marks(connection, QUIET_MESSAGES)


def _read_marks(connection: socket.socket, count: int) -> None:
    while count > 0:
        piece = connection.recv(READ_BYTES)
        if not piece:
            raise RuntimeError("a stream has ended")
        count -= piece.count(MARK)


def _request(topic: str) -> bytes:
    return (
        f"GET /topics/{topic}?after=earliest HTTP/1.1\r\nHost: {HOST}\r\n"
        "Accept: text/event-stream\r\n\r\n"
    ).encode()


@contextlib.contextmanager
def _catching_up(port: int, load: Load) -> Iterator[Callable[[], float]]:
    """Let a process of its own read all backlogs; give out what waits for it.

    That returns how many seconds it took. The consumers stay connected until the end, for their
    disconnection is not measured.

    Raises (from what waits):
        RuntimeError: it did not get everything.

    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_read_backlogs, args=(port, load, theirs), daemon=True
    )

    def wait() -> float:
        try:
            return float(ours.recv())
        except EOFError:
            raise RuntimeError("not all consumers have caught up") from None

    with machine.pinned_to(machine.client_cores()):
        process.start()
    theirs.close()
    try:
        yield wait
    finally:
        process.terminate()
        process.join()


def _read_backlogs(port: int, load: Load, result: Connection) -> None:
    """Read until each consumer has all messages of its topic; send how long that took."""
    os.nice(NICENESS)
    missing = load.consumers * load.messages
    numbers = iter(range(load.consumers))
    unanswered: set[socket.socket] = set()
    buffer = bytearray(READ_BYTES)
    began = time.monotonic()
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        while missing > 0:
            for _, number in zip(range(CONNECTING - len(unanswered)), numbers, strict=False):
                connection = socket.create_connection((HOST, port), TIMEOUT_S)
                stack.enter_context(connection)
                connection.sendall(_request(f"backlog-{number % load.topics}"))
                connection.setblocking(False)
                selector.register(connection, selectors.EVENT_READ, connection)
                unanswered.add(connection)
            ready = selector.select(TIMEOUT_S)
            if not ready:
                return
            for key, _ in ready:
                size = key.data.recv_into(buffer)
                if not size:
                    return
                missing -= buffer.count(MARK, 0, size)
                unanswered.discard(key.data)
        result.send(time.monotonic() - began)
        # Until this process is ended, with all connections open.
        threading.Event().wait()
