"""The data directory, for the commands that work on the files of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.cli.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path


def data_directory() -> Path:
    """Return where the service has its log, by the same settings as the service.

    Raises:
        CommandError: it keeps none on the disk.
        InvalidSettingsError: a setting has a value that is not allowed.

    """
    from riptide.settings.settings import load_settings  # noqa: PLC0415  # loads pydantic

    settings = load_settings()
    if settings.log == "memory":
        raise CommandError(
            "RIPTIDE_LOG is memory, and that is gone with the process: there is no log on the disk"
        )
    return settings.data_dir
