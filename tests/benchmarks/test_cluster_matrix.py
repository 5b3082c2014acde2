"""What the matrix of faults in a cluster does to its parts, and that it would notice what is wrong.

The matrix itself runs in tests/integration/cluster/test_partitions.py.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import nats
import pytest
from nats.errors import TimeoutError as NatsTimeoutError

from benchmarks.endurance.account import Ledger
from benchmarks.endurance.cluster.cases import CASES
from benchmarks.endurance.cluster.load import Load, TimedAccount
from benchmarks.endurance.cluster.lossy_way import LossyWay
from benchmarks.service import HOST

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_of_all_answers_only_acknowledgements_are_lost_on_a_lossy_way(nats_url: str) -> None:
    port = int(nats_url.rpartition(":")[2])
    async with LossyWay((HOST, port), random.Random(1), HOST) as way:
        client = await nats.connect(way.url)
        stream = client.jetstream()
        await stream.add_stream(name="lossy", subjects=["lossy"])
        assert (await stream.publish("lossy", b"heard of")).seq == 1
        way.share = 1.0
        with pytest.raises(NatsTimeoutError):
            await stream.publish("lossy", b"not heard of", timeout=0.5)
        assert way.lost == 1
        assert (await stream.stream_info("lossy")).state.messages == 2
        way.share = 0.0
        assert (await stream.publish("lossy", b"heard of again")).seq == 3
        await stream.delete_stream("lossy")
        await client.close()


def _account(*ids: str) -> TimedAccount:
    account = TimedAccount(Ledger())
    account.take({"event": "opened", "id": "aaaaaaaa-0"})
    for number, message_id in enumerate(ids):
        account.take({"id": message_id, "data": ["publisher", number, ""]})
    return account


def _wrong(first: TimedAccount, second: TimedAccount) -> dict[str, float]:
    load = Load([1], "load")
    load.following.followers[0].account = first
    load.following.followers[1].account = second
    return {figure.name: figure.median for figure in load._figures_of_resets()}


@pytest.mark.parametrize(
    ("make", "twice"),
    [
        (lambda: (_account("aaaaaaaa-1"), _account("aaaaaaaa-1")), 0),
        (lambda: (_account("aaaaaaaa-1"), _account("bbbbbbbb-2", "aaaaaaaa-1")), 1),
    ],
)
def test_an_id_of_two_messages_is_noticed(
    make: Callable[[], tuple[TimedAccount, TimedAccount]], twice: int
) -> None:
    assert _wrong(*make())["ids given twice, to different messages"] == twice


def test_consumers_that_were_told_to_begin_anew_are_told_from_others() -> None:
    told, not_told = _account(), _account()
    told.take({"event": "reset", "id": "bbbbbbbb-0"})
    assert _wrong(told, not_told)["consumers that were not told to begin anew"] == 17


def test_streams_that_ended_are_told_from_those_that_were_let_go() -> None:
    load = Load([1, 2, 3], "load")
    load.streams_before = list(range(18))
    load.streams_at_the_end = [*range(17), None]
    last = load.following.followers[-1].place
    assert (load.ended(), load.ended(besides={last})) == (1, 0)


def test_each_fault_has_a_row_of_its_own() -> None:
    assert len(CASES) == 24
    for name, case in CASES.items():
        assert name == case.name
        assert "|" not in name.replace("\\|", "")
