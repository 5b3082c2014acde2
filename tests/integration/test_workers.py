"""Several workers on one port: numbers that are right whichever of them answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import httpx2
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.service import RIPTIDE, Service
from tests.waiting import DEADLINE_S, wait_until
from tests.worker_processes import log_process_of, targets, worker_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartService

WORKERS = 3
CONSUMERS = 30
ACTIVE = "riptide_streaming_active_connections"
OPENED = "riptide_streaming_connections_opened_total"
SENT = "riptide_streaming_messages_sent_total"


def _scrape(target: str) -> dict[str, float]:
    """Return the sum of each metric of one worker."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(plain.get(f"http://{target}/metrics").text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def _all_there(service: Service) -> Callable[[], bool]:
    return lambda: len(targets(service)) == WORKERS


async def test_the_workers_metrics_add_up_and_a_killed_one_leaves_no_ghost(
    start_service: StartService, topic: str
) -> None:
    service = start_service(log="memory", workers=WORKERS)
    wait_until(_all_there(service))
    groups = plain.get(f"{service.url}/metrics/targets").json()
    assert [group["labels"]["worker"] for group in groups] == ["0", "1", "2"]
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(service, topic))
            for transport in TRANSPORTS * (CONSUMERS // len(TRANSPORTS))
        ]
        for consumer in consumers:
            await consumer.next("opened")
        for _ in range(20):
            service.publish(topic, "to the consumers of all workers")
        before = {target: _scrape(target) for target in targets(service)}
        assert sum(metrics[ACTIVE] for metrics in before.values()) == CONSUMERS
        assert sum(metrics[OPENED] for metrics in before.values()) == CONSUMERS
        assert (
            sum(
                metrics["riptide_streaming_messages_published_total"] for metrics in before.values()
            )
            == 20
        )
        victim = max(before, key=lambda target: before[target][ACTIVE])
        assert before[victim][ACTIVE] > 0
        pid = worker_of(service.pid, victim)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: victim not in targets(service))
        wait_until(_all_there(service))
        after = {target: _scrape(target) for target in targets(service)}
        (successor,) = after.keys() - before.keys()
        assert after[successor][ACTIVE] == 0
        for target in before.keys() & after.keys():
            assert after[target][ACTIVE] == before[target][ACTIVE]
            for name, value in before[target].items():
                if name.endswith("_total"):
                    assert after[target][name] >= value
    assert service.stop() == 0


async def test_a_single_service_is_its_own_target(start_service: StartService) -> None:
    service = start_service(log="memory")
    (group,) = plain.get(f"{service.url}/metrics/targets").json()
    assert group["targets"] == [service.url.removeprefix("http://")]


async def test_a_signal_drains_every_worker(start_service: StartService, topic: str) -> None:
    service = start_service(workers=2)
    # Until then, a worker may still wait for the log.
    await asyncio.to_thread(wait_until, lambda: len(targets(service)) == 2)
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(service, topic))
            for transport in TRANSPORTS
            for _ in range(6)
        ]
        for consumer in consumers:
            await consumer.next("opened")
        assert await asyncio.to_thread(service.stop) == 0
        for consumer in consumers:
            assert (await consumer.next("end"))["reason"] == "draining"


