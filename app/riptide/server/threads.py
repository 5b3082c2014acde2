"""The threads that the running service needs, all started before it serves.

The system may refuse new threads at any time: a limit of processes (``RLIMIT_NPROC``) or of a
container's tasks is shared with others. asyncio starts the threads of ``to_thread`` and of name
look-ups when they are needed first, and one more to end them. So without this, a scrape would fail
and the shutdown would end in a traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from riptide.errors import ThreadLimitError

if TYPE_CHECKING:
    from collections.abc import Iterator

# What may run at the same time: a scrape, readings of keys and their look-ups of names, memory that
# is given back, and the end of the log or of exports.
THREADS: Final = 6


@contextlib.contextmanager
def started_threads() -> Iterator[None]:
    """Let the running loop use threads that have been started, and end them afterwards.

    Their end makes room for the thread with which asyncio ends its part.

    Raises:
        ThreadLimitError: the system does not allow these threads, or those that are started within
            this context.

    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="riptide-helper")
    try:
        _start_all(pool)
        asyncio.get_running_loop().set_default_executor(pool)
        yield
    except RuntimeError as error:
        if not _is_thread_limit(error):
            raise
        raise ThreadLimitError(
            f"the system allows too few threads ({error}): raise the limit of processes of this "
            "user (ulimit -u), or of tasks of the unit or container (TasksMax=, --pids-limit)"
        ) from None
    finally:
        pool.shutdown()


@contextlib.contextmanager
def closed_without_threads() -> Iterator[None]:
    """Let an event loop close though the system allows no thread that would wait for others.

    Those of ``started_threads`` have ended by then. What the loop was closed for is raised.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_thread_limit(error):
            raise
        if error.__context__ is not None:
            raise error.__context__ from None


def _is_thread_limit(error: RuntimeError) -> bool:
    """Return whether an error of Python says that the system allows no more threads."""
    return str(error) == "can't start new thread"


def _start_all(pool: ThreadPoolExecutor) -> None:
    # Each thread waits for all others, so that the pool has to start another one for each task.
    all_there = threading.Event()
    try:
        for _ in range(THREADS):
            pool.submit(all_there.wait)
    finally:
        all_there.set()
