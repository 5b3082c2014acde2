"""What docs/cluster.md gives to operators works as it stands there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from operations.ports import free_port
from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.integration.log_faults.publishing import readiness
from tests.nats_servers import Cluster, one_server

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import StartInstances

DOCUMENT = Path(__file__).parents[3] / "docs" / "cluster.md"


def _block(begin: str) -> str:
    blocks: list[str] = re.findall(r"```text\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(begin)]
    return found


async def test_the_permissions_that_it_lists_are_enough(
    tmp_path: Path, start_instances: StartInstances, topic: str
) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse battery staple")
    with one_server(tmp_path / "nats", _block("authorization")) as url:
        one, other = await asyncio.to_thread(
            start_instances,
            url,
            2,
            jetstream_stream="riptide",
            jetstream_replicas=1,
            jetstream_user="riptide",
            jetstream_password_file=password,
            max_message_bytes=900_000,
        )
        ids = []
        async with TRANSPORTS[0].open(other, topic) as consumer:
            await consumer.next("opened")
            for size in (1, 500_000, 800_000):
                ids += (await asyncio.to_thread(one.publish, topic, "x" * size))[:1]
            # More than a message of NATS may have.
            ids += await asyncio.to_thread(one.publish, topic, "x" * 800_000, "y" * 800_000)
            assert [each["id"] for each in await consumer.messages(5)] == ids
        async with TRANSPORTS[0].open(other, topic, after=ids[0], until="latest") as consumer:
            records = await consumer.rest()
        assert records[0]["event"] == "resumed"
        assert [r["id"] for r in records if "data" in r] == ids[1:]
        listed = await asyncio.to_thread(plain.get, f"{other.url}/topics")
        assert [each["topic"] for each in listed.json()["topics"]] == [topic]
        assert (await asyncio.to_thread(readiness, one))[0] == 200
        for instance in (one, other):
            assert await asyncio.to_thread(instance.stop) == 0
        log = (tmp_path / "nats" / "log").read_text()
        assert "Violation" not in log


async def test_the_configuration_of_servers_is_one_that_they_take_and_sync(
    tmp_path: Path, start_instances: StartInstances, topic: str
) -> None:
    config = _block("server_name")
    cluster = Cluster(tmp_path / "cluster")
    monitored = free_port()
    for name, server in cluster.servers.items():
        own = config.replace("server_name: n1", f"server_name: {name}")
        own = own.replace("0.0.0.0:4222", f"127.0.0.1:{server.port}")
        own = own.replace("0.0.0.0:6222", f"127.0.0.1:{server.cluster_port}")
        own = own.replace("/var/lib/nats", f'"{server.directory}/store"').replace("100GB", "1GB")
        for other in cluster.servers.values():
            own = own.replace(f"{other.name}:6222", f"127.0.0.1:{other.cluster_port}")
        if name == "n1":
            own += f"http: 127.0.0.1:{monitored}\n"
        (server.directory / "nats.conf").write_text(own)
    with cluster:
        (service,) = await asyncio.to_thread(start_instances, cluster.urls)
        await asyncio.to_thread(service.publish, topic, "kept")
        seen = await asyncio.to_thread(plain.get, f"http://127.0.0.1:{monitored}/varz")
        assert seen.json()["jetstream"]["config"]["sync_always"] is True
        assert await asyncio.to_thread(service.stop) == 0
