"""Centrifugo: nodes in Go that share what they publish, and its history, in one Redis.

Redis keeps all in memory, with nothing on disk and no replica. So what is acknowledged does not
survive Redis, which is to be remembered when figures are compared. All messages go to one channel.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote

from benchmarks.peers.cluster import INSTANCES, Cluster, Servers
from benchmarks.peers.peer import CONFIGURATIONS, SSE, Peer, Serving, started, wait_for_port
from benchmarks.service import HOST
from operations.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "Centrifugo with Redis"
CHANNEL = "load"
CONNECT = quote(json.dumps({"subs": {CHANNEL: {}}}, separators=(",", ":")))


def missing() -> str:
    """Return what is missing to run it; empty if nothing is."""
    names = [name for name in ("centrifugo", "redis-server") if _found(name) is None]
    hint = "make bench-cluster builds centrifugo; redis-server is Debian's"
    return f"not installed: {', '.join(names)} ({hint})" if names else ""


def _found(name: str) -> str | None:
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


@contextlib.contextmanager
def nodes() -> Iterator[Cluster]:
    """Run Redis and three nodes within this context, on all cores.

    Raises:
        RuntimeError: something is missing, or did not start.

    """
    centrifugo, redis = _found("centrifugo"), _found("redis-server")
    if centrifugo is None or redis is None:
        raise RuntimeError(missing())
    cores = os.sched_getaffinity(0)
    redis_port, *ports = free_ports(1 + INSTANCES)
    template = Template((CONFIGURATIONS / "centrifugo.json").read_text())
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        where = ("--bind", HOST, "--port", str(redis_port), "--dir", str(directory))
        command = [redis, *where, "--save", "", "--appendonly", "no"]
        log = directory / "redis.log"
        store = stack.enter_context(started(command, log, cores=cores))
        wait_for_port(store, redis_port, log)
        running = []
        for port in ports:
            file, log = directory / f"{port}.json", directory / f"{port}.log"
            file.write_text(template.substitute(host=HOST, port=port, redis_port=redis_port))
            node = stack.enter_context(
                started([centrifugo, "--config", str(file)], log, cores=cores)
            )
            wait_for_port(node, port, log)
            running.append(Serving(port, port, node.pid))
        yield Cluster(Servers("", (store.pid,)), running)


CENTRIFUGO = Peer(
    NAME,
    (SSE,),
    f"/connection/uni_sse?cf_connect={CONNECT}",
    {
        "path": "/api/publish",
        "content_type": "application/json",
        "before": f'{{"channel":"{CHANNEL}","data":',
        "after": "}",
    },
    # Nodes are run together.
    lambda: contextlib.nullcontext(Serving(0, 0, 0)),
    batches={
        "path": "/api/batch",
        "before": '{"commands":[',
        "item_before": f'{{"publish":{{"channel":"{CHANNEL}","data":',
        "item_after": "}}",
        "between": ",",
        "after": "]}",
    },
)
