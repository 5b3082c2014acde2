from __future__ import annotations

import asyncio
import threading

import pytest

from riptide.errors import ThreadLimitError
from riptide.server.threads import THREADS, closed_without_threads, started_threads

LIMIT = "can't start new thread"


async def test_all_threads_are_there_before_the_first_is_needed_and_gone_at_the_end() -> None:
    before = threading.active_count()
    with started_threads():
        assert threading.active_count() == before + THREADS
        names = await asyncio.gather(
            *(asyncio.to_thread(lambda: threading.current_thread().name) for _ in range(50))
        )
        assert threading.active_count() == before + THREADS
    assert all(name.startswith("riptide-helper") for name in names)
    assert threading.active_count() == before


async def test_another_error_is_passed_on_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="another"), closed_without_threads():
        raise RuntimeError("another")


def test_a_loop_that_cannot_wait_for_threads_is_no_error() -> None:
    with closed_without_threads():
        raise RuntimeError(LIMIT)


def test_a_loop_that_cannot_wait_for_threads_hides_no_error() -> None:
    with pytest.raises(ThreadLimitError), closed_without_threads():
        _fail_and_fail_to_close()


def _fail_and_fail_to_close() -> None:
    try:
        raise ThreadLimitError("too few")
    finally:
        raise RuntimeError(LIMIT)
