"""The data directory, for the commands that work on the files of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.cli.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path


def data_directory() -> Path:
    """Return the directory of the service's log, from the settings that the service reads.

    Raises:
        CommandError: the service keeps its log in memory, or in servers of NATS.
        InvalidSettingsError: a setting has a value that is not allowed.

    """
    from riptide.settings.settings import load_settings  # noqa: PLC0415  # loads pydantic

    settings = load_settings()
    if settings.log == "memory":
        raise CommandError(
            "RIPTIDE_LOG is memory, which is gone with the process: there is no log on the disk"
        )
    if settings.log == "jetstream":
        raise CommandError(
            "RIPTIDE_LOG is jetstream: the log is a stream of NATS, which has tools of its own "
            f"(nats stream backup {settings.jetstream_stream} ...)"
        )
    return settings.data_dir
