"""The recording rules are the same rules on either path: nothing in them knows which it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.collector.pushing import pushing
from tests.collector.traffic import SETTINGS, make_traffic
from tests.prometheus import Prometheus
from tests.repository.sources import ROOT
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.collector.conftest import MakeCollector
    from tests.conftest import StartService

FILES = sorted((ROOT / "alert-rules").glob("recording*.y*ml"))
CONFIGURATION = """
global:
  scrape_interval: 500ms
  evaluation_interval: 500ms
rule_files: ["{rules}"]
scrape_configs:
  - job_name: riptide
    honor_labels: true
    static_configs:
      - targets: ["{target}"]
"""

Series = frozenset[tuple[str, str]]


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[Callable[[str, Path], Prometheus]]:
    servers: list[Prometheus] = []

    def start(url: str, rules: Path) -> Prometheus:
        directory = tmp_path / f"prometheus-{len(servers)}"
        directory.mkdir()
        target = url.removeprefix("http://").partition("/")[0]
        configuration = CONFIGURATION.format(rules=rules, target=target)
        servers.append(Prometheus(directory, configuration=configuration))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def _recorded(prometheus: Prometheus) -> set[Series]:
    """Return what the rules have recorded, without saying of which process."""
    return {
        frozenset((key, value) for key, value in labels.items() if key != "instance")
        for labels, _ in prometheus.series('{__name__=~".+:.+"}')
    }


def _names(rules: Path) -> set[str]:
    groups = yaml.safe_load(rules.read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"]}


@pytest.mark.parametrize("rules", FILES, ids=lambda file: file.stem)
async def test_the_rules_record_the_same_series_of_what_is_scraped_and_of_what_is_pushed(
    start_service: StartService,
    make_collector: MakeCollector,
    start_prometheus: Callable[[str, Path], Prometheus],
    topic: str,
    rules: Path,
) -> None:
    collector = make_collector("agent").start()
    service = start_service(**SETTINGS, **pushing(collector))
    scraping = start_prometheus(service.url, rules)
    pushed = start_prometheus(collector.prometheus, rules)
    for prometheus in (scraping, pushed):
        prometheus.wait_for_scrape()
    await make_traffic(service, topic)
    names = _names(rules)

    def recorded() -> tuple[set[Series], set[Series]]:
        return _recorded(scraping), _recorded(pushed)

    def all_recorded_and_alike() -> bool:
        ours, theirs = recorded()
        return {dict(series)["__name__"] for series in ours} == names and ours == theirs

    wait_until(all_recorded_and_alike, recorded)
