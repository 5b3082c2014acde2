"""Whichever way the metrics go, they arrive as what the service itself shows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import pytest

from riptide_telemetry import catalog
from tests.collector.exposition import OPENMETRICS, TEXT, Family, read_families
from tests.collector.pushing import pushing
from tests.collector.traffic import SETTINGS, make_traffic
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.collector.collector import Collector
    from tests.collector.conftest import MakeCollector
    from tests.conftest import StartService
    from tests.service import Service

# What moves by itself between two looks; name, type, labels and buckets are compared all the same.
MOVING = {
    catalog.EVENT_LOOP_LAG.prometheus_name,
    catalog.EXPORT_LAST_SUCCESS.prometheus_name,
    # Looking is a request that is being answered.
    "http_server_active_requests",
}
# The same instruments for the plain endpoints, of OpenTelemetry's own making.
HTTP = "http_server_"
CATALOG = {definition.prometheus_name for definition in catalog.CATALOG}


class Pair(NamedTuple):
    """A service, and the Collector that has its metrics."""

    service: Service
    collector: Collector


@pytest.fixture(params=["grpc", "http/protobuf", "by way of a gateway", "scrape"])
def pair(
    request: pytest.FixtureRequest, start_service: StartService, make_collector: MakeCollector
) -> Pair:
    if request.param == "scrape":
        service = start_service(**SETTINGS)
        collector = make_collector(
            "scrape", riptide_url=service.url, scrape_interval="500ms", scrape_timeout="400ms"
        )
        return Pair(service, collector.start())
    if request.param == "by way of a gateway":
        gateway = make_collector("gateway").start()
        agent = make_collector(
            "agent",
            metrics_to="[otlp_grpc]",
            otlp_endpoint=gateway.grpc.removeprefix("http://"),
        ).start()
        return Pair(start_service(**SETTINGS, **pushing(agent)), gateway)
    collector = make_collector("agent").start()
    return Pair(start_service(**SETTINGS, **pushing(collector, request.param)), collector)


def differences(here: dict[str, Family], there: dict[str, Family]) -> Iterator[str]:
    """Yield what two expositions do not agree on, for metrics of ours."""
    names = CATALOG | {name for name in here | there if name.startswith(HTTP)}
    for name in sorted(names):
        if name not in here or name not in there:
            yield f"{name} is not at the {'service' if name in there else 'Collector'}"
            continue
        ours, theirs = here[name], there[name]
        if ours.type != theirs.type:
            yield f"{name} is a {ours.type}, and a {theirs.type} at the Collector"
        if ours.help != theirs.help:
            yield f"{name} is described as {ours.help!r}, and {theirs.help!r}"
        for sample in ours.samples.keys() | theirs.samples.keys():
            # Looking at /metrics is a request of its own.
            if ("http_route", "/metrics") in sample[1]:
                continue
            value, other = ours.samples.get(sample), theirs.samples.get(sample)
            if value is None or other is None or (value != other and name not in MOVING):
                yield f"{sample[0]}{dict(sample[1])} is {value}, and {other} at the Collector"


def test_a_comparison_finds_whatever_is_not_the_same() -> None:
    (definition, *_) = catalog.CATALOG
    name = definition.prometheus_name
    key = (name, frozenset({("protocol", "sse")}))
    ours = dict.fromkeys(CATALOG, Family("gauge", "what it is", {key: 1.0}, {}))
    assert list(differences(ours, ours)) == []
    theirs = {
        "is not at the Collector": None,
        "is a gauge, and a counter": Family("counter", "what it is", {key: 1.0}, {}),
        "is described as": Family("gauge", "another thing", {key: 1.0}, {}),
        "is 1.0, and 2.0": Family("gauge", "what it is", {key: 2.0}, {}),
        "is 1.0, and None": Family("gauge", "what it is", {}, {}),
    }
    for words, family in theirs.items():
        there = {**ours, name: family} if family else {k: v for k, v in ours.items() if k != name}
        (difference,) = differences(ours, there)
        assert words in difference


async def test_every_metric_is_the_same_at_the_collector_as_at_the_service(
    pair: Pair, topic: str
) -> None:
    await make_traffic(pair.service, topic)
    shown = read_families(f"{pair.service.url}/metrics")
    fed = {name for name in CATALOG if any(shown[name].samples.values())}
    # Most of what agrees is not 0. Exports are not seen to be fed where they do not take part.
    assert len(fed) > len(CATALOG) / 2, CATALOG - fed
    for accept in (OPENMETRICS, TEXT):
        found = ["not compared yet"]

        def same(accept: str = accept, found: list[str] = found) -> bool:
            here = read_families(f"{pair.service.url}/metrics", accept)
            there = read_families(pair.collector.prometheus, accept)
            found[:] = differences(here, there)
            return not found

        with contextlib.suppress(AssertionError):
            wait_until(same, "the same metrics")
        assert not found, "\n".join([accept, *found])
