"""``riptide backup``: copies the log, also while the service is running."""

from __future__ import annotations

from pathlib import Path

import click

from riptide.cli.data_directory import data_directory
from riptide.cli.errors import Interrupted
from riptide.cli.terminal import interruptible, say

EXAMPLES = """\b
Examples:
  RIPTIDE_DATA_DIR=/var/lib/riptide riptide backup /backups/riptide-$(date +%F).db
  RIPTIDE_DATA_DIR=/var/lib/riptide/worker-0 riptide backup worker-0.db
"""


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy the log of RIPTIDE_DATA_DIR to FILE, whether or not the service is running.

    The copy has every message that was acknowledged before the backup began. FILE must not exist;
    it appears once the copy is checked and on the disk, and only this user may read it. Each of
    several workers has a log of its own (in worker-0, worker-1, ...): make a backup of each.

    riptide restore makes FILE the log again.
    """
    from riptide.storage.backup import back_up  # noqa: PLC0415  # --help opens nothing

    directory = data_directory()
    try:
        with interruptible():
            size = back_up(directory, file)
    except Interrupted:
        raise Interrupted(f"interrupted: there is no {file}") from None
    say(f"the log of {directory} is in {file} ({size:,} bytes)")
