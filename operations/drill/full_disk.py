"""The cause that the disk of the log is full: filled by publishing, and made larger in the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx2
import orjson

from operations.drill.processes import DrillError
from operations.drill.small_disk import small_disk

if TYPE_CHECKING:
    from operations.drill.scenario import Stage

DATA_DIRECTORY: Final = "data"
_DISK_BYTES: Final = 32 * 1024 * 1024
_BATCH_MESSAGES: Final = 20
_BATCH: Final = b"\n".join([orjson.dumps("x" * 10_000)] * _BATCH_MESSAGES)
_PAUSE_S: Final = 0.1
_HEALING_DEADLINE_S: Final = 60


async def fill_the_disk(stage: Stage) -> None:
    """Publish until the log refuses, and go on trying.

    At the end the service is restarted on the full disk, and has to serve all that it has
    acknowledged. Then the disk becomes larger, and the service has to publish again by itself.

    Raises:
        DrillError: this user may not mount a disk, or the service does not do what it should.

    """
    service = stage.service
    await service.stop()
    with small_disk(service.directory / DATA_DIRECTORY, _DISK_BYTES) as disk:
        await service.start()
        async with httpx2.AsyncClient(timeout=30) as client:
            url = service.topic("drill")
            count = 0
            try:
                while True:
                    if await _is_published(client, url):
                        count += _BATCH_MESSAGES
                    else:
                        await asyncio.sleep(_PAUSE_S)
            finally:
                await service.restart()
                await _read_all(client, url, count)
                disk.resize(2 * _DISK_BYTES)
                await asyncio.wait_for(_publish_until_accepted(client, url), _HEALING_DEADLINE_S)
                await _read_all(client, url, count + _BATCH_MESSAGES)


async def _is_published(client: httpx2.AsyncClient, url: str) -> bool:
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await client.post(url, content=_BATCH, headers=headers)
    if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
        return False
    answer.raise_for_status()
    return True


async def _read_all(client: httpx2.AsyncClient, url: str, count: int) -> None:
    answer = await client.get(f"{url}?until=latest")
    messages = [line for line in answer.raise_for_status().text.splitlines() if '"x' in line]
    # The last publish may have been cut off before its answer came.
    if len(messages) < count:
        raise DrillError(f"{len(messages)} messages can be read, and {count} were acknowledged")


async def _publish_until_accepted(client: httpx2.AsyncClient, url: str) -> None:
    while not await _is_published(client, url):  # noqa: ASYNC110  # the service has no event for it
        await asyncio.sleep(_PAUSE_S)
