"""``riptide verify``: says whether a log, or a backup of one, is whole."""

from __future__ import annotations

from pathlib import Path

import click

from riptide.cli.data_directory import data_directory
from riptide.cli.errors import Interrupted
from riptide.cli.progress import Progress
from riptide.cli.terminal import interruptible, say, write_stdout

DAMAGED, NOT_CHECKED = 1, 2
EXAMPLES = """\b
Examples:
  RIPTIDE_DATA_DIR=/var/lib/riptide riptide verify
  riptide verify /backups/riptide-2026-01-01.db
"""


@click.command(epilog=EXAMPLES)
@click.argument("file", required=False, type=click.Path(path_type=Path))
def verify(file: Path | None) -> int:
    """Check that each message of a log is as it was written.

    FILE is a backup, or the riptide.db of a service; without it, the log in RIPTIDE_DATA_DIR is
    checked. The service may be running. Nothing is changed.

    What is damaged is printed, a line each. Exit codes: 0 all is whole, 1 something is damaged,
    2 wrong usage, or the file cannot be checked.
    """
    import sqlite3  # noqa: PLC0415  # --help opens nothing

    from riptide.storage.verification import find_damage, opened  # noqa: PLC0415  # as above

    database = file or data_directory() / "riptide.db"
    if not database.is_file():
        raise click.UsageError(f"there is no file {database}: name a log, or set RIPTIDE_DATA_DIR")
    message_count = finding_count = 0
    try:
        with (
            interruptible(),
            Progress(size=None, shown=True) as progress,
            opened(database) as connection,
        ):

            def advance(count: int) -> None:
                nonlocal message_count
                message_count += count
                progress.advance(input_bytes=0, message_count=count)

            for finding in find_damage(connection, None, advance, at_rest=file is not None):
                finding_count += 1
                write_stdout(f"{finding.text}\n".encode())
    except Interrupted:
        raise Interrupted("interrupted: not all was checked") from None
    except (sqlite3.Error, OSError) as error:
        say(f"{database} cannot be checked ({error}): see that this user may read it")
        return NOT_CHECKED
    if finding_count:
        say(f"{database} is damaged: {finding_count} findings, {message_count:,} whole messages")
        return DAMAGED
    say(f"{database} is whole: {message_count:,} messages")
    return 0
