"""One of several processes that share the service's port; the supervisor starts it.

usage: python -m riptide.workers.worker SLOT WORKERS LISTENER BOARD LIMITS METRICS LOG

This is the one in SLOT of so many WORKERS. LISTENER, BOARD, LIMITS, METRICS and LOG are inherited
descriptors: the shared port, the memory that all workers and the supervisor share, and the socket
of the process that keeps the log. Standard input is the lifeline to the supervisor.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import NamedTuple

from riptide.endpoints.metrics_targets import MetricsTargets
from riptide.errors import FaultError, StartError
from riptide.process.http_conventions import use_stable_names
from riptide.process.log_records import configure_logs
from riptide.server.listener import listen
from riptide.server.serving import serve
from riptide.server.tls import tls_of
from riptide.service import make_service
from riptide.settings.settings import load_settings
from riptide.workers.board import Board
from riptide.workers.lifeline import START_FAILED, Lifeline
from riptide.workers.log_socket import path_of
from riptide.workers.metrics_memory import MetricsMemory, WorkerMetrics
from riptide.workers.shared_limits import SharedLimits

FAILED = 1


class Inherited(NamedTuple):
    """How many workers there are, and descriptors of what they share."""

    workers: int
    listener: int
    board: int
    limits: int
    metrics: int
    log: int


def main(slot: int, inherited: Inherited) -> int:
    """Serve on the shared listener until a signal, and return the exit code."""
    # A terminal may stop background processes that write to it (``stty tostop``), and each worker
    # is one, because it is in a process group of its own.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    board = Board(inherited.board)
    lifeline = Lifeline(lambda: board.beat(slot))
    shared = socket.socket(fileno=inherited.listener)
    # It is so for all workers. Python has to know, because a duplicate is made as it is thought to
    # be, and would be made blocking for all.
    shared.setblocking(False)
    try:
        _serve(slot, shared, inherited, board, lifeline)
    except StartError as error:
        lifeline.explain(str(error))
        return START_FAILED
    except FaultError as error:
        sys.stderr.write(f"riptide: {error}\n")
        return FAILED
    return 0


def _serve(
    slot: int, listener: socket.socket, inherited: Inherited, board: Board, lifeline: Lifeline
) -> None:
    """Serve with the log, limits and metrics of all workers, and with metrics of its own."""
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    use_stable_names()
    limits = SharedLimits(inherited.limits, inherited.workers, settings.max_connections)
    snapshots = WorkerMetrics(MetricsMemory(inherited.metrics), slot)
    metrics = listen(settings.host, 0)
    port = metrics.getsockname()[1]

    def started() -> None:
        lifeline.follow(asyncio.get_running_loop())
        # Prometheus learns of the worker only once the worker can answer.
        board.show_port(slot, port)

    # A worker that answers is alive, whether or not the others know it yet.
    targets = MetricsTargets(lambda: board.ports() | {slot: port})
    log_path = None if settings.log == "jetstream" else path_of(inherited.log)
    service = make_service(settings, targets, snapshots, limits.share_of(slot), log_path)
    serve(
        service,
        listener,
        metrics,
        tls_of(settings),
        on_started=started,
        turns=limits.turns_of(slot),
    )


if __name__ == "__main__":
    slot, *descriptors = map(int, sys.argv[1:])
    sys.exit(main(slot, Inherited(*descriptors)))
