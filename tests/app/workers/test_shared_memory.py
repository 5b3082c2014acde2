from __future__ import annotations

import os
import resource
import tempfile
from typing import TYPE_CHECKING

import pytest

from riptide.errors import StartError
from riptide.workers.shared_memory import make_shared_memory

if TYPE_CHECKING:
    from collections.abc import Callable


def _by_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As elsewhere than on Linux, where the file has lost its name at once."""
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.mark.parametrize("system", [lambda _: None, _by_file], ids=["linux", "elsewhere"])
def test_no_directory_has_the_memory_which_is_zero(
    system: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    system(monkeypatch)
    descriptor = make_shared_memory(10_000)
    status = os.fstat(descriptor)
    assert status.st_nlink == 0
    assert status.st_size == 10_000
    assert status.st_blocks == 0
    assert os.pread(descriptor, 10_000, 0) == bytes(10_000)
    os.close(descriptor)


def test_a_system_that_gives_no_memory_is_told_in_one_line() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(StartError, match="cannot share memory among workers"):
            make_shared_memory(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
