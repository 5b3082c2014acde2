"""A service with a log in SQLite becomes instances on a cluster; its clients go on by their ids."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.endurance.cluster.questions import ask
from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.service import RIPTIDE, Service
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cluster.conftest import StartInstances
    from tests.nats_servers import Cluster

LIVES, TOPICS, BATCHES, LINES = 3, 5, 4, 500


def _migrate(data: Path, urls: str, stream: str) -> subprocess.Popen[bytes]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RIPTIDE_", "OTEL_"))
    } | {
        "RIPTIDE_DATA_DIR": str(data),
        "RIPTIDE_JETSTREAM_URLS": urls,
        "RIPTIDE_JETSTREAM_STREAM": stream,
    }
    return subprocess.Popen(
        [RIPTIDE, "migrate"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _outcome(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    out, err = process.communicate(timeout=DEADLINE_S)
    assert out == b""
    assert b"Traceback" not in err, err
    return process.returncode, err.decode()


def _live(service: Service, life: int) -> None:
    service.start()
    for number in range(BATCHES):
        for topic in range(TOPICS):
            lines = [b'"%d.%d.%d %0200d"' % (topic, life, number, n) for n in range(LINES)]
            service.publish_lines(f"topic.{topic}", lines)
    assert service.stop() == 0


async def _replay(service: Service, topic: str) -> list[tuple[str, object, str]]:
    async with TRANSPORTS[0].open(service, topic, after="earliest", until="latest") as consumer:
        records = await consumer.rest()
    return [(each["id"], each["data"], each["time"]) for each in records if "data" in each]


@pytest.fixture
def old(tmp_path: Path) -> Service:
    directory = tmp_path / "old"
    directory.mkdir()
    return Service(directory, {})


async def test_ids_from_before_go_on_at_instances_though_the_migration_was_killed(
    cluster: Cluster, old: Service, start_instances: StartInstances, stream: str
) -> None:
    for life in range(LIVES):
        await asyncio.to_thread(_live, old, life)
    await asyncio.to_thread(old.start)
    data: Path = old.settings["DATA_DIR"]
    # While it is served, nothing is moved.
    code, err = await asyncio.to_thread(lambda: _outcome(_migrate(data, cluster.urls, stream)))
    assert (code, "is in use by another Riptide process" in err) == (1, True)
    names = [f"topic.{number}" for number in range(TOPICS)]
    before = {name: await _replay(old, name) for name in names}
    assert {len(each) for each in before.values()} == {LIVES * BATCHES * LINES}
    assert await asyncio.to_thread(old.stop) == 0

    def messages() -> int:
        info = asyncio.run(ask(cluster.urls.split(","), f"STREAM.INFO.{stream}"))
        return int(info.get("state", {}).get("messages", 0))

    def kill_after_more() -> int:
        """Kill a migration once it has stored something; return what the stream has."""
        there = messages()
        process = _migrate(data, cluster.urls, stream)
        wait_until(lambda: messages() > there or process.poll() is not None)
        time.sleep(0.02)
        process.kill()
        process.communicate(timeout=DEADLINE_S)
        return messages()

    partial = [await asyncio.to_thread(kill_after_more) for _ in range(3)]
    assert partial[0] > 0
    code, err = await asyncio.to_thread(lambda: _outcome(_migrate(data, cluster.urls, stream)))
    assert code == 0, err
    assert f"{TOPICS} topics, {TOPICS * LIVES * BATCHES * LINES:,} messages" in err

    one, other = await asyncio.to_thread(start_instances, cluster.urls, 2, jetstream_stream=stream)
    for name in names:
        assert await _replay(other, name) == before[name]
    # Consumers on each transport go on within each life, at its end and at the newest message.
    ids = [each[0] for each in before["topic.0"]]
    each_life = BATCHES * LINES
    for transport, at in zip(TRANSPORTS, (7, each_life - 1, len(ids) - 1), strict=True):
        async with transport.open(one, "topic.0", after=ids[at], until="latest") as consumer:
            records = await consumer.rest()
        assert records[0]["event"] == "resumed"
        assert [each["id"] for each in records if "data" in each] == ids[at + 1 :]
    # Numbers go on.
    last = (await asyncio.to_thread(one.publish, "topic.0", "new"))[0]
    assert last.partition("-")[2] == str(len(ids) + 1)
    async with TRANSPORTS[1].open(other, "topic.0", after=ids[-1]) as consumer:
        assert (await consumer.next("message"))["id"] == last
    # Ids that were never given are told so.
    epochs = [ids[life * each_life].partition("-")[0] for life in range(LIVES)]
    for made_up in ("ffffffff-9", f"{epochs[0]}-{each_life + 1}", f"{epochs[2]}-{10**6}"):
        async with TRANSPORTS[0].open(other, "topic.0", after=made_up) as consumer:
            assert (await consumer.next())["event"] == "reset", made_up
    # The log is not moved a second time over what was published since.
    code, err = await asyncio.to_thread(lambda: _outcome(_migrate(data, cluster.urls, stream)))
    assert (code, "nothing to do" in err) == (1, True)
    for instance in (one, other):
        assert await asyncio.to_thread(instance.stop) == 0


async def test_expired_messages_are_counted_as_missed_and_idle_topics_keep_their_number(
    cluster: Cluster, old: Service, start_instances: StartInstances, stream: str
) -> None:
    old.settings |= {"RETENTION_MESSAGES": 10}
    await asyncio.to_thread(old.start)
    ids = []
    for number in range(25):
        ids += (await asyncio.to_thread(old.publish, "few", number))[:1]
    gone = (await asyncio.to_thread(old.publish, "gone", 1, 2, 3))[1]
    assert await asyncio.to_thread(old.stop) == 0
    # In its last life, all that there is of the other topic expires.
    old.settings |= {"RETENTION_SECONDS": 0.01}
    await asyncio.to_thread(old.start)
    await asyncio.to_thread(
        wait_until, lambda: plain.get(f"{old.url}/topics").json()["topics"] == []
    )
    more = (await asyncio.to_thread(old.publish, "few", 25))[:1]
    assert await asyncio.to_thread(old.stop) == 0
    data: Path = old.settings["DATA_DIR"]
    code, err = await asyncio.to_thread(lambda: _outcome(_migrate(data, cluster.urls, stream)))
    assert code == 0, err
    (one,) = await asyncio.to_thread(start_instances, cluster.urls)
    async with TRANSPORTS[0].open(one, "few", after=ids[3]) as consumer:
        gap = await consumer.next()
        assert (gap["event"], gap["missed"]) == ("gap", 21)
        found = await consumer.next("message")
        assert found["id"] == more[0]
    async with TRANSPORTS[0].open(one, "gone", after=gone) as consumer:
        assert (await consumer.next())["event"] == "resumed"
        following = (await asyncio.to_thread(one.publish, "gone", "new"))[0]
        assert following.partition("-")[2] == "4"
        assert (await consumer.next("message"))["id"] == following
    assert await asyncio.to_thread(one.stop) == 0
