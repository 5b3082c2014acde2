from __future__ import annotations

import asyncio
import ctypes
import resource
from pathlib import Path

import pytest

from riptide.process import allocator
from tests.waiting import eventually

MEBIBYTE = 1024 * 1024
glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library has no malloc_trim"
)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _leave_holes() -> list[bytes]:
    """Take 64 MiB and free nearly all of it; what is kept is spread over the heap, to its end."""
    return [bytes(16 * 1024) for _ in range(4096)][::64]


@glibc
def test_what_was_freed_between_what_is_kept_goes_back_to_the_system() -> None:
    kept = _leave_holes()
    before = _resident()
    allocator.give_back()
    assert before - _resident() > 48 * MEBIBYTE
    assert len(kept) == 64


@glibc
async def test_it_goes_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "INTERVAL_S", 0.01)
    kept = _leave_holes()
    before = _resident()
    task = asyncio.create_task(allocator.give_back_regularly())
    await eventually(lambda: before - _resident() > 48 * MEBIBYTE)
    task.cancel()
    assert len(kept) == 64


async def test_a_system_without_another_thread_is_said_and_is_no_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_function: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(allocator, "INTERVAL_S", 0.01)
    monkeypatch.setattr(asyncio, "to_thread", fail)
    task = asyncio.create_task(allocator.give_back_regularly())
    await eventually(lambda: len(caplog.records) > 1)
    assert not task.done()
    assert "can't start new thread" in caplog.text
    task.cancel()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_malloc_trim", None)
    allocator.give_back()
