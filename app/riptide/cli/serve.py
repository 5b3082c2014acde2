"""``riptide serve``: runs the service, in one process or several workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from riptide.cli.terminal import say

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
    """Lists the settings under the help."""

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
    """Run the service until SIGINT, SIGTERM or SIGHUP.

    The first signal drains: open streams are told where to resume and closed, within
    RIPTIDE_DRAIN_SECONDS. The second signal ends the process at once, unless it is SIGHUP, which a
    terminal that is closed may send twice. Under nohup, SIGHUP is ignored.
    """
    from riptide.process.log_records import configure_logs  # noqa: PLC0415  # --help does not load the service
    from riptide.settings.settings import ignored_variables, load_settings  # noqa: PLC0415  # loads pydantic
    from riptide.workers.single import serve_alone  # noqa: PLC0415  # loads uvicorn, Starlette and OpenTelemetry
    from riptide.workers.supervisor import supervise  # noqa: PLC0415  # as above

    settings = load_settings()
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})
    configure_logs(settings.log_level, settings.log_format)
    for warning in ignored_variables():
        say(warning)
    if settings.workers > 1:
        supervise(settings)
    else:
        serve_alone(settings)
