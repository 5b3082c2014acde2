"""``riptide serve``."""

from __future__ import annotations

import click

EPILOG = """\b
Examples:
  riptide serve
  RIPTIDE_PORT=9000 RIPTIDE_LOG=memory riptide serve
  RIPTIDE_DATA_DIR=/var/lib/riptide RIPTIDE_LOG_LEVEL=warning riptide serve
"""


class _CommandWithSettings(click.Command):
    """Lists the settings under the help, from the one place where they are defined."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from app.settings import PREFIX, Settings  # noqa: PLC0415  # only this help needs them

        super().format_epilog(ctx, formatter)
        rows = []
        for name, field in Settings.model_fields.items():
            text = f"{field.title}: {field.description} [default: {field.default}]"
            rows.append((f"{PREFIX}{name}".upper(), text))
        with formatter.section("Settings (environment variables)"):
            formatter.write_dl(rows)


@click.command(cls=_CommandWithSettings, epilog=EPILOG)
def serve() -> None:
    """Start the service, until SIGINT or SIGTERM.

    The first signal drains: open streams get their last word, within RIPTIDE_DRAIN_SECONDS.
    The second one ends the process at once.
    """
    from app.logs import configure_logs  # noqa: PLC0415  # --help does not load the service
    from app.main import create_app  # noqa: PLC0415
    from app.server import serve as run  # noqa: PLC0415
    from app.settings import load_settings, unknown_variables  # noqa: PLC0415

    settings = load_settings()
    configure_logs(settings.log_level)
    for warning in unknown_variables():
        click.echo(f"riptide: {warning}", err=True)
    run(create_app(settings), settings)
