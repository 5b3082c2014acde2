"""``riptide tail``: prints the messages of a topic as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from riptide.cli.errors import Interrupted
from riptide.cli.parameters import TEXT, Seconds
from riptide.cli.service import open_client, token_option, url_option
from riptide.cli.terminal import interruptible, say, stderr_is_terminal, write_stdout

if TYPE_CHECKING:
    from collections.abc import Callable

    Record = tuple[bytes, dict[str, Any]]

EXAMPLES = """\b
Examples:
  riptide tail logs                              what is published from now on
  riptide tail logs --after earliest             what was published before as well
  riptide tail logs --after earliest --until latest > logs.txt
  riptide tail events --output record | jq .time
"""


@click.command(epilog=EXAMPLES)
@click.argument("topic", type=TEXT)
@click.option(
    "--protocol",
    type=click.Choice(["sse", "ndjson", "websocket"]),
    default="sse",
    show_default=True,
    help="How messages are carried; they are the same on all three.",
)
@click.option(
    "--after",
    type=TEXT,
    default="latest",
    show_default=True,
    metavar="latest|earliest|ID",
    help="Where to begin: with new messages, with the oldest one kept, or after a message.",
)
@click.option(
    "--until",
    type=click.Choice(["latest"]),
    help="Stop at the message that is the newest when the stream begins.",
)
@click.option(
    "--output",
    type=click.Choice(["auto", "data", "record"]),
    default="auto",
    show_default=True,
    help="data: each message as JSON, as it was published. auto: the same, but strings as plain "
    "text. record: the whole record, with id and time.",
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="Stop after this many messages."
)
@click.option(
    "--retry-for",
    type=Seconds(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long to try while no stream can be opened; inf never gives up.",
)
@click.option("--no-reconnect", is_flag=True, help="Fail as soon as the connection is lost.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Report all control records of the stream on standard error, heartbeats too.",
)
@token_option
@url_option
def tail(  # noqa: PLR0913  # one parameter an option
    *,
    topic: str,
    protocol: str,
    after: str,
    until: str | None,
    output: str,
    count: int | None,
    retry_for: float,
    no_reconnect: bool,
    verbose: bool,
    token: str | None,
    url: str,
) -> None:
    """Print each message of TOPIC on standard output as it comes, one a line.

    When the connection is lost, tail reconnects and goes on after the last message, without
    loss or repetition. What the service could not deliver (gap, dropped, reset) is always
    reported on standard error; on a terminal, openings and reconnections are too.

    tail ends with exit code 0 after --count messages, at --until, or when the reader of its
    output goes away.
    """
    from riptide.cli.follow import Follower, FollowOptions  # noqa: PLC0415  # as in open_client
    from riptide.cli.transports import SILENCE_S  # noqa: PLC0415  # --help opens no stream

    options = FollowOptions(
        url=url,
        topic=topic,
        protocol=protocol,
        after=after,
        until=until,
        retry_for=retry_for,
        reconnect=not no_reconnect,
    )
    talkative = verbose or stderr_is_terminal()
    note: Callable[[str], None] = say if talkative else _say_nothing
    printer = Printer(output, count, verbose=verbose, talkative=talkative)
    with interruptible(), open_client(SILENCE_S, token, url) as client:
        try:
            Follower(client, options, printer, note).run()
        except EnoughError:
            return
        except Interrupted:
            raise Interrupted from None  # without a text: everything that came is printed


class EnoughError(Exception):
    """As many messages were printed as ``--count`` asked for."""


class Printer:
    """Prints the records that arrived together, their messages in one write."""

    def __init__(self, output: str, count: int | None, *, verbose: bool, talkative: bool) -> None:
        from riptide.cli.records import FORMATS, ROUTINE, WARNINGS, describe  # noqa: PLC0415  # as in open_client

        self._format = FORMATS[output]
        self._left = count
        self._describe = describe
        self._quiet = frozenset() if verbose else ROUTINE
        self._loud = WARNINGS
        self._talkative = talkative

    def __call__(self, records: list[Record]) -> None:
        """Print the messages, and report the control records, in their order.

        Raises:
            EnoughError: the last message asked for has been printed.

        """
        lines: list[bytes] = []
        for record, members in records:
            if "event" in members:
                _print(lines)
                self._report(members)
                continue
            lines.append(self._format(record, members))
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    _print(lines)
                    raise EnoughError
        _print(lines)

    def _report(self, control: dict[str, Any]) -> None:
        event = control["event"]
        if event in self._loud or (self._talkative and event not in self._quiet):
            say(self._describe(control))


def _print(lines: list[bytes]) -> None:
    if lines:
        lines.append(b"")
        write_stdout(b"\n".join(lines))
        lines.clear()


def _say_nothing(_text: str) -> None:
    """Take the place of ``say`` where only data and losses are wanted."""
