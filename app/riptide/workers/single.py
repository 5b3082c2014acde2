"""The service in one process, as ``riptide serve`` runs it without ``--workers``."""

from __future__ import annotations

import contextlib
import logging
import signal
from typing import TYPE_CHECKING

from riptide.access.exposure import check_exposure
from riptide.process.http_conventions import use_stable_names
from riptide.server.listener import address_of, listen
from riptide.server.serving import serve
from riptide.server.tls import tls_of
from riptide.service import make_service

if TYPE_CHECKING:
    from riptide.settings.settings import Settings

logger = logging.getLogger("riptide.server")


def serve_alone(settings: Settings) -> None:
    """Serve in this process until a signal ends it.

    Raises:
        StartError: the address cannot be listened on, the data directory, the log in it or a file
            of keys cannot be used, or the service would be open to all.
        FaultError: the process drained because of a fault of its own.

    """
    use_stable_names()
    service = make_service(settings)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        check_exposure(settings, listener.getsockname()[0])
        tls = tls_of(settings)
        metrics = None
        if settings.metrics_port is not None:
            metrics = stack.enter_context(listen(settings.host, settings.metrics_port))

        def report() -> None:
            if metrics is not None:
                logger.info("metrics and health on %s", address_of(metrics, tls=tls is not None))
            logger.info("serving on %s", address_of(listener, tls=tls is not None))

        # The service has no children, but those of the program that became it by ``exec`` are its
        # own, and as process 1 of a container it gets all orphans: the kernel reaps them.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        serve(service, listener, metrics, tls=tls, on_started=report)
