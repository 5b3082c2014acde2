from __future__ import annotations

import os
import resource
import tempfile

import pytest

from riptide.errors import StartError
from riptide.workers.shared_memory import make_shared_memory


def test_no_directory_has_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = [make_shared_memory(100)]
    # Elsewhere than on Linux, the file has lost its name at once.
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", None)
    descriptors.append(make_shared_memory(100))
    for descriptor in descriptors:
        assert os.fstat(descriptor).st_nlink == 0
        assert os.pread(descriptor, 200, 0) == bytes(100)
        os.close(descriptor)


def test_a_system_that_gives_no_memory_is_told_in_one_line() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(StartError, match="cannot share memory among workers"):
            make_shared_memory(100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
