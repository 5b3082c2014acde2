"""``riptide serve`` with a fault in one part: it raises once, when a file named ``fail`` appears.

usage: python tests/faulty_service.py PART

The drain does not end before a file named ``go`` appears, so that a test can look at the process
meanwhile. Both files are looked for in the current directory. Everything else is real.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from riptide import cli
from riptide.access.keyring import Keyring
from riptide.hub import hub
from riptide.hub.fanout import FanOut
from riptide.hub.hub import Hub
from riptide.process import allocator, descriptors
from riptide.server import tls, write_timeout
from riptide.server.side_server import SideServer
from riptide.storage import sqlite_reader, sqlite_writer
from riptide.storage.checkpoints import Checkpoints
from riptide.storage.sqlite_writer import SqliteWriter
from riptide.streaming import log_loss
from riptide.streaming.heartbeat import Heartbeat
from riptide.streaming.log_loss import LogLoss
from riptide.streaming.patience import Patience
from riptide.streaming.session import StreamSession
from riptide.streaming.streams import Streams
from riptide_telemetry import ServicePart
from riptide_telemetry.state.sliding_window import SlidingWindow

if TYPE_CHECKING:
    from collections.abc import Callable


class WritePatience(Patience):
    """The patience of the write timeout alone."""


SECRET = "a fault that was put here"
# Where each part raises: an object and the name of one of its functions.
PLACES: dict[ServicePart, tuple[Any, str]] = {
    ServicePart.HEARTBEAT: (Heartbeat, "_visit"),
    # The class is the heartbeat's as well, which is to have no fault.
    ServicePart.WRITE_TIMEOUT: (WritePatience, "begin_round"),
    ServicePart.EVENT_LOOP_MONITOR: (SlidingWindow, "advance"),
    ServicePart.KEY_REFRESH: (Keyring, "_read"),
    ServicePart.CERTIFICATE_RENEWAL: (tls.Tls, "version"),
    ServicePart.DESCRIPTOR_WATCH: (descriptors, "_left"),
    ServicePart.MEMORY_TRIM: (allocator, "give_back"),
    ServicePart.METRICS_SERVER: (SideServer, "on_tick"),
    ServicePart.LOG_WRITER: (SqliteWriter, "_trim"),
    ServicePart.LOG_CHECKPOINTS: (Checkpoints, "_look"),
    ServicePart.LOG_WATCH: (sqlite_reader._Connection, "probe"),
    ServicePart.LOG_LOSS: (LogLoss, "_is_lost"),
    ServicePart.APPEND_TIMEOUT: (Hub, "_refuse_overdue"),
    ServicePart.FAN_OUT: (FanOut, "_serve"),
    ServicePart.DRAIN: (StreamSession, "end"),
    ServicePart.CALLBACK: (SqliteWriter, "_acknowledge"),
}


def _raising_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same, but raises once when ``fail`` is there."""
    failed = False

    def fail() -> None:
        nonlocal failed
        if not failed and Path("fail").exists():
            failed = True
            raise LookupError(SECRET)

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        fail()
        return function(*args, **keywords)

    @functools.wraps(function)
    async def call_async(*args: Any, **keywords: Any) -> Any:
        fail()
        return await function(*args, **keywords)

    return call_async if inspect.iscoroutinefunction(function) else call


def _wait_for_go() -> None:
    while not Path("go").exists():
        time.sleep(0.01)


def _hold_drains() -> None:
    wait_until_empty = Streams.wait_until_empty

    async def wait(streams: Streams) -> None:
        await asyncio.to_thread(_wait_for_go)
        await wait_until_empty(streams)

    Streams.wait_until_empty = wait  # type: ignore[method-assign,assignment]  # of the same form


def main(part: ServicePart) -> int:
    """Serve with the fault; return the exit code."""
    # Rounds that are minutes apart come soon.
    allocator.INTERVAL_S = tls.CHECK_INTERVAL_S = sqlite_writer.TRIM_INTERVAL_S = 0.05
    log_loss.CHECK_INTERVAL_S = 0.05
    sqlite_reader.PROBE_INTERVAL_S = hub.CHECK_INTERVAL_S = 0.05  # type: ignore[attr-defined]  # as the module has imported it
    write_timeout.ROUNDS = 100_000
    write_timeout.Patience = WritePatience  # type: ignore[attr-defined]  # as the module has imported it
    place, name = PLACES[part]
    setattr(place, name, _raising_once(getattr(place, name)))
    _hold_drains()
    return cli.main(["serve"])


if __name__ == "__main__":
    sys.exit(main(ServicePart(sys.argv[1])))
