from __future__ import annotations

import pytest

from riptide.admission import share as module
from riptide.admission.admission import Admission, Limits
from riptide.admission.client import Client
from riptide.admission.count_table import BUCKET
from riptide.admission.share import Share
from riptide.admission.time_table import TimeTable
from riptide.errors import AddressLimitError, IdentityLimitError, ProblemError, PublishRateError
from riptide.workers.shared_limits import make_shared_limits

WORKERS = 3
ALICE, BOB = Client("192.0.2.1", "alice"), Client("192.0.2.1", "bob")


def _fill(workers: list[Admission], client: Client) -> list[Admission]:
    """Enter by one worker after the other, until all refuse; return who let the client in."""
    entered = []
    for number in range(1000):
        worker = workers[number % len(workers)]
        try:
            worker.enter(client)
        except ProblemError:
            break
        entered.append(worker)
    return entered


def _workers(limits: Limits) -> list[Admission]:
    shared = make_shared_limits(WORKERS, 1000)
    return [Admission(limits, shared.share_of(slot)) for slot in range(WORKERS)]


def test_the_parts_of_a_limit_are_the_whole() -> None:
    shares = [make_shared_limits(WORKERS, 1000).share_of(slot) for slot in range(WORKERS)]
    for limit in (1, 2, 3, 1000, 10_000):
        parts = [share.part_of(limit) for share in shares]
        assert sum(parts) == limit
        assert max(parts) - min(parts) <= 1


def test_a_client_gets_as_many_places_in_all_workers_as_in_one() -> None:
    for limits in (Limits(connections_per_address=7), Limits(connections_per_identity=7)):
        workers = _workers(limits)
        entered = _fill(workers, ALICE)
        assert len(entered) == 7
        entered[0].leave(ALICE)
        assert _fill(workers[1:], ALICE) == [workers[1]]


def test_the_limits_of_addresses_and_of_identities_are_counted_apart() -> None:
    workers = _workers(Limits(connections_per_address=3, connections_per_identity=2))
    assert len(_fill(workers, ALICE)) == 2
    assert len(_fill(workers, BOB)) == 1
    for client, error in ((ALICE, IdentityLimitError), (BOB, AddressLimitError)):
        for worker in workers:
            with pytest.raises(error):
                worker.enter(client)


def test_rates_are_those_of_all_workers_together() -> None:
    assert len(_fill(_workers(Limits(accept_rate=0.005)), ALICE)) == 1
    assert len(_fill(_workers(Limits(accept_rate_per_address=0.005)), ALICE)) == 1
    workers = _workers(Limits(publish_rate=2))
    for number in range(10):
        workers[number % WORKERS].begin_publish(ALICE)
    for worker in workers:
        with pytest.raises(PublishRateError) as caught:
            worker.begin_publish(ALICE)
        assert caught.value.retry_after == 1
        worker.begin_publish(BOB)


def test_a_table_without_room_is_logged_once_and_each_worker_counts_for_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    streams = memoryview(bytearray(16)).cast("Q")
    counts = [memoryview(bytearray(8 * BUCKET)).cast("Q") for _ in range(2)]
    times = TimeTable(memoryview(bytearray(1024)))
    one, other = (
        Admission(Limits(connections_per_address=2), Share(slot, streams, counts, times, bytes(16)))
        for slot in range(2)
    )
    for number in range(BUCKET + 2):
        one.enter(Client(f"192.0.2.{number}"))
    beyond = Client(f"192.0.2.{BUCKET + 1}")
    assert len(_fill([one], beyond)) == 1
    assert len(_fill([other], beyond)) == 2
    records = [record for record in caplog.records if record.name == module.logger.name]
    assert len(records) == 1
    assert "RIPTIDE_MAX_CONNECTIONS" in records[0].getMessage()
