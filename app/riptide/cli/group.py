"""The ``riptide`` command: runs a subcommand, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

import click

from riptide.cli.errors import CommandError, Interrupted, OutputClosed
from riptide.cli.terminal import abandon_stdout, say
from riptide.process import standard_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    "backup",
    "check-engine",
    "health",
    "migrate",
    "publish",
    "restore",
    "serve",
    "tail",
    "token",
    "topics",
    "verify",
)
FAILURE, USAGE, INTERRUPTED = 1, 2, 130


class LazyGroup(click.Group):
    """Imports a subcommand's module when the subcommand is used.

    The module has the name of the subcommand, with _ for -.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands' names."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the subcommand, or None if there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"riptide.cli.{name}"), name)
        assert isinstance(command, click.Command)  # noqa: S101  # an invariant of this package
        return command


EXAMPLES = """\b
Examples:
  riptide serve                              start the service on port 8080
  tail -f access.log | riptide publish logs  publish each line as it is written
  riptide tail logs                          print each message as it comes
  riptide topics                             print which topics there are
  riptide token --subscribe logs             make a token, for a service that asks for one
"""


@click.group(
    cls=LazyGroup,
    epilog=EXAMPLES,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="riptide-streaming", message="riptide %(version)s")
def riptide() -> None:
    """Stream messages over NDJSON, Server-Sent Events and WebSocket.

    publish, tail and topics talk to the service at --url (or RIPTIDE_URL), http://localhost:8080
    if neither is given; backup, restore and verify work on its files, in RIPTIDE_DATA_DIR; migrate
    moves these into the servers of NATS at RIPTIDE_JETSTREAM_URLS, and check-engine looks at those;
    health asks the service whose settings are in the environment.
    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` by default) and return its exit code.

    A failure is reported in one line on standard error.
    """
    standard_streams.open_closed()
    # OpenTelemetry prints a stack trace for a context that it does not know. It has no context but
    # its default one.
    os.environ.pop("OTEL_PYTHON_CONTEXT", None)
    try:
        code = riptide.main(arguments, prog_name="riptide", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "riptide"
        say(f"{error.format_message().rstrip('.')}; see {path} --help")
        return USAGE
    except Interrupted as interrupt:
        say(str(interrupt))
        return INTERRUPTED
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OutputClosed:
        abandon_stdout()
        return 0
    except Exception as error:
        if not _is_for_the_user(error):
            raise
        say(str(error))
        return FAILURE
    return code if isinstance(code, int) else 0


def _is_for_the_user(error: Exception) -> bool:
    """Return whether the text of an error is one line that says what to do."""
    if isinstance(error, click.ClickException | CommandError):
        return True
    # Loaded only now: the service's errors name labels of metrics, so they load OpenTelemetry.
    from riptide.errors import RiptideError  # noqa: PLC0415  # as above

    return isinstance(error, RiptideError)
