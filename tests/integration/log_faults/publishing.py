"""Publishers that note what they were told, and what a log must and must not have afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import orjson

from tests import plain
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faulty_disk import ServiceOnFaultyDisk
    from tests.service import Service

# What a rule means by "within seconds", on a machine that is loaded.
SOON_S = 30.0
MAYBE = "may have been kept"
NOT = "was not published"


@dataclass
class Record:
    """What publishers of numbered messages were told; each number is published once."""

    acknowledged: list[int] = field(default_factory=list)
    # "was not published": must never be delivered.
    refused: list[int] = field(default_factory=list)
    # "may have been kept", or no answer at all: may be delivered or not.
    unknown: list[int] = field(default_factory=list)
    # Every text of a refusal.
    texts: list[str] = field(default_factory=list)
    next_number: int = 0

    def publish(self, service: Service, topic: str = "a", padding: str = "") -> bool:
        """Publish the next number; return whether it was acknowledged."""
        number = self.next_number
        self.next_number += 1
        try:
            answer = plain.post(
                service.topic(topic),
                content=orjson.dumps([number, padding]),
                headers={"Content-Type": "application/json"},
            )
        except httpx2.TransportError:
            self.unknown.append(number)
            return False
        if answer.status_code == 202:
            self.acknowledged.append(number)
            return True
        assert answer.status_code == 503, answer.text
        problem = answer.json()
        text = problem["detail"]
        kind = "append-uncertain" if MAYBE in text else "log-unavailable"
        assert problem["type"] == f"urn:riptide:problem:{kind}"
        self.texts.append(text)
        assert (MAYBE in text) != (NOT in text), f"one of the two has to be said: {text}"
        (self.unknown if MAYBE in text else self.refused).append(number)
        return False

    def check(self, delivered: list[int]) -> None:
        """Compare with what a consumer of the topic gets in the end."""
        lost = sorted(set(self.acknowledged) - set(delivered))
        assert not lost, f"acknowledged and lost: {lost}"
        ghosts = sorted(set(self.refused) & set(delivered))
        assert not ghosts, f'"{NOT}", and delivered: {ghosts}'
        assert len(delivered) == len(set(delivered)), "delivered twice"
        in_order = [number for number in delivered if number in set(self.acknowledged)]
        assert in_order == sorted(in_order), "delivered in another order"


def publish_again(record: Record, service: ServiceOnFaultyDisk) -> None:
    """Publish until a message is acknowledged, and start the service anew if it has ended."""

    def publishes() -> bool:
        service.revive()
        return record.publish(service)

    wait_until(publishes, lambda: service.log)


def read(service: Service, topic: str = "a") -> list[int]:
    """Return the numbers that a consumer of the whole topic is delivered."""
    return [record["data"][0] for record in records(service, topic) if "data" in record]


def records(service: Service, topic: str = "a") -> list[dict[str, Any]]:
    """Return all records of a finite stream of the whole topic."""
    answer = plain.get(service.topic(topic), params={"until": "latest"})
    assert answer.status_code == 200, answer.text
    return [orjson.loads(line) for line in answer.text.splitlines()]


def readiness(service: Service) -> tuple[int, dict[str, str]]:
    """Return the status of the readiness, and its checks."""
    answer = plain.get(f"{service.url}/healthz/ready")
    checks: dict[str, str] = answer.json()
    return answer.status_code, checks


def soon(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait until a condition is met; fail, and say what with, if that takes more than seconds."""
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)
