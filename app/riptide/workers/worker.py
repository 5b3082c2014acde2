"""One of several processes that share the service's port; the supervisor starts it.

usage: python -m riptide.workers.worker SLOT LISTENER_FD TARGETS_DIRECTORY

A worker ends as at SIGTERM when its standard input is closed, because the supervisor is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
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

FAILED, START_FAILED = 1, 3


def main(slot: int, listener_fd: int, directory: Path) -> int:
    """Serve on the shared listener, with a log and metrics of its own; return the exit code."""
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    use_stable_names()
    settings = settings.model_copy(update={"data_dir": settings.data_dir / f"worker-{slot}"})
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    targets = MetricsTargets(directory)
    metrics = listen(settings.host, 0)
    try:
        serve(
            make_service(settings, targets),
            socket.socket(fileno=listener_fd),
            metrics,
            tls_of(settings),
            # Prometheus learns of the worker only once the worker can answer.
            on_started=lambda: targets.add(slot, metrics.getsockname()[1]),
        )
    except StartError as error:
        sys.stderr.write(f"riptide: {error}\n")
        return START_FAILED
    except FaultError as error:
        sys.stderr.write(f"riptide: {error}\n")
        return FAILED
    return 0


def _end_with_supervisor() -> None:
    # Unbuffered, because the interpreter's exit fails while a thread holds the lock of a buffer.
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
