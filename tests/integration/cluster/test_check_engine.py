"""``riptide check-engine`` on a cluster of three servers, one of which is lost."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING, Any

import orjson

from operations.ports import free_port
from tests.nats_servers import Cluster
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cluster.conftest import StartInstances


def _check(urls: str, *arguments: str) -> tuple[int, dict[str, list[str]]]:
    """Return the exit code, and by their level what is found."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RIPTIDE_", "OTEL_"))
    } | {"RIPTIDE_JETSTREAM_URLS": urls, "RIPTIDE_MAX_MESSAGE_BYTES": "900000"}
    done = subprocess.run(
        [RIPTIDE, "check-engine", "--json", *arguments],
        env=environment,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stderr == b""
    report: dict[str, Any] = orjson.loads(done.stdout)
    found: dict[str, list[str]] = {"ok": [], "risk": [], "wrong": [], "worth": [report["worth"]]}
    for each in report["findings"]:
        found[each["level"]].append(f"{each['about']}: {each['text']}")
    return done.returncode, found


async def test_a_cluster_as_it_should_be_is_all_well_until_a_server_is_lost(
    tmp_path: Path, start_instances: StartInstances, topic: str
) -> None:
    cluster = Cluster(tmp_path / "cluster")
    monitors = []
    for server in cluster.servers.values():
        port, file = free_port(), server.directory / "nats.conf"
        monitors += ["--monitor-url", f"http://127.0.0.1:{port}"]
        config = file.read_text().replace("store_dir", "sync_interval: always\n    store_dir")
        file.write_text(f"{config}http: 127.0.0.1:{port}\n")
    with cluster:
        await cluster.wait_until_it_answers()
        (service,) = await asyncio.to_thread(
            start_instances, cluster.urls, jetstream_stream="riptide"
        )
        await asyncio.to_thread(service.publish, topic, "kept")
        await cluster.wait_until_whole("riptide")
        code, found = await asyncio.to_thread(_check, cluster.urls, "--strict", *monitors)
        assert (code, found["risk"], found["wrong"]) == (0, [], [])
        assert "servers: 3 servers are known: n1, n2, n3" in found["ok"]
        assert found["worth"][0].startswith("3 replicas, sync_interval always")

        # Without the monitoring, one of three addresses is enough to see all versions.
        code, found = await asyncio.to_thread(_check, cluster.servers["n1"].url)
        assert (code, found["wrong"]) == (0, [])
        assert [line.partition(":")[0] for line in found["risk"]] == ["servers", "sync"]
        assert sum(line.startswith("version: server n") for line in found["ok"]) == 3
        assert (await asyncio.to_thread(_check, cluster.urls, "--strict"))[0] == 1

        # What remains is said to be at risk, and what is lost, by its name.
        leader = await cluster.wait_for_leader("riptide")
        lost = next(name for name in cluster.servers if name != leader)
        cluster.kill(lost)
        seen: list[str] = []

        def is_missed() -> bool:
            seen[:] = _check(cluster.urls)[1]["risk"]
            return any(f"replicas: the replica on {lost} is not there" in line for line in seen)

        await asyncio.to_thread(wait_until, is_missed, lambda: seen)
        assert any(line.startswith("servers: 127.0.0.1:") for line in seen)
        assert await asyncio.to_thread(service.stop) == 0
