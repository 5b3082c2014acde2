"""What the queries of rules, dashboards, runbooks and documents speak of, and whether it exists.

A vocabulary says which series there are, which labels they have, and which values those may have
(None: any). `of_catalog` is what the service promises, `of_rules` what recording rules add, and
`of_prometheus` what a server really has; ``|`` joins them. `unknown_words` lists everything in a
query that a vocabulary lacks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import promql_parser
import yaml
from promql_parser import AggregateExpr, BinaryExpr, Call, MatchOp, StringLiteral, VectorSelector

import riptide_telemetry
from riptide_telemetry.catalog import CATALOG, Kind
from tests import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from promql_parser import Expr, Matcher

Values = frozenset[str] | None
Vocabulary = dict[str, dict[str, Values]]

# Whatever the scrape configuration calls them.
OF_THE_SCRAPE = ("job", "instance")
NEGATIVE = (MatchOp.NotEqual, MatchOp.NotRe)
REGULAR = (MatchOp.Re, MatchOp.NotRe)
FENCED = re.compile(r"^```promql\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Not a part of a path, of a file's name or of a module's.
METRIC_NAME = re.compile(
    r"(?<![\w:.])(?:[a-z_]+:)?riptide_[a-z0-9_]*[a-z0-9](?::[a-z0-9_]+)?(?![\w*/]|\.\w)"
)

# What Prometheus makes by itself, and what every process tells beside the catalog.
OF_ITSELF: Vocabulary = {
    "up": dict.fromkeys(OF_THE_SCRAPE),
    "process_start_time_seconds": dict.fromkeys(OF_THE_SCRAPE),
    "ALERTS": dict.fromkeys(("alertname", "alertstate", "severity", *OF_THE_SCRAPE)),
}


def of_catalog() -> Vocabulary:
    """Return every series that the catalog promises."""
    vocabulary: Vocabulary = {}
    for metric in CATALOG:
        labels: dict[str, Values] = dict.fromkeys(OF_THE_SCRAPE)
        for label in metric.labels:
            labels[label.key] = None if label.values is None else frozenset(map(str, label.values))
        name = metric.prometheus_name
        if metric.kind is Kind.HISTOGRAM:
            bounds = frozenset({*map(str, metric.bounds), "+Inf"})
            vocabulary[f"{name}_bucket"] = labels | {"le": bounds}
            vocabulary[f"{name}_sum"] = vocabulary[f"{name}_count"] = labels
        else:
            vocabulary[name] = labels
    # Its value is the version, of which there is no list.
    vocabulary["riptide_build_info"]["version"] = None
    return vocabulary


def of_rules(*files: Path) -> Vocabulary:
    """Return the series that the recording rules in these files add."""
    vocabulary: Vocabulary = {}
    for file in files:
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    kept = _grouping_labels(promql_parser.parse(rule["expr"]))
                    vocabulary[rule["record"]] = dict.fromkeys(kept | set(rule.get("labels", {})))
    return vocabulary


def of_prometheus(url: str) -> Vocabulary:
    """Return every series that a Prometheus server has, those that its rules record included."""
    answer = plain.get(f"{url}/api/v1/series", params={"match[]": '{__name__!=""}'})
    vocabulary: Vocabulary = {}
    for series in answer.raise_for_status().json()["data"]:
        labels = vocabulary.setdefault(series.pop("__name__"), {})
        for label, value in series.items():
            labels[label] = (labels.get(label) or frozenset()) | {value}
    for labels in vocabulary.values():
        labels.update({label: None for label in OF_THE_SCRAPE if label in labels})
    return vocabulary


def unknown_words(expression: str, vocabulary: Vocabulary) -> list[str]:
    """Return what a query names that the vocabulary lacks; nothing of a query that is right.

    These are metrics, labels in selectors and their values (of a regular expression each
    alternative has to match one), and labels that are grouped, joined or kept by.

    Raises:
        ValueError: it is not PromQL.

    """
    unknown: list[str] = []
    for part in _parts(promql_parser.parse(expression)):
        if isinstance(part, VectorSelector):
            unknown += _unknown_in_selector(part, vocabulary)
        else:
            known = _made_labels(part).union(
                *(vocabulary.get(name, {}) for name in _selected_names(part, vocabulary))
            )
            unknown += [f"label {label}" for label in sorted(_grouping_of(part) - known)]
    return unknown


def selected_metrics(expression: str) -> set[str]:
    """Return the names of the metrics that a query selects by their name.

    Raises:
        ValueError: it is not PromQL.

    """
    parts = _parts(promql_parser.parse(expression))
    return {part.name for part in parts if isinstance(part, VectorSelector) and part.name}


def queries(markdown: str) -> list[str]:
    """Return the queries in the ``promql`` fences of a document; empty lines separate them."""
    return [
        query.strip()
        for fence in FENCED.findall(markdown)
        for query in re.split(r"\n\s*\n", fence)
        if query.strip()
    ]


def mentioned_metrics(text: str) -> set[str]:
    """Return the names in a text that look like ours, wherever they stand."""
    return set(METRIC_NAME.findall(text)) - {riptide_telemetry.__name__}


def _unknown_in_selector(selector: VectorSelector, vocabulary: Vocabulary) -> list[str]:
    names = _selected_names(selector, vocabulary)
    if not names or not names <= vocabulary.keys():
        return [f"metric {selector.name or selector.prettify()}"]
    unknown = []
    for matcher in _matchers(selector):
        if matcher.name == "__name__":
            continue
        sets = [
            vocabulary[name][matcher.name] for name in names if matcher.name in vocabulary[name]
        ]
        if not sets:
            unknown.append(f"label {matcher.name} of {selector.name}")
        elif None not in sets:
            values = frozenset[str]().union(*(values for values in sets if values is not None))
            unknown += [
                f"value {value} of label {matcher.name} of {selector.name}"
                for value in _unknown_values(matcher, values)
            ]
    return unknown


def _unknown_values(matcher: Matcher, values: frozenset[str]) -> list[str]:
    if matcher.op in REGULAR:
        alternatives = matcher.value.split("|")
        return [
            alternative
            for alternative in alternatives
            if alternative and not any(re.fullmatch(alternative, value) for value in values)
        ]
    return [] if matcher.value in {"", *values} else [matcher.value]


def _selected_names(expression: Expr, vocabulary: Vocabulary) -> set[str]:
    """Return the metrics below an expression, those included that a matcher of names finds."""
    names = set()
    for part in _parts(expression):
        if isinstance(part, VectorSelector):
            if part.name:
                names.add(part.name)
                continue
            patterns = [
                re.escape(matcher.value) if matcher.op == MatchOp.Equal else matcher.value
                for matcher in _matchers(part)
                if matcher.name == "__name__" and matcher.op not in NEGATIVE
            ]
            names |= {
                name
                for name in vocabulary
                if patterns and all(re.fullmatch(pattern, name) for pattern in patterns)
            }
    return names


def _matchers(selector: VectorSelector) -> Iterable[Matcher]:
    alternatives = selector.matchers.or_matchers
    return [*selector.matchers.matchers, *(m for matchers in alternatives for m in matchers)]


def _grouping_of(part: Expr) -> set[str]:
    """Return the labels that an aggregation or a join names."""
    if isinstance(part, AggregateExpr):
        return set(part.modifier.labels) if part.modifier else set()
    if isinstance(part, BinaryExpr) and part.modifier:
        matching = part.modifier.matching
        return {*(matching.labels if matching else ()), *(part.modifier.group_labels or ())}
    return set()


def _grouping_labels(expression: Expr) -> set[str]:
    return set[str]().union(*map(_grouping_of, _parts(expression)))


def _made_labels(expression: Expr) -> set[str]:
    """Return the labels that functions below an expression make, and the one that all have."""
    made = {"__name__"}
    for part in _parts(expression):
        if isinstance(part, Call) and part.func.name in {"label_replace", "label_join"}:
            name = part.args[1]
            made |= {name.val} if isinstance(name, StringLiteral) else set()
        elif isinstance(part, AggregateExpr) and isinstance(part.param, StringLiteral):
            made.add(part.param.val)
    return made


def _parts(expression: Expr) -> list[Expr]:
    """Return an expression and all that it consists of, outermost first."""
    parts: list[Expr] = []
    collect: Callable[[Expr], None] = parts.append
    promql_parser.walk(expression, collect)
    return parts
