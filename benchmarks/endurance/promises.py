"""What publishers were told of each message, and whether it was true in the end."""

from __future__ import annotations

import http.client
import threading
from typing import TYPE_CHECKING, NamedTuple

import orjson

from benchmarks.endurance.place import address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.endurance.place import Place

ACCEPTED = 202
MAYBE = "may have been kept"
# A publisher that gets no answer for so long goes away; its message may be kept or not.
PATIENCE_S = 15.0
PAUSE_S = 0.05


class Verdict(NamedTuple):
    """How many messages were acknowledged, and how often a promise was broken."""

    acknowledged: int
    lost: int
    delivered_though_refused: int
    doubled: int


class Promises:
    """The numbers of the messages of one topic, by what was said of them."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.acknowledged: list[int] = []
        self.refused: list[int] = []
        self.published = 0

    def publish(self, port: int) -> bool:
        """Publish the next number; return whether it was acknowledged."""
        number = self.published
        self.published += 1
        try:
            status, body = request(
                port, "POST", f"/topics/{self.topic}", orjson.dumps([number, "x" * 200])
            )
        except (OSError, http.client.HTTPException):
            return False
        if status == ACCEPTED:
            self.acknowledged.append(number)
        elif MAYBE not in body.decode():
            self.refused.append(number)
        return status == ACCEPTED

    def judge(self, delivered: Iterable[int]) -> Verdict:
        """Compare what was said with what a consumer of the topic gets."""
        numbers = list(delivered)
        found = set(numbers)
        return Verdict(
            len(self.acknowledged),
            len(set(self.acknowledged) - found),
            len(set(self.refused) & found),
            len(numbers) - len(found),
        )


class PublishingMeanwhile:
    """Within this context, a thread for each topic publishes one message after the other."""

    def __init__(self, port: int, promises: Iterable[Promises]) -> None:
        self._port = port
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=[each], daemon=True) for each in promises
        ]

    def __enter__(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        """Wait for the last answers."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, promises: Promises) -> None:
        while not self._over.is_set():
            if not promises.publish(self._port):
                self._over.wait(PAUSE_S)


def read(port: int, topic: str) -> list[int]:
    """Return the numbers that a consumer of the topic gets, from the oldest to the newest.

    Raises:
        RuntimeError: the topic cannot be read.

    """
    status, body = request(port, "GET", f"/topics/{topic}?until=latest")
    if status != http.client.OK:
        raise RuntimeError(f"the topic {topic} cannot be read: {body.decode()}")
    records = map(orjson.loads, body.splitlines())
    return [record["data"][0] for record in records if "data" in record]


def is_ready(place: Place) -> bool:
    """Return whether the service says that it is ready."""
    try:
        return request(place, "GET", "/healthz/ready")[0] == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def request(place: Place, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send a request on a connection of its own, and return the status and the body.

    Raises:
        OSError: the service is gone, or did not answer in time.
        http.client.HTTPException: the service went away while it answered.

    """
    connection = http.client.HTTPConnection(*address(place), timeout=PATIENCE_S)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
