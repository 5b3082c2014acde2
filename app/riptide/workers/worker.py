"""One of several processes that share the service's port; the supervisor starts it.

usage: python -m riptide.workers.worker SLOT LISTENER BOARD METRICS

LISTENER, BOARD and METRICS are inherited descriptors: the shared port, and the memory that all
workers and the supervisor share. Standard input is the lifeline to the supervisor.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

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
from riptide.workers.metrics_memory import MetricsMemory, WorkerMetrics

FAILED = 1


def main(
    slot: int, listener: int, board_descriptor: int, metrics_descriptor: int, log_path: str
) -> int:
    """Serve on the shared listener until a signal, and return the exit code."""
    # A terminal may stop background processes that write to it (``stty tostop``), and each worker
    # is one, because it is in a process group of its own.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    board = Board(board_descriptor)
    lifeline = Lifeline(lambda: board.beat(slot))
    try:
        shared = WorkerMetrics(MetricsMemory(metrics_descriptor), slot)
        _serve(slot, socket.socket(fileno=listener), board, lifeline, shared, Path(log_path))
    except StartError as error:
        lifeline.explain(str(error))
        return START_FAILED
    except FaultError as error:
        sys.stderr.write(f"riptide: {error}\n")
        return FAILED
    return 0


def _serve(  # noqa: PLR0913, PLR0917  # each is a thing that workers share
    slot: int,
    listener: socket.socket,
    board: Board,
    lifeline: Lifeline,
    shared: WorkerMetrics,
    log_path: Path,
) -> None:
    """Serve with the log and the metrics of all workers, and with metrics of this one's own."""
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    use_stable_names()
    metrics = listen(settings.host, 0)
    port = metrics.getsockname()[1]

    def started() -> None:
        lifeline.follow(asyncio.get_running_loop())
        # Prometheus learns of the worker only once the worker can answer.
        board.show_port(slot, port)

    # A worker that answers is alive, whether or not the others know it yet.
    targets = MetricsTargets(lambda: board.ports() | {slot: port})
    service = make_service(settings, targets, shared, log_path)
    serve(service, listener, metrics, tls_of(settings), on_started=started)


if __name__ == "__main__":
    *numbers, path = sys.argv[1:]
    slot, listener, board, metrics = map(int, numbers)
    sys.exit(main(slot, listener, board, metrics, path))
