"""An event loop for a command, which SIGINT and SIGTERM end in an orderly way."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, TypeVar

from riptide.cli.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run something to its end; a signal cancels it, so that it can close what it has open.

    Raises:
        Interrupted: a signal has ended it.

    """
    return asyncio.run(_until_a_signal(work))


async def _until_a_signal(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(work)
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise Interrupted from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
