"""``riptide migrate``: moves a log in SQLite into servers of NATS JetStream."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

import click

from riptide.cli.engine import engine_options, log_records_told
from riptide.cli.errors import CommandError, Interrupted
from riptide.cli.event_loop import run
from riptide.cli.progress import Progress
from riptide.cli.terminal import say

if TYPE_CHECKING:
    from riptide.settings.settings import Settings
    from riptide.storage.jetstream.engine import Engine
    from riptide.storage.jetstream.migration import Moved
    from riptide.storage.jetstream.options import JetStreamOptions
    from riptide.storage.log_at_rest import LogAtRest

EXAMPLES = """\b
Examples:
  RIPTIDE_DATA_DIR=/var/lib/riptide RIPTIDE_JETSTREAM_URLS=nats://n1,nats://n2 riptide migrate
  RIPTIDE_DATA_DIR=/var/lib/riptide RIPTIDE_JETSTREAM_REPLICAS=1 riptide migrate
"""


class _Outcome(NamedTuple):
    topic_count: int
    stored: Moved
    compared: Moved
    damaged_messages: int


@click.command(epilog=EXAMPLES)
def migrate() -> None:
    """Move the log of RIPTIDE_DATA_DIR into the stream of RIPTIDE_JETSTREAM_URLS.

    Messages keep their ids and times, and topics without messages keep their numbers: consumers go
    on, at any instance on the stream, after the last message that they have. The service must not
    be running. The stream is created if there is none, by the same settings as the service's; one
    that is there must have nothing of these topics. At the end all is read back and compared. The
    log in RIPTIDE_DATA_DIR stays as it is.

    If it is interrupted, run it again: it goes on where it ended.
    """
    from riptide.settings.settings import load_settings  # noqa: PLC0415  # loads pydantic
    from riptide.storage.log_at_rest import LogAtRest  # noqa: PLC0415  # --help opens nothing

    settings = load_settings()
    options = engine_options(settings)
    try:
        with log_records_told(), LogAtRest(settings.data_dir) as log:
            outcome = run(_migrate(settings, options, log))
    except Interrupted:
        raise Interrupted(
            "interrupted: not all was moved; run this again, and it goes on where it ended"
        ) from None
    except (sqlite3.Error, OSError) as error:
        raise CommandError(
            f"the log of {settings.data_dir} cannot be read ({error}): see what riptide verify "
            "finds"
        ) from None
    if outcome.damaged_messages:
        say(
            f"{outcome.damaged_messages:,} damaged messages could not be moved: consumers get a "
            "gap in their place"
        )
    say(
        f"the stream {options.stream} has the log of {settings.data_dir}: "
        f"{outcome.topic_count:,} topics, {outcome.compared.messages:,} messages "
        f"({outcome.stored.messages:,} stored now), each compared. Start the service with "
        "RIPTIDE_LOG=jetstream, and not with this directory any more"
    )


async def _migrate(settings: Settings, options: JetStreamOptions, log: LogAtRest) -> _Outcome:
    from riptide.storage.jetstream.engine import connected  # noqa: PLC0415  # an extra

    async with connected(options) as engine:
        return await _move(settings, options, engine, log)


async def _move(
    settings: Settings, options: JetStreamOptions, engine: Engine, log: LogAtRest
) -> _Outcome:
    from riptide.storage.jetstream.migration import Migration  # noqa: PLC0415  # an extra
    from riptide.storage.jetstream.stored_records import StoredRecords  # noqa: PLC0415  # as above
    from riptide.storage.jetstream.stream import find_or_create  # noqa: PLC0415  # as above
    from riptide.storage.jetstream.subjects import Subjects  # noqa: PLC0415  # as above
    from riptide.storage.message_log import retention_of  # noqa: PLC0415  # --help opens nothing

    subjects = Subjects(options.stream)
    await find_or_create(engine, options, subjects, retention_of(settings))
    migration = Migration(log, StoredRecords(engine, subjects), timeout_s=options.append_timeout_s)
    topics = await migration.check()
    size = log.size().payload_bytes or None

    def advance(payload_bytes: int, message_count: int) -> None:
        progress.advance(input_bytes=payload_bytes, message_count=message_count)

    migration.advance = advance
    with Progress(size=size, shown=True) as progress:
        stored = await migration.move(topics)
    damaged_before = log.damaged_messages
    with Progress(size=size, shown=True) as progress:
        compared = await migration.compare(topics)
    # All of them were met now, whatever an earlier run had passed over.
    return _Outcome(len(topics), stored, compared, log.damaged_messages - damaged_before)
