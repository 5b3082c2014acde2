"""A service of a drill whose disk and clock can be disturbed while it runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from operations.drill.processes import DrillError
from operations.faulty_disk.disk import FaultyDisk, FaultyDiskError, build

if TYPE_CHECKING:
    from pathlib import Path

    from operations.drill.processes import Service


async def restart_to_disturb(service: Service, directory: Path) -> FaultyDisk:
    """Restart a service on a disk that can fail in a directory; return it.

    Raises:
        DrillError: there is no C compiler.

    """
    try:
        library = await asyncio.to_thread(build, service.directory)
    except FaultyDiskError as error:
        raise DrillError(str(error)) from None
    disk = FaultyDisk(directory, library, service.directory / "table")
    await service.stop()
    await service.start(disk.environment)
    return disk
