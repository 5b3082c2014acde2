"""The cause that the disk of the log hangs: writes neither succeed nor fail until it is back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from operations.drill.full_disk import DATA_DIRECTORY
from operations.drill.processes import DrillError
from operations.faulty_disk.disk import ANY, HANG, Call, FaultyDisk, FaultyDiskError, build

if TYPE_CHECKING:
    from operations.drill.scenario import Stage


async def hang_the_disk(stage: Stage) -> None:
    """Restart the service on a disk that hangs. Nobody publishes: the service finds it by itself.

    Raises:
        DrillError: there is no C compiler.

    """
    service = stage.service
    try:
        library = await asyncio.to_thread(build, service.directory)
    except FaultyDiskError as error:
        raise DrillError(str(error)) from None
    data, table = service.directory / DATA_DIRECTORY, service.directory / "table"
    disk = FaultyDisk(data, library, table)
    await service.stop()
    await service.start(disk.environment)
    hanging = disk.disturb(ANY, Call.WRITE, Call.SYNC, fault=HANG)
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(hanging.heal)
