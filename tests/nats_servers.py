"""Servers of NATS with JetStream, for tests."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import orjson

from tests.programs import require_nats_server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
listen: 127.0.0.1:-1
server_name: {name}
jetstream {{
    store_dir: "{directory}/store"
}}
ports_file_dir: "{directory}"
{more}
"""


@contextlib.contextmanager
def one_server(directory: Path, more: str = "") -> Iterator[str]:
    """Run a server that keeps its streams in a directory; yield its URL."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "nats.conf"
    config.write_text(CONFIG.format(name="n1", directory=directory, more=more))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(  # the server that make nats builds
            [require_nats_server(), "-c", str(config)], stdout=log, stderr=log
        )
    try:
        ports = wait_until(lambda: list(directory.glob(f"nats-server_{process.pid}.ports")))
        urls = wait_until(ports[0].read_text)
        url: str = orjson.loads(urls)["nats"][0]
        yield url
    finally:
        process.terminate()
        process.wait()