def test_nothing_that_tidies_directories_up_takes_the_workers_from_each_other(
    start_service: StartService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    service = start_service(log="memory", workers=WORKERS)
    wait_until(_all_there(service))
    # With the files, the directory and the log's directory, which this log does not use.
    shutil.rmtree(temporary)
    shutil.rmtree(service.directory / "data", ignore_errors=True)
    assert len(targets(service)) == WORKERS
    victim = targets(service)[0]
    os.kill(worker_of(service.pid, victim), signal.SIGKILL)
    wait_until(lambda: victim not in targets(service))
    wait_until(_all_there(service))
    assert service.stop() == 0


def test_a_log_that_cannot_be_opened_again_leaves_the_workers_alone_and_is_tried_again(
    start_service: StartService, topic: str
) -> None:
    service = start_service(workers=2)
    wait_until(lambda: len(targets(service)) == 2)
    service.publish(topic, "kept")
    directory = service.directory / "data"
    aside = directory.rename(directory.with_name("aside"))
    directory.write_text("not a directory")
    os.kill(log_process_of(service.pid), signal.SIGKILL)
    wait_until(lambda: "the process of the log ended (cannot write to the data" in service.log)
    wait_until(lambda: _ready(service).status_code == 503)
    assert len(targets(service)) == 2
    assert "the process of the log has not been there for" in _ready(service).json()["log"]
    directory.unlink()
    aside.rename(directory)
    wait_until(lambda: _ready(service).status_code == 200)
    assert service.publish(topic, "and more")[0].endswith("-2")
    assert service.stop() == 0


@pytest.mark.parametrize("delay_s", [0, 0.2, 0.5, 0.8])
def test_a_service_that_is_just_starting_ends_without_a_word(
    start_service: StartService, delay_s: float
) -> None:
    service = start_service(workers=2)
    # Whatever its processes are doing by then.
    time.sleep(delay_s)
    assert service.stop() == 0
    assert "Traceback" not in service.log


def test_a_log_that_cannot_be_opened_is_why_the_service_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    service = Service(tmp_path, {"workers": 2})
    service.begin()
    assert service.process is not None
    assert service.process.wait(DEADLINE_S) == 1
    assert service.log.count("riptide: ") == 1, service.log
    assert "RIPTIDE_DATA_DIR" in service.log.splitlines()[-1]


def test_logs_of_an_earlier_version_s_workers_are_told_of_and_left_alone(
    start_service: StartService, tmp_path: Path
) -> None:
    for worker in ("worker-0", "worker-1"):
        old = tmp_path / "old" / worker / "riptide.db"
        old.parent.mkdir(parents=True)
        old.write_bytes(b"")
    service = start_service(workers=2, data_dir=tmp_path / "old")
    wait_until(lambda: len(targets(service)) == 2)
    assert "2 workers of an earlier version have left logs of their own" in service.log
    assert service.stop() == 0
    assert (tmp_path / "old" / "riptide.db").exists()
    assert (tmp_path / "old" / "worker-0" / "riptide.db").read_bytes() == b""


def _replayed(service: Service, topic: str) -> list[str]:
    text = plain.get(service.topic(topic), params={"until": "latest"}).text
    return [record["id"] for record in map(orjson.loads, text.splitlines()) if "data" in record]


def test_a_log_of_an_earlier_version_s_worker_is_kept_by_moving_it(
    start_service: StartService, tmp_path: Path, topic: str
) -> None:
    old, data = tmp_path / "data" / "worker-0", tmp_path / "data"
    service = start_service(data_dir=old)
    ids = [service.publish(topic, number)[0] for number in range(3)]
    assert service.stop() == 0
    for file in old.glob("riptide.db*"):
        file.rename(data / file.name)
    service = start_service(workers=2, data_dir=data)
    wait_until(lambda: len(targets(service)) == 2)
    assert "earlier version" not in service.log
    assert _replayed(service, topic) == ids
    assert service.publish(topic, 3)[0].endswith("-4")
    assert service.stop() == 0


def test_a_backup_of_a_log_that_workers_share_has_all_that_was_acknowledged(
    start_service: StartService, tmp_path: Path, topic: str
) -> None:
    service = start_service(workers=2)
    wait_until(lambda: len(targets(service)) == 2)
    ids = [service.publish(topic, number)[0] for number in range(20)]
    for command, directory in (
        ("backup", service.settings["DATA_DIR"]),
        ("restore", tmp_path / "new"),
    ):
        environment = {**os.environ, "RIPTIDE_DATA_DIR": str(directory)}
        subprocess.run([RIPTIDE, command, tmp_path / "copy"], env=environment, check=True)
    assert service.stop() == 0
    restored = start_service(workers=2, data_dir=tmp_path / "new")
    wait_until(lambda: len(targets(restored)) == 2)
    assert _replayed(restored, topic) == ids
    assert restored.stop() == 0


def test_workers_do_not_outlive_their_supervisor(start_service: StartService) -> None:
    service = start_service(log="memory", workers=2)
    wait_until(lambda: len(targets(service)) == 2)
    service.kill()
    wait_until(lambda: not _answers(service))


def _ready(service: Service) -> httpx2.Response:
    return plain.get(f"{service.url}/healthz/ready")


def _answers(service: Service) -> bool:
    try:
        return plain.get(f"{service.url}/healthz/live").status_code == 200
    except httpx2.TransportError:
        return False
