"""``riptide publish``: publishes the lines of a file or a pipe as messages."""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, cast

import click

from riptide.cli.errors import CommandError, Interrupted
from riptide.cli.parameters import TEXT, Seconds
from riptide.cli.service import open_client, token_option, url_option
from riptide.cli.terminal import interruptible, say

if TYPE_CHECKING:
    from riptide.cli.batches import Batcher, LineBatch
    from riptide.cli.lines import Readable
    from riptide.cli.progress import Progress
    from riptide.cli.publisher import Publisher

# How long a line of slow input waits for others to fill its batch.
LINGER_S = 0.1
ANSWER_TIMEOUT_S = 60.0
NDJSON_SUFFIXES = (".ndjson", ".jsonl")

EXAMPLES = """\b
Examples:
  riptide publish logs access.log
  riptide publish events events.ndjson
  tail -f access.log | riptide publish logs
  curl -s https://example.com/feed | riptide publish --format ndjson feed
"""


class InputSource(NamedTuple):
    """Where the lines come from.

    ``size`` is in bytes, and known of regular files only; ``typed`` says that the input is a
    terminal.
    """

    stream: Readable
    size: int | None
    typed: bool


@click.command(epilog=EXAMPLES)
@click.argument("topic", type=TEXT)
@click.argument("file", default="-")
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "lines", "ndjson"]),
    default="auto",
    show_default=True,
    help="lines: each line is a message, a JSON string. ndjson: each line is a JSON value, "
    "published as it is; blank lines are ignored. auto: ndjson for a FILE named *.ndjson or "
    "*.jsonl, otherwise lines.",
)
@click.option(
    "--encoding",
    type=TEXT,
    default="utf-8",
    show_default=True,
    help="Encoding of the input, like latin-1.",
)
@click.option(
    "--crlf",
    is_flag=True,
    help="Leave out the carriage return before each line feed, as in files made on Windows.",
)
@click.option(
    "--skip",
    type=click.IntRange(min=0),
    default=0,
    metavar="LINES",
    help="Begin after this many lines of the input.",
)
@click.option(
    "--retry-for",
    type=Seconds(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long to try again while the service cannot be reached or is busy.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something goes wrong.")
@token_option
@url_option
def publish(  # noqa: PLR0913  # one parameter an option
    *,
    topic: str,
    file: str,
    form: str,
    encoding: str,
    crlf: bool,
    skip: int,
    retry_for: float,
    quiet: bool,
    token: str | None,
    url: str,
) -> None:
    """Publish the lines of FILE to TOPIC ("-", the default, is standard input).

    Lines end at a line feed and nowhere else; a carriage return before it (unless --crlf is given),
    empty lines and any other character are published as they are. Only a byte order mark at the
    beginning of an input in UTF-8 is left out. Messages keep the order of the lines. Lines of a
    slow input are sent within a tenth of a second, those of a fast one in large batches.

    No line is sent twice on a guess: if the connection is lost before the service has
    acknowledged a batch, publish stops, says which lines were published for certain, and with
    which --skip to continue.
    """
    from riptide.cli.batches import Batcher, line_encoder  # noqa: PLC0415  # as in open_client
    from riptide.cli.progress import Progress  # noqa: PLC0415  # --help has no progress to show
    from riptide.cli.publisher import Publisher  # noqa: PLC0415  # --help publishes nothing
    from riptide.cli.retrying import attempts  # noqa: PLC0415  # --help tries nothing

    as_text = form == "lines" or (form == "auto" and not file.endswith(NDJSON_SUFFIXES))
    encoder = line_encoder(encoding, as_text=as_text)
    batcher = Batcher(encoder, encoding=encoding, skip=skip, crlf=crlf)
    with ExitStack() as stack:
        source = _open(file, stack)
        stack.enter_context(interruptible())
        client = stack.enter_context(open_client(ANSWER_TIMEOUT_S, token, url))
        progress = stack.enter_context(
            Progress(size=source.size, shown=not (quiet or source.typed))
        )
        publisher = Publisher(
            client,
            url,
            topic,
            lambda: attempts(retry_for, lambda error: progress.note(f"{error}; trying again")),
        )
        publisher.through = skip
        try:
            _run(source.stream, batcher, publisher, progress)
        except CommandError as error:
            raise CommandError(f"{error}; {_account(publisher)}") from None
        except Interrupted:
            raise Interrupted(f"interrupted; {_account(publisher)}") from None
    if not quiet:
        last = f" (last id {publisher.last_id})" if publisher.last_id else ""
        say(f"published {_messages(publisher.acknowledged)} to {topic}{last}")


def _run(stream: Readable, batcher: Batcher, publisher: Publisher, progress: Progress) -> None:
    """Publish the whole input: in full batches, or what has come within ``LINGER_S``."""
    from riptide.cli.lines import END, BackgroundReader  # noqa: PLC0415  # as in open_client

    def send(batch: LineBatch) -> None:
        before = publisher.acknowledged
        publisher.publish(batch)
        if publisher.body_limit:
            batcher.max_bytes = min(batcher.max_bytes, publisher.body_limit)
        progress.advance(
            input_bytes=batch.input_bytes, message_count=publisher.acknowledged - before
        )

    reader = BackgroundReader(stream)
    deadline: float | None = None
    while (chunk := reader.read(deadline and max(0.0, deadline - time.monotonic()))) != END:
        for batch in batcher.flush() if chunk is None else batcher.feed(chunk):
            send(batch)
            deadline = None
        if batcher.pending and deadline is None:
            deadline = time.monotonic() + LINGER_S
    for batch in batcher.finish():
        send(batch)


def _open(file: str, stack: ExitStack) -> InputSource:
    try:
        if file == "-":
            # The raw stream returns what has come; the buffered one waits for a full buffer.
            buffered = sys.stdin.buffer
            raw = cast("Readable", getattr(buffered, "raw", buffered))
            return InputSource(raw, None, typed=sys.stdin.isatty())
        stream = stack.enter_context(open(file, "rb", buffering=0))  # noqa: PTH123, SIM115  # unbuffered
        status = os.fstat(stream.fileno())
    except (OSError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or "standard input is closed"
        raise CommandError(f"cannot read {file}: {reason}") from None
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    return InputSource(stream, size, typed=False)


def _account(publisher: Publisher) -> str:
    """Say what was published for certain, and how to continue."""
    account = f"{_messages(publisher.acknowledged)} acknowledged"
    unknown, through = publisher.in_flight, publisher.through
    if unknown is None and not publisher.acknowledged:
        return "nothing was published"
    if unknown is None:
        return f"{account}, continue with --skip {through}"
    first, last = unknown.first_line, unknown.last_line
    one = first == last
    lines = f"line {first}" if one else f"lines {first} to {last}"
    them = "it" if one else "them"
    return (
        f"{account}, {lines} may or may not be published: continue with --skip {through} to "
        f"publish {them} (again) or --skip {last} to leave {them} out"
    )


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
