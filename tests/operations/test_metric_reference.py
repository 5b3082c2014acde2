"""docs/metrics.md: complete, and its examples are PromQL that means something."""

from __future__ import annotations

from operations.metric_reference import EXAMPLES, FILE, generate
from riptide_telemetry.catalog import CATALOG
from tests.operations.vocabulary import (
    mentioned_metrics,
    of_catalog,
    queries,
    selected_metrics,
    unknown_words,
)


def test_every_metric_has_its_section_with_description_labels_and_bounds() -> None:
    sections = generate()[FILE].split("\n## ")[1:]
    assert [section.partition("\n")[0] for section in sections] == [
        definition.prometheus_name for definition in CATALOG
    ]
    for definition, section in zip(CATALOG, sections, strict=True):
        assert definition.description in section
        for label in definition.labels:
            (line,) = (line for line in section.splitlines() if f"label `{label.key}`" in line)
            assert all(f"`{value}`" in line for value in label.values or ())
        if definition.bounds:
            assert ", ".join(f"{bound:g}" for bound in definition.bounds) in section


def test_every_example_is_about_its_metric_or_what_that_is_made_of() -> None:
    made_of_counters = {"riptide_streaming_delivery_ratio", "riptide_streaming_reconnection_rate"}
    for definition, example in EXAMPLES.items():
        assert unknown_words(example, of_catalog()) == []
        name = definition.prometheus_name
        about = any(metric.startswith(name) for metric in selected_metrics(example))
        assert about != (name in made_of_counters), name


def test_the_examples_stand_in_the_reference() -> None:
    assert queries(generate()[FILE]) == [
        EXAMPLES[definition] for definition in CATALOG if definition in EXAMPLES
    ]


def test_the_reference_names_no_metric_that_there_is_not() -> None:
    assert mentioned_metrics(generate()[FILE]) <= of_catalog().keys() | {
        definition.prometheus_name for definition in CATALOG
    }
