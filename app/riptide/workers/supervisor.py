"""Several workers on one port: starts them, replaces those that end, and passes signals on."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from riptide.access.exposure import check_exposure
from riptide.errors import InvalidSettingsError, StartError
from riptide.process import hangup
from riptide.server.listener import address_of, listen
from riptide.server.tls import tls_of
from riptide.service import check_telemetry
from riptide.workers.board import make_board
from riptide.workers.child import Child
from riptide.workers.lifeline import START_FAILED
from riptide.workers.log_socket import make_log_socket
from riptide.workers.metrics_memory import make_metrics_memory
from riptide.workers.shared_limits import make_shared_limits
from riptide.workers.signals import waited_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.settings.settings import Settings
    from riptide.workers.board import Board
    from riptide.workers.metrics_memory import MetricsMemory
    from riptide.workers.shared_limits import SharedLimits

logger = logging.getLogger("riptide.supervisor")

# Time between two looks at the signs of life of all children.
LOOK_S = 1.0


class Supervisor:
    """Keeps each child alive until a signal. The position of a child is its slot on the board.

    ``log`` is the child that keeps the log, in the slot behind those of the workers. It ends after
    all of them. ``on_end`` is called with the slot of a worker that has ended, before another one
    starts there.

    Nothing here blocks: one loop waits for signals, reaps whatever has ended, starts what is due,
    and looks for signs of life. Processes that it has not started (those of the program that became
    the supervisor by ``exec``, orphans where the supervisor is process 1) are reaped and ignored.
    """

    def __init__(  # noqa: PLR0913  # each is a thing of its own
        self,
        workers: Sequence[Child],
        board: Board,
        *,
        log: Child | None = None,
        on_end: Callable[[int], None] = lambda _slot: None,
        look_s: float = LOOK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._log = log
        self._children = [*workers] if log is None else [*workers, log]
        self._board = board
        self._on_end = on_end
        self._look_s = look_s
        self._clock = clock
        self._next_look = clock() + look_s
        # Children of which a process has served.
        self._proven: set[Child] = set()
        self._stopping = False
        self._failure: str | None = None

    def run(self, begun: Callable[[], object] = lambda: None) -> None:
        """Supervise until every child has ended after a signal.

        ``begun`` is called once signals are waited for: before, they would kill the process.

        Raises:
            StartError: the first process of a child could not start.

        """
        numbers = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
        if not hangup.is_ignored():
            numbers.add(signal.SIGHUP)
        with waited_for(numbers) as signals:
            begun()
            while not self._stopping or any(child.pid for child in self._children):
                self._start_what_is_due()
                self._look_for_signs_of_life()
                for number in signals.wait(self._next_event() - self._clock()):
                    if number != signal.SIGCHLD:
                        self._handle(number)
                self._reap()
                self._end_log()
        if self._failure is not None:
            raise StartError(self._failure)

    def _next_event(self) -> float:
        if self._stopping:
            return self._next_look
        return min([self._next_look, *(child.due for child in self._children if not child.pid)])

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for slot, child in enumerate(self._children):
                if child.pid == pid:
                    self._end(slot, child, os.waitstatus_to_exitcode(status))

    def _end(self, slot: int, child: Child, code: int) -> None:
        if self._board.has_served(slot):
            self._proven.add(child)
        # Before anything else, so that Prometheus is not sent to a worker that is gone.
        self._board.clear(slot)
        if child is not self._log:
            self._on_end(slot)
        now = self._clock()
        reason = child.ended(code, now)
        if self._stopping:
            return
        if code == START_FAILED and child not in self._proven:
            self._give_up(reason or f"{child.name} could not start")
            return
        logger.warning(
            "%s ended (%s); starting another %s",
            child.name,
            reason or code,
            "now" if child.due <= now else f"in {child.due - now:g} s",
        )

    def _start_what_is_due(self) -> None:
        for child in self._children:
            now = self._clock()
            if self._stopping or child.pid or now < child.due:
                continue
            try:
                child.start(now)
            except OSError as error:
                why = f"cannot start {child.name} ({error.strerror}): free memory, or raise the "
                why += "limits of processes and of open files"
                if child not in self._proven:
                    self._give_up(why)
                    continue
                child.postpone(now)
                logger.error("%s; trying again in %g s", why, child.due - now)  # noqa: TRY400  # the line says what to do

    def _look_for_signs_of_life(self) -> None:
        now = self._clock()
        if now < self._next_look:
            return
        # Looks that were missed, because this process was stopped, are not made up for.
        self._next_look = now + self._look_s
        for slot, child in enumerate(self._children):
            if child.pid and child.hangs(self._board.beats(slot)):
                logger.error("%s has ceased to give signs of life: killing it", child.name)
                child.send(signal.SIGKILL)

    def _give_up(self, why: str) -> None:
        if not self._stopping:
            self._failure = why
            self._handle(signal.SIGTERM)

    def _handle(self, number: int) -> None:
        # A terminal that goes may send SIGHUP twice, by the shell and by the system.
        if number == signal.SIGHUP and self._stopping:
            return
        # Every other signal is passed on. The first one drains the workers, as SIGTERM: an
        # interpreter that is just starting would answer SIGINT with a stack trace. The second one
        # ends them, as SIGINT: systemd may send SIGTERM to each worker as well.
        passed_on = signal.SIGINT if self._stopping else signal.SIGTERM
        self._stopping = True
        for child in self._workers:
            child.send(passed_on)

    def _end_log(self) -> None:
        """End the process of the log, once no worker needs it any more."""
        if self._stopping and self._log is not None and not any(w.pid for w in self._workers):
            # One that is just starting would answer SIGINT with a stack trace, and has nothing to
            # finish: opening a log is as safe as the log.
            serves = self._board.has_served(len(self._workers))
            self._log.send(signal.SIGINT if serves else signal.SIGKILL)


def supervise(settings: Settings) -> None:
    """Serve with several workers until a signal ends them.

    Raises:
        StartError: the address cannot be listened on, a worker could not start, or the service
            would be open to all.

    """
    check_telemetry()
    with listen(settings.host, settings.port) as listener:
        check_exposure(settings, listener.getsockname()[0])
        if settings.metrics_port is not None:
            raise InvalidSettingsError(
                "RIPTIDE_METRICS_PORT is one port, and each worker has metrics on a port of its "
                "own (GET /metrics/targets lists them): leave it out"
            )
        _tell_of_logs_of_workers(settings)
        address = address_of(listener, tls=tls_of(settings) is not None)
        # Once for all who share it: a worker that made it blocking, and be it for a moment, would
        # leave others waiting for a connection that somebody else has taken.
        listener.setblocking(False)
        board = make_board(settings.workers + 1)
        limits = make_shared_limits(settings.workers, settings.max_connections)
        metrics = make_metrics_memory(settings.workers)
        log = make_log_socket()
        shared = [
            listener.fileno(),
            board.descriptor,
            limits.descriptor,
            metrics.descriptor,
            log.descriptor,
        ]
        Supervisor(
            [_worker(slot, settings.workers, shared) for slot in range(settings.workers)],
            board,
            # Servers of NATS keep a log for all by themselves.
            log=None
            if settings.log == "jetstream"
            else _log_process(settings.workers, [log.listener.fileno(), board.descriptor]),
            on_end=functools.partial(_take_back, limits, metrics),
        ).run(begun=lambda: logger.info("serving on %s", address))


def _tell_of_logs_of_workers(settings: Settings) -> None:
    """Say that there are logs of an earlier version, in which each worker had one of its own."""
    if settings.log != "sqlite":
        return
    old = sorted(file.parent for file in settings.data_dir.glob("worker-*/riptide.db"))
    if old:
        logger.warning(
            "%d workers of an earlier version have left logs of their own (%s, ...), which are "
            "not served: all workers share the log in %s now. To serve one of them, stop the "
            "service, and put its files riptide.db* in the place of those there; to read another, "
            "start a service with RIPTIDE_DATA_DIR=%s and riptide tail its topics. Move those "
            "that you do not need away, and this warning ends",
            len(old),
            old[0],
            settings.data_dir,
            old[-1],
        )


def _take_back(limits: SharedLimits, metrics: MetricsMemory, slot: int) -> None:
    """Take back what a worker that has ended had of the limits, and keep what it has counted."""
    limits.clear(slot)
    try:
        metrics.end(slot)
    except (OSError, TypeError, ValueError) as error:
        # Of a worker of another version, perhaps: the service was upgraded while it runs.
        logger.error("what worker %d has counted is lost for /metrics: %s", slot, error)  # noqa: TRY400  # the line says all


def _worker(slot: int, workers: int, descriptors: Sequence[int]) -> Child:
    command = _python("riptide.workers.worker", slot, workers, *descriptors)
    return Child(f"worker {slot}", command, descriptors)


def _log_process(slot: int, descriptors: Sequence[int]) -> Child:
    command = _python("riptide.workers.log_process", slot, *descriptors)
    return Child("the process of the log", command, descriptors)


def _python(module: str, *numbers: int) -> list[str]:
    # The current directory is no place to import from (-P): it may be gone, or have a module whose
    # name is that of one of ours.
    return [sys.executable, "-P", "-m", module, *map(str, numbers)]
