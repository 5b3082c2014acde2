from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import BENCHMARKS, CLUSTER, DELIVERY, main
from benchmarks.figures import RATIO, Bar, Figure
from benchmarks.peers import centrifugo
from benchmarks.report import number, table
from tests.programs import require, require_collector, require_nats_server

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {"processor", "cores", "system", "open_files_limit"}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_its_figures_and_appends_them_to_a_file(
    name: str, tmp_path: Path
) -> None:
    if name in DELIVERY:
        for program in ("go", "nginx", "pushpin"):
            require(program)
    if name in {"cores", *CLUSTER}:
        require("go")
    if name in CLUSTER:
        require_nats_server()
    if name == "export":
        require_collector()
    records = tmp_path / "records"
    outcome = CliRunner().invoke(main, [name, "--quick", "--json", str(records)])
    assert outcome.exit_code == 0, outcome.output
    (line,) = records.read_bytes().splitlines()
    entry = orjson.loads(line)
    assert entry["benchmark"] == name
    assert entry["command"].endswith(f"-m benchmarks {name} --quick")
    assert entry["quick"] is True
    assert entry["parameters"]
    assert set(entry["machine"]) == MACHINE
    assert "python" in entry["versions"]
    assert len(entry["load_average"]["before"]) == 3
    assert entry["figures"]
    # Centrifugo is built for no test: it takes minutes.
    assert set(entry["left_out"]) <= ({centrifugo.NAME} if name in CLUSTER else set())
    for figure in entry["figures"]:
        assert figure["low"] <= figure["median"] <= figure["high"]
        for part in figure["name"].split(": "):
            assert part in outcome.output


def test_an_unknown_benchmark_is_refused() -> None:
    outcome = CliRunner().invoke(main, ["speed"])
    assert outcome.exit_code == 2
    assert "'speed' is not one of" in outcome.output


@pytest.mark.parametrize(
    ("bar", "value", "met"),
    [
        (Bar(5), 5, True),
        (Bar(5), 5.1, False),
        (Bar(5, at_least=True), 5, True),
        (Bar(5, at_least=True), 4.9, False),
    ],
)
def test_a_bar_is_met_up_to_its_limit(bar: Bar, value: float, *, met: bool) -> None:
    assert bar.met_by(value) is met


@pytest.mark.parametrize(
    ("samples", "verdict"),
    [
        ([90, 100, 100], "met"),
        ([101, 110, 120], "missed"),
        ([90, 100, 120], "uncertain"),
        ([90, 101, 102], "uncertain"),
        ([90] * 20 + [1_000_000], "met"),
    ],
)
def test_a_figure_is_judged_by_its_median_unless_samples_contradict_it(
    samples: list[float], verdict: str
) -> None:
    assert Figure("cost", "ns", samples, Bar(100)).verdict == verdict


def test_a_figure_is_recorded_with_all_its_samples() -> None:
    assert Figure("cost", "ns", [90, 100, 95], Bar(100)).record() == {
        "name": "cost",
        "unit": "ns",
        "median": 95,
        "low": 90,
        "high": 100,
        "samples": [90, 100, 95],
        "bar": {"at_most": 100, "verdict": "met"},
    }


def test_a_table_says_which_bars_were_missed() -> None:
    assert table(
        [Figure("rate", RATIO, [0.5], Bar(0.98, at_least=True)), Figure("time", "ms", [1, 2, 3])]
    ).splitlines()[2:] == [
        "| rate | 0.500 | 0.500 to 0.500 | ≥ 0.98: missed |",
        "| time | 2.00 ms | 1.00 to 3.00 |  |",
    ]


def test_figures_that_have_a_row_and_a_column_become_a_table_of_medians() -> None:
    figures = [
        Figure("rate", RATIO, [0.5]),
        Figure("nchan: p50", "ms", [1, 2, 3], row="nchan", column="p50"),
        Figure("nchan: p99", "ms", [4], row="nchan", column="p99"),
        Figure("pushpin: p99", "ms", [5], row="pushpin", column="p99"),
    ]
    listed, cells = table(figures).split("\n\n")
    assert listed.splitlines()[2:] == ["| rate | 0.500 | 0.500 to 0.500 |  |"]
    assert cells.splitlines() == [
        "| median | p50, ms | p99, ms |",
        "|---|---|---|",
        "| nchan | 2.00 | 4.00 |",
        "| pushpin |  | 5.00 |",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (1, "1.00"), (99.96, "100"), (145105.4, "145,105"), (-2198, "-2,198")],
)
def test_numbers_have_three_digits_or_their_whole_part(value: float, text: str) -> None:
    assert number(value) == text
