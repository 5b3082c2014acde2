from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.programs import require, require_promtool_3

if TYPE_CHECKING:
    from pathlib import Path

Promtool = Callable[..., str]


@pytest.fixture(params=["promtool", "promtool3"])
def promtool(request: pytest.FixtureRequest) -> Promtool:
    """Run a promtool and return what it says: of Prometheus 2, and of 3, which the stack ships."""
    program = require_promtool_3() if request.param == "promtool3" else require(request.param)

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout + done.stderr
        return done.stdout

    return run
