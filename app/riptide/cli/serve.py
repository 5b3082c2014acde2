"""``riptide serve``."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from riptide.settings.reference import Entry

EPILOG = """\b
Examples:
  riptide serve
  RIPTIDE_PORT=9000 RIPTIDE_LOG=memory riptide serve
  RIPTIDE_DATA_DIR=/var/lib/riptide RIPTIDE_LOG_LEVEL=warning riptide serve
  OTEL_METRICS_EXPORTER=otlp OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317 riptide serve
"""


class _CommandWithSettings(click.Command):
    """Lists the settings under the help, from the one place where they are defined."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from riptide.settings.reference import reference  # noqa: PLC0415  # only this help needs them

        super().format_epilog(ctx, formatter)
        for title, entries in reference().items():
            with formatter.section(f"{title} (environment variables)"):
                formatter.write_dl(
                    (
                        entry.variable,
                        f"{entry.meaning}: {entry.allowed} [default: {_default(entry)}]",
                    )
                    for entry in entries
                )


def _default(entry: Entry) -> str:
    units = f", {entry.in_units}" if entry.in_units else ""
    return f"{entry.default or 'none'}{units}"


@click.command(cls=_CommandWithSettings, epilog=EPILOG)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    envvar="RIPTIDE_WORKERS",
    help="Processes that share the port (RIPTIDE_WORKERS).  [default: 1]",
)
def serve(workers: int | None) -> None:
    """Start the service, until SIGINT or SIGTERM.

    The first signal drains: open streams get their last word, within RIPTIDE_DRAIN_SECONDS.
    The second one ends the process at once.
    """
    from riptide.access.exposure import check_exposure  # noqa: PLC0415  # --help opens nothing
    from riptide.main import create_app  # noqa: PLC0415  # loads Starlette and OpenTelemetry
    from riptide.process.log_records import configure_logs  # noqa: PLC0415  # --help does not load the service
    from riptide.server.serving import address_of, listen  # noqa: PLC0415  # loads uvicorn
    from riptide.server.serving import serve as run  # noqa: PLC0415  # loads uvicorn, as above
    from riptide.server.tls import tls_of  # noqa: PLC0415  # loads ssl
    from riptide.settings.settings import load_settings, unknown_variables  # noqa: PLC0415  # loads pydantic
    from riptide.workers.supervisor import supervise  # noqa: PLC0415  # only several workers need it

    settings = load_settings()
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})
    configure_logs(settings.log_level, settings.log_format)
    for warning in unknown_variables():
        click.echo(f"riptide: {warning}", err=True)
    if settings.workers > 1:
        supervise(settings)
        return
    app = create_app(settings)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        check_exposure(settings, listener.getsockname()[0])
        tls = tls_of(settings)
        metrics = None
        if settings.metrics_port is not None:
            metrics = stack.enter_context(listen(settings.host, settings.metrics_port))

        def report() -> None:
            logger = logging.getLogger("riptide.server")
            if metrics is not None:
                logger.info("metrics and health on %s", address_of(metrics, tls=tls is not None))
            logger.info("serving on %s", address_of(listener, tls=tls is not None))

        run(app, listener, metrics, tls=tls, on_started=report)
