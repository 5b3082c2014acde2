from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.cli.data_directory import data_directory
from riptide.cli.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_that_of_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RIPTIDE_DATA_DIR", str(tmp_path))
    assert data_directory() == tmp_path


def test_a_log_in_memory_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIPTIDE_LOG", "memory")
    with pytest.raises(CommandError, match="there is no log on the disk"):
        data_directory()
