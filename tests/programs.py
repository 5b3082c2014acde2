"""Programs of the system that tests drive: found, or the test is skipped with the reason."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str) -> str:
    """Return the path of a program.

    Without it the test is skipped, or fails where ``RIPTIDE_TEST_SKIPS=forbidden`` says that
    everything has been installed (as in continuous integration).
    """
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"{program} is not installed: run scripts/install-system as root"
    if os.environ.get("RIPTIDE_TEST_SKIPS") == "forbidden":
        pytest.fail(reason)
    pytest.skip(reason)
