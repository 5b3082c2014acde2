"""What was acknowledged survives the death of the process."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import httpx2
import orjson

from tests import plain
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.service import Service

KILLS = 20
PUBLISHERS = 4


class Publisher(threading.Thread):
    """Publishes numbered batches until the service is gone; knows what was acknowledged."""

    def __init__(self, service: Service, topic: str, name: str, start: int) -> None:
        super().__init__()
        self.name = name
        self.offered = self.acknowledged = self.start_number = start
        self._service = service
        self._topic = topic

    @property
    def has_published(self) -> bool:
        """Whether more than one message has been acknowledged, or there is nothing to wait for."""
        return self.acknowledged > self.start_number + 1 or not self.is_alive()

    def run(self) -> None:
        with plain.client() as client:
            while True:
                size = random.choice([1, 3, 50])
                batch = range(self.offered, self.offered + size)
                self.offered += size
                try:
                    answer = client.post(
                        self._service.topic(self._topic),
                        content=b"\n".join(orjson.dumps([self.name, n]) for n in batch),
                        headers={"Content-Type": "application/x-ndjson"},
                    )
                except httpx2.TransportError:
                    return
                assert answer.status_code == 202
                self.acknowledged = batch.stop


def test_every_acknowledged_message_survives_sigkill_in_order_and_once(
    start_service: StartService, topic: str
) -> None:
    service = start_service()
    starts = dict.fromkeys("abcd"[:PUBLISHERS], 0)
    acknowledged: dict[str, set[int]] = {name: set() for name in starts}
    last_sequence = 0
    for _ in range(KILLS):
        publishers = [Publisher(service, topic, name, start) for name, start in starts.items()]
        for publisher in publishers:
            publisher.start()
        wait_until(lambda: all(each.has_published for each in publishers))  # noqa: B023  # in this turn
        time.sleep(random.uniform(0, 0.3))
        service.kill()
        for publisher in publishers:
            publisher.join()
            acknowledged[publisher.name] |= set(
                range(starts[publisher.name], publisher.acknowledged)
            )
            # The last batch may be there or not: nobody promised either.
            starts[publisher.name] = publisher.offered
        service.start()
        first, _ = service.publish(topic, ["restart", 0])
        sequence = int(first.partition("-")[2])
        assert sequence > last_sequence
        last_sequence = sequence
    replay = plain.get(service.topic(topic), params={"until": "latest"}).text
    records = [orjson.loads(line) for line in replay.split("\n") if '"data"' in line]
    assert [int(r["id"].partition("-")[2]) for r in records] == list(range(1, len(records) + 1))
    for name, expected in acknowledged.items():
        assert len(expected) > KILLS
        kept = [record["data"][1] for record in records if record["data"][0] == name]
        assert kept == sorted(set(kept)), "out of order, or twice"
        assert expected <= set(kept), "acknowledged, and lost"
