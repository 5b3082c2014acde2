"""How evenly workers get long streams: all at once, at a rate, and after a worker was killed.

The deviation of a worker is how many streams it has more or fewer than the mean, in percent.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import orjson

from benchmarks.consumers import Consumers
from benchmarks.figures import Bar, Figure, Result
from benchmarks.service import HOST, Server, riptide

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

WORKERS = 3
BAR = Bar(15)
# New streams a second, of those that do not come at once.
RATE = 300
# What clients are asked to wait before they reconnect (RIPTIDE_RETRY_SECONDS), jittered.
RETRY_S = 2.0
# A worker that has lived so long is replaced at once.
STEADY_S = 10.0
ACTIVE = "riptide_streaming_active_connections{"
TIMEOUT_S = 60.0


def run(*, quick: bool) -> Result:
    """Measure the spread of streams over three workers."""
    streams, rounds = (90, 1) if quick else (1_000, 3)
    at_once: list[float] = []
    at_a_rate: list[float] = []
    replaced: list[float] = []
    hasty: list[float] = []
    for _ in range(rounds):
        with _service(streams) as service, _at_once(service, streams):
            at_once.append(_deviation(service))
        with _service(streams) as service, _at_a_rate(service, streams):
            at_a_rate.append(_deviation(service))
        for deviations, retry_s in ((replaced, RETRY_S), (hasty, 0.0)):
            with _service(streams) as service, _at_once(service, streams) as consumers:
                time.sleep(0 if quick else STEADY_S)
                with _back_after_a_kill(service, consumers, retry_s):
                    _wait_for_workers(service)
                    deviations.append(_deviation(service))
    return Result(
        [
            Figure("largest deviation, all at once", "%", at_once, None if quick else BAR),
            Figure(f"largest deviation, {RATE} a second", "%", at_a_rate, None if quick else BAR),
            Figure(
                "largest deviation, a worker killed, its clients back after the retry",
                "%",
                replaced,
                None if quick else BAR,
            ),
            Figure("largest deviation, a worker killed, its clients back at once", "%", hasty),
        ],
        {"streams": streams, "workers": WORKERS, "retry_s": RETRY_S},
    )


@contextlib.contextmanager
def _service(streams: int) -> Iterator[Server]:
    with riptide(workers=WORKERS, max_connections=10 * streams) as service:
        _wait_for_workers(service)
        yield service


def _wait_for_workers(service: Server) -> None:
    _wait_until(lambda: len(_streams(service)) == WORKERS)


@contextlib.contextmanager
def _at_once(service: Server, count: int) -> Iterator[Consumers]:
    with Consumers(service.port, count) as consumers:
        yield consumers


@contextlib.contextmanager
def _at_a_rate(service: Server, count: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        begun = time.monotonic()
        for number in range(count):
            stack.enter_context(Consumers(service.port, 1))
            time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        yield


@contextlib.contextmanager
def _back_after_a_kill(service: Server, consumers: Consumers, retry_s: float) -> Iterator[None]:
    """Kill a worker and let its clients reconnect, each after a pause of its own."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGKILL)
    _wait_until(lambda: any(_has_ended(connection) for connection in consumers.sockets))
    lost = sum(_has_ended(connection) for connection in consumers.sockets)
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        for pause in sorted(retry_s * random.uniform(0.5, 1.5) for _ in range(lost)):  # noqa: S311  # no secret
            time.sleep(max(0.0, begun + pause - time.monotonic()))
            stack.enter_context(Consumers(service.port, 1))
        yield


def _has_ended(connection: socket.socket) -> bool:
    try:
        return not connection.recv(65536)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def _deviation(service: Server) -> float:
    counts = _streams(service)
    mean = sum(counts) / WORKERS
    return max(abs(100 * (count / mean - 1)) for count in counts)


def _streams(service: Server) -> list[int]:
    """Return how many streams each worker has."""
    try:
        groups = orjson.loads(_get(f"{HOST}:{service.port}/metrics/targets"))
        texts = [_get(f"{target}/metrics") for group in groups for target in group["targets"]]
    except OSError:  # a worker is starting, or was killed a moment ago
        return []
    return [
        sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(ACTIVE))
        for text in texts
    ]


def _get(address: str) -> str:
    with urlopen(f"http://{address}", timeout=TIMEOUT_S) as answer:  # our own service
        text: str = answer.read().decode()
        return text


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the workers did not get there in time")
        time.sleep(0.05)
