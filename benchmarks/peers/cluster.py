"""Instances of Riptide that share a log in three servers of NATS, on all cores of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers import riptide
from benchmarks.peers.peer import Peer, Serving, started
from benchmarks.peers.riptide import RIPTIDE
from operations.cluster import nats
from operations.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INSTANCES = 3
SERVERS = 3
# An instance waits for servers that have no leader yet, but no longer than half a minute.
START_ATTEMPTS = 3


@dataclass(frozen=True)
class Servers:
    """What instances share: where it is, and the sessions of its processes."""

    urls: str
    sessions: tuple[int, ...]


@dataclass(frozen=True)
class Cluster:
    """What instances share, and the instances."""

    servers: Servers
    instances: Sequence[Serving]

    def serving(self, consume_at: Sequence[int], publish_at: Sequence[int]) -> Serving:
        """Return what the load client takes for one server, with the processor time of all.

        Consumers go to the instances of these numbers in turn, and so do publishers.
        """
        ports = [each.port for each in self.instances]
        first, *others = [each.session for each in self.instances]
        return Serving(
            ports[consume_at[0]],
            ports[publish_at[0]],
            first,
            (*others, *self.servers.sessions),
            tuple(ports[number] for number in consume_at),
            tuple(ports[number] for number in publish_at),
        )


def missing() -> str:
    """Return what is missing to run servers of NATS; empty if nothing is."""
    return "" if nats.nats_server() else nats.MISSING


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """Run three servers of NATS within this context, with ``sync_interval: always``.

    Raises:
        RuntimeError: there is no nats-server.

    """
    program = nats.nats_server()
    if program is None:
        raise RuntimeError(nats.MISSING)
    ports, routes = free_ports(SERVERS), free_ports(SERVERS)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sessions = []
        for number in range(SERVERS):
            command = nats.server_command(
                program, number, ports, routes, directory / f"store-{number}"
            )
            process = stack.enter_context(
                started(command, directory / f"log-{number}", cores=os.sched_getaffinity(0))
            )
            sessions.append(process.pid)
        yield Servers(nats.urls(ports), tuple(sessions))


@contextlib.contextmanager
def instances(on: Servers, count: int = INSTANCES, **settings: object) -> Iterator[Cluster]:
    """Run so many instances within this context, on a stream of their own."""
    stream = f"benchmark-{secrets.token_hex(4)}"
    with contextlib.ExitStack() as stack:
        running = [
            _instance(
                stack,
                jetstream_urls=on.urls,
                jetstream_stream=stream,
                instance=f"instance-{number + 1}",
                **settings,
            )
            for number in range(count)
        ]
        yield Cluster(on, running)


def _instance(stack: contextlib.ExitStack, **settings: Any) -> Serving:
    """Start an instance; again, if servers on a busy machine have not had a leader in time."""
    cores = os.sched_getaffinity(0)
    for attempt in range(START_ATTEMPTS):
        try:
            return stack.enter_context(riptide.serve(cores=cores, log="jetstream", **settings))
        except RuntimeError:
            if attempt == START_ATTEMPTS - 1:
                raise
            time.sleep(1)
    raise AssertionError


def of_topics(*topics: str) -> Peer:
    """Return Riptide as a peer whose publishers publish to these topics in turn."""
    paths = [f"/topics/{topic}" for topic in topics]
    return replace(RIPTIDE, path=paths[0], publish={**RIPTIDE.publish, "paths": paths})
