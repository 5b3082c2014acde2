"""What dashboards and documents say of the Collector's own metrics is what it has."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from tests import plain
from tests.collector.pushing import pushing
from tests.repository.sources import ROOT, repository_files
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.collector.collector import Collector
    from tests.collector.conftest import MakeCollector
    from tests.conftest import StartService

FOLDERS = {"alert-rules", "dashboards", "docs", "operations", "otel-collector"}
NAME = re.compile(r"\botelcol_[a-z_]*[a-z]")


def _named() -> set[str]:
    files = [ROOT / file for file in repository_files() if file.parts[0] in FOLDERS]
    texts = [file.read_text() for file in files if file.suffix != ".png"]
    return {name for text in texts for name in NAME.findall(text)}


def _shown(collector: Collector) -> set[str]:
    page = plain.get(collector.own_metrics).text
    return set(re.findall(r"^(otelcol_\w+?)(?:_total)?[{ ]", page, re.MULTILINE))


def test_every_metric_of_the_collector_that_is_named_anywhere_exists(
    make_collector: MakeCollector, start_service: StartService
) -> None:
    backend = make_collector("agent", traces_to="[file]", logs_to="[file]")
    backend.start()

    def to(exporter: str) -> dict[str, str]:
        return {f"{signal}_to": f"[{exporter}]" for signal in ("metrics", "traces", "logs")}

    agents = [
        make_collector(
            "agent", otlp_endpoint=backend.grpc.removeprefix("http://"), **to("otlp_grpc")
        ),
        # Where nobody takes OTLP, which is an answer for good.
        make_collector(
            "agent",
            otlp_http_endpoint=backend.prometheus.removesuffix("/metrics"),
            **to("otlp_http"),
        ),
        make_collector("agent", memory_limit_mib=2, memory_spike_mib=1),
    ]
    for agent in agents:
        service = start_service(**pushing(agent.start()))
        service.publish("own-metrics", "a span")
    named = _named()
    assert named

    def missing() -> set[str]:
        return named - set[str]().union(*map(_shown, agents))

    with contextlib.suppress(AssertionError):
        wait_until(lambda: not missing(), "all that is named")
    assert missing() == set()
