"""What an endpoint exposes, in a form in which two can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.utils import floatToGoString

from tests import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

# Which process and which Collector: the only labels that may differ.
IDENTITY = {"job", "instance"}
TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PARSERS: dict[str, Callable[[str], Iterable[Metric]]] = {
    TEXT: text_string_to_metric_families,
    OPENMETRICS: openmetrics.text_string_to_metric_families,
}

Labels = frozenset[tuple[str, str]]


class Family(NamedTuple):
    """One metric: its type, and each sample by its name and labels; buckets by their bounds."""

    type: str
    help: str
    samples: dict[tuple[str, Labels], float]
    exemplars: dict[tuple[str, Labels], tuple[str, float]]


def read_families(url: str, accept: str = OPENMETRICS, only: str = "") -> dict[str, Family]:
    """Return the families of an endpoint by the names that Prometheus knows them by.

    ``only`` is one of these names, for those who look often and at nothing else.
    """
    answer = plain.get(url, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(accept.partition(";")[0])
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: _family(family, accept)
        for family in PARSERS[accept](_lines_of(only, answer.text))
    }


def _lines_of(family: str, text: str) -> str:
    if not family:
        return text
    lines = [line for line in text.splitlines() if family.removesuffix("_total") in line]
    return "\n".join([*lines, "# EOF", ""])


def _family(family: Metric, accept: str) -> Family:
    samples = {(each.name, _labels(each.labels, accept)): each for each in family.samples}
    return Family(
        family.type,
        family.documentation,
        {key: sample.value for key, sample in samples.items()},
        {
            key: (sample.exemplar.labels["trace_id"], sample.exemplar.value)
            for key, sample in samples.items()
            if sample.exemplar is not None
        },
    )


def _labels(labels: dict[str, str], accept: str) -> Labels:
    kept = {key: value for key, value in labels.items() if key not in IDENTITY}
    # OpenMetrics has one spelling for a bound, and Prometheus asks for OpenMetrics; the text
    # format has two, and the Collector's is the other.
    if accept == TEXT and "le" in kept:
        kept["le"] = as_bound(kept["le"])
    return frozenset(kept.items())


def as_bound(text: str) -> str:
    """Return a bucket's bound as OpenMetrics spells it."""
    return str(floatToGoString(float(text)))  # type: ignore[no-untyped-call]  # has no types
