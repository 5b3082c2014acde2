"""Several workers on one port: starts them, replaces those that die, and passes signals on."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from riptide.access.exposure import check_exposure
from riptide.endpoints.metrics_targets import MetricsTargets
from riptide.errors import InvalidSettingsError, StartError
from riptide.server.listener import address_of, listen
from riptide.server.tls import tls_of
from riptide.service import check_telemetry
from riptide.workers.worker import START_FAILED

if TYPE_CHECKING:
    from types import FrameType

    from riptide.settings.settings import Settings

logger = logging.getLogger("riptide.supervisor")

# Pause before a dead worker is replaced, so that one that dies at once is not started in a loop.
RESTART_PAUSE_S = 1.0


class Supervisor:
    """Keeps one worker in each slot alive until a signal. The listener outlives the workers."""

    def __init__(self, listener_fd: int, directory: Path, workers: int) -> None:
        self._listener_fd = listener_fd
        self._directory = directory
        self._targets = MetricsTargets(directory)
        self._slots = range(workers)
        self._workers: dict[int, tuple[int, subprocess.Popen[bytes]]] = {}
        self._stopping = False

    def run(self) -> None:
        """Supervise until every worker has ended after a signal.

        Raises:
            StartError: a worker could not start. The worker has written the reason to stderr.

        """
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop)
        for slot in self._slots:
            self._start(slot)
        failed = False
        while self._workers:
            pid, status = os.wait()
            slot, worker = self._workers.pop(pid)
            # Before anything else, so that Prometheus is not sent to a worker that is gone.
            self._targets.remove(slot)
            worker.returncode = os.waitstatus_to_exitcode(status)
            if worker.stdin is not None:
                worker.stdin.close()
            if self._stopping:
                continue
            if worker.returncode == START_FAILED:
                failed = True
                self._stop(signal.SIGTERM, None)
                continue
            logger.warning("worker %d ended (%d); starting another", slot, worker.returncode)
            time.sleep(RESTART_PAUSE_S)
            if not self._stopping:
                self._start(slot)
        if failed:
            raise StartError("a worker could not start")

    def _start(self, slot: int) -> None:
        arguments = (str(slot), str(self._listener_fd), str(self._directory))
        worker = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "riptide.workers.worker", *arguments],
            # A worker ends when this pipe closes, so that it does not outlive the supervisor.
            stdin=subprocess.PIPE,
            pass_fds=[self._listener_fd],
            # A terminal's Ctrl-C then reaches the supervisor alone, which passes it on; otherwise a
            # worker would get it twice.
            process_group=0,
        )
        self._workers[worker.pid] = (slot, worker)
        if self._stopping:
            os.kill(worker.pid, signal.SIGTERM)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        # Every signal is passed on: the first one drains the workers, the second one ends them.
        self._stopping = True
        # ``Popen.send_signal`` would reap a worker that has just ended, and ``run`` would miss its
        # exit.
        for pid in list(self._workers):
            os.kill(pid, number)


def supervise(settings: Settings) -> None:
    """Serve with several workers until a signal ends them.

    Raises:
        StartError: the address cannot be listened on, a worker could not start, or the service
            would be open to all.

    """
    check_telemetry()
    with (
        listen(settings.host, settings.port) as listener,
        tempfile.TemporaryDirectory(prefix="riptide-") as directory,
    ):
        check_exposure(settings, listener.getsockname()[0])
        if settings.metrics_port is not None:
            raise InvalidSettingsError(
                "RIPTIDE_METRICS_PORT is one port, and each worker has metrics on a port of its "
                "own (GET /metrics/targets lists them): leave it out"
            )
        logger.warning(
            "%d workers and no broker between them: each has a log of its own, and what is "
            "published to one reaches only the consumers connected to it; use one worker unless "
            "that is meant",
            settings.workers,
        )
        logger.info("serving on %s", address_of(listener, tls=tls_of(settings) is not None))
        Supervisor(listener.fileno(), Path(directory), settings.workers).run()
