from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from riptide_telemetry.prometheus.process_metrics import ProcessMetrics

if TYPE_CHECKING:
    import pytest


def _text(collector: object) -> str:
    registry = CollectorRegistry()
    registry.register(collector)  # type: ignore[arg-type]  # both kinds are collectors
    return generate_latest(registry).decode()


def _values(text: str) -> dict[str, float]:
    samples = re.findall(r"^(process_\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in samples}


def test_it_shows_what_the_stock_collector_shows() -> None:
    stock, ours = _text(ProcessCollector(registry=None)), _text(ProcessMetrics())
    documented = {line for line in stock.splitlines() if line.startswith("#")}
    assert documented == {line for line in ours.splitlines() if line.startswith("#")}
    for name, value in _values(stock).items():
        tolerance = 0.2 * value if name != "process_start_time_seconds" else 0.02
        assert abs(_values(ours)[name] - value) <= max(1.0, tolerance), name


def test_open_files_are_counted_as_they_come_and_go() -> None:
    before = _values(_text(ProcessMetrics()))["process_open_fds"]
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
    during = _values(_text(ProcessMetrics()))["process_open_fds"]
    for file in opened:
        os.close(file)
    assert during == before + 50
    assert _values(_text(ProcessMetrics()))["process_open_fds"] == before


def test_a_kernel_that_does_not_say_how_many_files_are_open_has_them_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "self"
    (own / "fd").mkdir(parents=True)
    (own / "statm").write_text("10 5 0 0 0 0 0\n")
    (own / "stat").write_text("1 (a) b) S" + " 0" * 18 + " 200 0\n")
    (tmp_path / "stat").write_text("cpu 1\nbtime 1000\n")
    collector = ProcessMetrics(tmp_path)
    for number in range(3):
        (own / "fd" / str(number)).touch()
    monkeypatch.setattr(Path, "stat", lambda _self: os.stat_result([0] * 10))
    values = _values(_text(collector))
    assert values["process_open_fds"] == 3
    assert values["process_start_time_seconds"] == 1000 + 200 / os.sysconf("SC_CLK_TCK")


def test_without_proc_there_is_nothing_and_no_error() -> None:
    assert _text(ProcessMetrics(Path("/nowhere"))) == ""
