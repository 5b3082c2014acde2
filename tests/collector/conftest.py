"""Fixtures for the tests with a real Collector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.collector.collector import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class MakeCollector(Protocol):
    """Makes a Collector that is not running yet (``traces_to=…`` for OTELCOL_TRACES_TO)."""

    def __call__(self, configuration: str, **settings: Any) -> Collector: ...


@pytest.fixture
def make_collector(tmp_path: Path) -> Iterator[MakeCollector]:
    collectors: list[Collector] = []

    def make(configuration: str, **settings: Any) -> Collector:
        directory = tmp_path / f"collector-{len(collectors)}"
        directory.mkdir()
        collectors.append(Collector(directory, configuration, settings))
        return collectors[-1]

    yield make
    for collector in collectors:
        if collector.process is not None and collector.process.poll() is None:
            collector.kill()
