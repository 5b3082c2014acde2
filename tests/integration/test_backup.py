"""A backup is taken of a service under load and restored, and every consumer is told the truth."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest

from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.service import RIPTIDE, Service
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.contract.consumers import Record, Transport

PUBLISHERS = 4
TOPIC = "orders"


class Publisher(threading.Thread):
    """Publishes small batches until it is told to stop; keeps the ids that were acknowledged."""

    def __init__(self, service: Service, name: str) -> None:
        super().__init__()
        self.name = name
        self.acknowledged: dict[int, Any] = {}
        self.stopping = False
        self._url = service.topic(TOPIC)

    def run(self) -> None:
        number = 0
        with plain.client() as client:
            while not self.stopping:
                batch = [{"by": self.name, "number": number + n, "pad": "x" * 2000} for n in (0, 1)]
                number += 2
                answer = client.post(
                    self._url,
                    content=b"\n".join(map(orjson.dumps, batch)),
                    headers={"Content-Type": "application/x-ndjson"},
                )
                assert answer.status_code == 202
                first = _sequence(answer.json()["ids"]["first"])
                self.acknowledged |= {first + n: data for n, data in enumerate(batch)}


class Restored(NamedTuple):
    """A service with the log of a backup, to which as many messages were published as were lost."""

    service: Service
    head: int
    lost_head: int
    new_head: int
    epochs: tuple[str, str, str]


def _sequence(identity: str) -> int:
    return int(identity.partition("-")[2])


def _command(service: Service, *arguments: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "RIPTIDE_" not in name}
    environment["RIPTIDE_DATA_DIR"] = str(service.settings["DATA_DIR"])
    subprocess.run([RIPTIDE, *arguments], env=environment, check=True)


def _replay(service: Service) -> list[Record]:
    text = plain.get(service.topic(TOPIC), params={"until": "latest"}).text
    return [orjson.loads(line) for line in text.split("\n") if '"data"' in line]


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Restored:
    """Publish, back up, go on publishing, stop, restore, and publish something else."""
    directory = tmp_path_factory.mktemp("service")
    service = Service(directory, {}).start()
    # A life before, of which the backup has everything.
    first, _ = service.publish(TOPIC, *range(10))
    assert service.stop() == 0
    service.start()
    publishers = [Publisher(service, name) for name in "abcd"[:PUBLISHERS]]
    for publisher in publishers:
        publisher.start()

    def enough() -> bool:
        assert all(publisher.is_alive() for publisher in publishers)
        return sum(len(publisher.acknowledged) for publisher in publishers) >= 500

    wait_until(enough)
    before = {k: v for publisher in publishers for k, v in dict(publisher.acknowledged).items()}
    _command(service, "backup", directory / "backup")
    taken = {publisher: len(publisher.acknowledged) for publisher in publishers}
    wait_until(lambda: all(len(each.acknowledged) > count for each, count in taken.items()))
    for publisher in publishers:
        publisher.stopping = True
    for publisher in publishers:
        publisher.join()
    _, lost = service.publish(TOPIC, *["never seen again"] * 20)
    assert service.stop() == 0

    connection = sqlite3.connect(directory / "backup")
    kept = dict(connection.execute("SELECT sequence, payload FROM messages").fetchall())
    head = max(kept)
    connection.close()
    assert sorted(kept) == list(range(1, head + 1))
    assert {sequence: orjson.loads(kept[sequence]) for sequence in before} == before
    after = {k: v for publisher in publishers for k, v in publisher.acknowledged.items()}
    assert {sequence for sequence in after if sequence > head}, "nothing was published meanwhile"

    _command(service, "restore", "--replace", directory / "backup")
    service.start()
    new_first, new_last = service.publish(
        TOPIC, *[{"new": n} for n in range(_sequence(lost) - head + 10)]
    )
    assert _sequence(new_first) == head + 1
    epochs = (first.partition("-")[0], lost.partition("-")[0], new_first.partition("-")[0])
    return Restored(service, head, _sequence(lost), _sequence(new_last), epochs)


@pytest.fixture(autouse=True, scope="module")
def _stopped(restored: Restored) -> Iterator[None]:
    yield
    assert restored.service.stop() == 0
    assert "Traceback" not in restored.service.log


def test_messages_keep_their_ids_and_no_lost_id_is_given_again(restored: Restored) -> None:
    first, lost, new = restored.epochs
    assert len({first, lost, new}) == 3
    epochs = [first] * 10 + [lost] * (restored.head - 10)
    epochs += [new] * (restored.new_head - restored.head)
    assert [record["id"] for record in _replay(restored.service)] == [
        f"{epoch}-{sequence}" for sequence, epoch in enumerate(epochs, 1)
    ]


# An id, and the number of the message behind which its owner goes on; None: it is told of a reset.
POSITIONS: dict[str, Callable[[Restored], tuple[str, int | None]]] = {
    "of the life before": lambda it: (f"{it.epochs[0]}-7", 7),
    "before the backup's head": lambda it: (f"{it.epochs[1]}-{it.head - 3}", it.head - 3),
    "at the backup's head": lambda it: (f"{it.epochs[1]}-{it.head}", it.head),
    "after the backup's head": lambda it: (f"{it.epochs[1]}-{it.head + 1}", None),
    "at the lost head": lambda it: (f"{it.epochs[1]}-{it.lost_head}", None),
    "of the new life": lambda it: (f"{it.epochs[2]}-{it.head + 2}", it.head + 2),
    "at the new head": lambda it: (f"{it.epochs[2]}-{it.new_head}", it.new_head),
    "of another log": lambda it: (f"{int(it.epochs[2], 16) ^ 1:08x}-{it.head}", None),
}


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)
@pytest.mark.parametrize("position", POSITIONS)
async def test_who_comes_back_resumes_without_loss_or_is_told_that_the_log_is_another(
    restored: Restored, transport: Transport, position: str
) -> None:
    identity, after = POSITIONS[position](restored)
    everything = _replay(restored.service)
    async with transport.open(restored.service, TOPIC, after=identity, until="latest") as consumer:
        records = await consumer.rest()
    assert records[0]["event"] == ("reset" if after is None else "resumed")
    assert [record for record in records if "data" in record] == everything[after or 0 :]
