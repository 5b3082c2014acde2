"""The cause that the disk of the log hangs: writes neither succeed nor fail until it is back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from operations.drill.disturbed_service import restart_to_disturb
from operations.drill.full_disk import DATA_DIRECTORY
from operations.faulty_disk.disk import ANY, HANG, Call

if TYPE_CHECKING:
    from operations.drill.scenario import Stage


async def hang_the_disk(stage: Stage) -> None:
    """Restart the service on a disk that hangs. Nobody publishes: the service finds it by itself.

    Raises:
        DrillError: there is no C compiler.

    """
    disk = await restart_to_disturb(stage.service, stage.service.directory / DATA_DIRECTORY)
    hanging = disk.disturb(ANY, Call.WRITE, Call.SYNC, fault=HANG)
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(hanging.heal)
