"""The tables of growth at tiny sizes, and that those who measure would notice."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import orjson
import pytest
from click.testing import CliRunner

from benchmarks.growth.__main__ import TABLES, main
from benchmarks.growth.publishers import Answers, Publishers
from benchmarks.growth.seeding import KEEPS_ALL, MESSAGE, Contents, seed, topic_name
from riptide.storage.sqlite import SqliteLog
from tests.programs import require

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service import Service


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_printed_and_appended_to_a_file(name: str, tmp_path: Path) -> None:
    if name == "written":
        require("cc")
    records = tmp_path / "records"
    # This version beside itself.
    arguments = [name, "--quick", "--json", str(records), "--baseline", sys.executable]
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 0, outcome.output
    entry = orjson.loads(records.read_bytes())
    assert entry["benchmark"] == name
    assert f"{entry['command']}\n" in outcome.output
    assert entry["figures"]
    assert not entry["left_out"]
    for figure in entry["figures"]:
        assert figure["low"] <= figure["median"] <= figure["high"]
    assert any("bar" in figure for figure in entry["figures"])


def test_a_table_is_left_out_with_the_reason_where_it_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = CliRunner().invoke(main, ["written", "--quick"])
    assert "Left out: bytes written: a faulty disk needs a C compiler" in outcome.output


async def test_a_seeded_log_has_what_was_asked_for(tmp_path: Path) -> None:
    accepted_at = time.time_ns() - 10**9
    await asyncio.to_thread(seed, tmp_path, Contents(3, 5_001, accepted_at))
    log = SqliteLog(tmp_path, KEEPS_ALL)
    await log.open()
    for topic in range(3):
        assert (await log.bounds(topic_name(topic))).head == 5_001
        (last,) = await log.read(topic_name(topic), 5_000)
        assert (last.payload, last.accepted_at) == (MESSAGE, accepted_at)
    assert len(await log.names("", 10)) == 3
    await log.close()


def test_answers_know_their_longest_gap_and_their_percentiles() -> None:
    moments = [float(n) for n in range(100)] + [104.0]
    answers = Answers(moments, [0.001] * 98 + [0.5] * 3)
    assert answers.longest_gap_ms() == 5_000
    assert answers.percentile_ms(50) == 1
    assert answers.percentile_ms(99) == 500
    assert answers.per_second() == 100 / 104


def test_a_stall_counts_for_the_messages_that_would_have_come_in_it() -> None:
    answers = Answers([], [0.001] * 900 + [0.1])
    assert answers.percentile_ms(99) == 1
    assert answers.unhurried_percentile_ms(99, 0.001) == pytest.approx(90, abs=10)


def test_publishers_publish_in_turn_and_one_that_is_refused_ends_the_measurement(
    shared_service: Service, topic: str
) -> None:
    with Publishers(int(shared_service.settings["PORT"]), 3) as publishers:
        answers = publishers.publish(
            lambda n: f"{topic}-{n % 2}", b'"x"', until=lambda count: count >= 10
        )
        # Those that wait when the condition is met are answered.
        assert 10 <= len(answers.waits) == len(answers.moments) <= 12
        with pytest.raises(RuntimeError, match="refused"):
            publishers.publish(lambda _: topic, b"no JSON", until=lambda _: True)
