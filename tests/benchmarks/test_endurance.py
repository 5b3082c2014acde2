"""The rough treatment in short, and that those who judge it would notice."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from benchmarks.endurance import churn, damage, faults, restart, storm, workers
from benchmarks.endurance.account import Account, Ledger
from benchmarks.endurance.promises import Promises, Verdict
from benchmarks.endurance.publishing import Publisher
from benchmarks.endurance.wire import FrameRecords, client_frame, records_of
from benchmarks.service import HOST
from riptide.encoding.formats import NDJSON, SSE, WEBSOCKET
from riptide.hub import log_reads
from riptide.storage import sqlite_file, whole_messages
from tests.app.messages import make_messages
from tests.programs import require
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.figures import Result
    from riptide.encoding.formats import Encoding

# In so short a warm-up the heap becomes steady only if the machine has the time to fill it, also
# with the index of the newest messages.
# What was read from the log is kept for consumers that come soon, and given up in the rest.
PLAN = churn.Plan(
    clients=30, seconds=6, warm_up_s=4, warm_up_messages=6_000, rest_s=log_reads.KEPT_S + 2
)
EPOCH = "0" * 8


def _missed_bars(result: Result) -> list[str]:
    return [figure.name for figure in result.figures if figure.verdict == "missed"]


def _value(result: Result, name: str) -> float:
    return next(figure.median for figure in result.figures if figure.name == name)


def test_after_churn_on_all_transports_the_service_holds_what_it_held_before() -> None:
    result = churn.run(PLAN)
    assert _value(result, "visits") > 50
    assert _value(result, "messages seen by consumers") > 100
    # Nor its size: in so short a time the allocator has not come to rest.
    assert set(_missed_bars(result)) <= {"resident, end ÷ beginning"}


def test_after_a_restart_under_load_every_consumer_has_all_messages_once() -> None:
    result = restart.run(restart.Plan(consumers=60, restarts=1, calm_s=0.7, drain_s=1))
    assert _value(result, "resumed") == 60
    assert _value(result, "messages acknowledged") > 0
    assert _missed_bars(result) == []


def test_after_a_storm_every_consumer_has_all_messages_once() -> None:
    result = storm.run(storm.Plan(consumers=90, storms=2, calm_s=0.5))
    assert _value(result, "resumed") >= 180
    assert set(_missed_bars(result)) <= {"until all had resumed"}


def test_workers_and_their_log_are_killed_and_stopped_and_nothing_is_lost() -> None:
    blows = ("worker killed",) * 3 + ("log killed",) * 2 + ("log stopped",)
    result = workers.run(workers.Plan(consumers=150, publishers=30, calm_s=0.3, blows=blows))
    assert _value(result, "messages acknowledged") > 0
    assert _value(result, "resumed") > 0
    assert _missed_bars(result) == []


def test_on_a_bad_disk_nothing_is_lost_and_nothing_comes_that_was_refused() -> None:
    require("cc")
    # A round goes on as soon as the service is not ready.
    plan = faults.Plan(rounds=2, seconds=DEADLINE_S, seed=15, kinds=("writes fail",))
    result = faults.run(plan)
    assert _value(result, "messages acknowledged") > 0
    assert result.parameters["seed"] == 15
    assert _value(result, "writes fail: rounds") == 2
    assert _missed_bars(result) == []


def test_broken_promises_are_noticed() -> None:
    promises = Promises("a")
    promises.acknowledged, promises.refused = [1, 2, 3, 4], [5, 6, 7]
    assert promises.judge([1, 2, 3, 4, 8]) == Verdict(4, 0, 0, 0)
    assert promises.judge([1, 3, 3, 7, 6]) == Verdict(4, 2, 2, 1)


async def test_a_publisher_ends_once_what_is_on_its_way_is_answered() -> None:
    arrived, answer, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'"]')
        arrived.set()
        await answer.wait()
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        answered.set()

    async with await asyncio.start_server(answer_late, HOST, 0) as server:
        publisher = Publisher(server.sockets[0].getsockname()[1], ["a"], "publisher")
        publishing = publisher.publishing(1, 0)
        await publishing.__aenter__()
        await arrived.wait()
        ending = asyncio.create_task(publishing.__aexit__(None, None, None))
        await asyncio.wait([ending], timeout=0.1)
        assert not ending.done()
        answer.set()
        await ending
        await answered.wait()
    assert publisher.acknowledged == [("a", 0)]


def _message(sequence: int, number: int) -> dict[str, object]:
    return {"id": f"{EPOCH}-{sequence}", "time": "", "data": ["publisher", number, "x"]}


def _account(*records: dict[str, object]) -> Account:
    account = Account(Ledger())
    account.take({"event": "opened", "id": f"{EPOCH}-10"})
    for record in records:
        account.take(record)
    return account


def test_an_account_of_what_came_in_order_has_nothing_to_complain_of() -> None:
    account = _account(
        _message(11, 1),
        {"event": "heartbeat", "id": f"{EPOCH}-11"},
        {"event": "dropped", "id": f"{EPOCH}-15", "missed": 4, "reason": "slow_consumer"},
        _message(16, 6),
        {"event": "end", "id": f"{EPOCH}-16", "reason": "draining", "retry": 70},
        {"event": "resumed", "id": f"{EPOCH}-16"},
    )
    assert (account.received, account.missed, account.resumed) == (2, 4, 1)
    assert (account.lost, account.doubled) == (0, 0)
    assert (account.position, account.retry_ms) == (f"{EPOCH}-16", 70)


@pytest.mark.parametrize(
    ("records", "lost", "doubled"),
    [
        ([_message(12, 2)], 1, 0),
        ([_message(11, 1), _message(11, 1)], 0, 1),
        ([_message(11, 1), {"event": "heartbeat", "id": f"{EPOCH}-12"}], 1, 0),
        ([_message(11, 1), {"event": "resumed", "id": f"{EPOCH}-14"}], 3, 0),
    ],
)
def test_an_account_notices_what_nobody_told_of(
    records: list[dict[str, object]], lost: int, doubled: int
) -> None:
    account = _account(*records)
    assert (account.lost, account.doubled) == (lost, doubled)


def test_a_ledger_notices_that_two_consumers_were_told_different_things() -> None:
    ledger = Ledger(room=2)
    for sequence, number in ((1, 1), (2, 2), (1, 1), (2, 3), (3, 3)):
        ledger.compare(sequence, number)
    assert ledger.contradictions == 1
    assert ledger.numbers == {2: 2, 3: 3}


@pytest.mark.parametrize("encoding", [NDJSON, SSE, WEBSOCKET])
def test_records_are_read_however_the_network_cuts_them(encoding: Encoding) -> None:
    chance = random.Random(1)
    sent = b""
    for sequence in range(1, 200, 5):
        sent += encoding.to_wire(encoding.encode(make_messages(sequence, sequence + 4)))
    records = records_of(encoding.protocol)
    found = []
    while sent:
        size = chance.randrange(1, 700)
        found += records.feed(sent[:size])
        sent = sent[size:]
    sequences = [int(orjson.loads(record)["id"].rpartition("-")[2]) for record in found]
    assert sequences == list(range(1, 201))


def test_a_frame_of_a_client_is_masked() -> None:
    frame = client_frame(0x9, b"hello")
    assert frame[:2] == bytes([0x89, 0x85])
    mask, payload = frame[2:6], frame[6:]
    assert bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)) == b"hello"
    assert FrameRecords().feed(b"\x89\x02hi") == []


@pytest.fixture
async def original(tmp_path: Path) -> damage.Original:
    """A log whose messages are half in the database and half in the write-ahead log."""
    original = damage.Original(tmp_path)
    await original.publish(12)
    return original


async def test_nothing_altered_is_delivered_and_nothing_lost_is_unreported(
    original: damage.Original,
) -> None:
    chance = random.Random(7)
    reports: set[str] = set()
    for number in range(102):
        verdict = await damage.judge(original, damage.HARMS[number % len(damage.HARMS)], chance)
        assert (verdict.altered, verdict.unreported) == (0, 0)
        reports |= verdict.reports
    assert {"a gap in a stream", "an error of the write-ahead log"} <= reports


@pytest.mark.parametrize("blind", ["checked", "report_remains"])
async def test_those_who_judge_images_notice_what_is_altered_or_lost(
    original: damage.Original, monkeypatch: pytest.MonkeyPatch, blind: str
) -> None:
    if blind == "checked":
        monkeypatch.setattr(whole_messages, "checked", _trusting)
        harms = [damage.flip_in_database]
    else:
        monkeypatch.setattr(sqlite_file, "report_remains", lambda *_: 0)
        harms = [damage.flip_in_wal, damage.tear_wal]
    chance = random.Random(7)
    verdicts = [await damage.judge(original, harms[n % len(harms)], chance) for n in range(20)]
    assert sum(verdict.altered + verdict.unreported for verdict in verdicts) > 0


def _trusting(
    _topic_id: int, sequence: int, row: Sequence[Any]
) -> whole_messages.WholeMessage | None:
    accepted_at, payload, trace, _ = row
    if payload is None:
        return None
    return whole_messages.WholeMessage(
        sequence, accepted_at, payload, "" if trace is None else trace.decode("latin-1")
    )


def test_damage_is_judged_by_one_command() -> None:
    result = damage.run(damage.Plan(images=6, commits=4))
    assert _missed_bars(result) == []
