from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.process.fault_memory import remember_faults
from riptide.process.faults import Faults
from riptide_telemetry import ServicePart
from tests.app.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path


def test_the_fault_that_ended_a_process_is_counted_once_in_the_next(tmp_path: Path) -> None:
    faults = Faults()
    remember_faults(faults, Recorder(), tmp_path)
    faults.report(ServicePart.LOG_WRITER, LookupError())
    for expected in ([(ServicePart.LOG_WRITER,)], []):
        recorder = Recorder()
        remember_faults(Faults(recorder), recorder, tmp_path)
        assert recorder.of("part_failed", "part") == expected


@pytest.mark.parametrize("content", [b"", b"no part", b"\xff"])
def test_a_file_that_says_nothing_is_no_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "riptide.fault").write_bytes(content)
    recorder = Recorder()
    remember_faults(Faults(recorder), recorder, tmp_path)
    assert recorder.events == []


def test_a_directory_that_is_gone_is_no_second_fault(tmp_path: Path) -> None:
    recorder = Recorder()
    faults = Faults(recorder)
    remember_faults(faults, recorder, tmp_path / "gone")
    faults.report(ServicePart.HEARTBEAT, LookupError())
    assert recorder.of("part_failed", "part") == [(ServicePart.HEARTBEAT,)]
