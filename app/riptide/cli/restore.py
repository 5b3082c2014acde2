"""``riptide restore``: makes a backup the log again."""

from __future__ import annotations

from pathlib import Path

import click

from riptide.cli.data_directory import data_directory
from riptide.cli.errors import Interrupted
from riptide.cli.terminal import interruptible, say

EXAMPLES = """\b
Examples:
  RIPTIDE_DATA_DIR=/var/lib/riptide riptide restore /backups/riptide-2026-01-01.db
  RIPTIDE_DATA_DIR=/var/lib/riptide riptide restore --replace /backups/riptide-2026-01-01.db
"""


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--replace", is_flag=True, help="Delete the log in RIPTIDE_DATA_DIR, if there is one."
)
def restore(file: Path, *, replace: bool) -> None:
    """Make FILE, which riptide backup has made, the log of RIPTIDE_DATA_DIR.

    The service must not be running. FILE is checked first and stays where it is. A log that
    RIPTIDE_DATA_DIR has already is kept, and nothing restored, unless --replace is given.

    Consumers whose last message is in the backup continue after it. Consumers that saw later
    messages are told so (reset) and begin with the oldest message of the backup.
    """
    from riptide.storage.backup import restore as bring_back  # noqa: PLC0415  # --help opens nothing

    directory = data_directory()
    try:
        with interruptible():
            bring_back(file, directory, replace=replace)
    except Interrupted:
        raise Interrupted(f"interrupted: {file} was not restored") from None
    say(f"{file} is the log of {directory} now: start the service")
