from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from riptide.server.turns import LAST
from riptide.workers.shared_limits import (
    MOST_STREAMS,
    SharedLimits,
    layout,
    make_shared_limits,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOTS, STREAMS = 3, 1000
# A worker that takes places until it is killed.
TAKING = textwrap.dedent(
    """
    import itertools, sys
    from riptide.admission.places import SharedPlaces
    from riptide.workers.shared_limits import SharedLimits
    limits = SharedLimits(int(sys.argv[1]), 3, 1000)
    share = limits.share_of(1)
    places = SharedPlaces(10_000_000, "address ", share)
    for number in itertools.count(1):
        share.show_streams(number)
        places.take(f"192.0.2.{number % 500}")
        if number == 1000:
            limits.turns_of(1).show(number)
            print("taken", flush=True)
    """
)


@pytest.fixture
def limits() -> Iterator[SharedLimits]:
    limits = make_shared_limits(SLOTS, STREAMS)
    yield limits
    os.close(limits.descriptor)


def test_a_worker_that_is_killed_in_the_middle_of_it_leaves_nothing_taken(
    limits: SharedLimits,
) -> None:
    other = limits.share_of(0)
    other.show_streams(5)
    other.show_places("address 192.0.2.1", 2)
    command = [sys.executable, "-c", TAKING, str(limits.descriptor)]
    with subprocess.Popen(command, pass_fds=[limits.descriptor], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        worker.kill()
    assert worker.returncode == -signal.SIGKILL
    assert other.streams() >= 1005
    assert other.places_elsewhere("address 192.0.2.1") >= 2
    limits.clear(1)
    assert other.streams() == 5
    assert limits.share_of(2).streams() == 5
    assert not any(other.places_elsewhere(f"address 192.0.2.{number}") for number in range(500))
    assert limits.share_of(1).places_elsewhere("address 192.0.2.1") == 2
    assert not limits.turns_of(0).is_over()


def test_a_slot_can_be_cleared_where_the_system_takes_no_pages_back(
    limits: SharedLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("mmap.MADV_REMOVE")
    limits.share_of(2).show_places("a", 7)
    limits.share_of(1).show_places("a", 1)
    limits.clear(2)
    assert limits.share_of(0).places_elsewhere("a") == 1


def test_a_child_that_is_no_worker_has_no_slot_to_clear(limits: SharedLimits) -> None:
    limits.share_of(2).show_streams(7)
    limits.clear(SLOTS)
    assert limits.share_of(0).streams() == 7


def test_the_parts_of_the_memory_do_not_touch(limits: SharedLimits) -> None:
    for slot in range(SLOTS):
        share = limits.share_of(slot)
        share.show_streams(100 + slot)
        limits.turns_of(slot).show(LAST, last=True)
        for number in range(STREAMS):
            share.show_places(f"address {number}", 1 + slot)
            share.show_places(f"identity {number}", 1 + slot)
            share.times.add(share.hashed(f"publish {number}"), 50.0, 1.0 + slot)
    # The sums of what the three have shown.
    share = limits.share_of(0)
    assert share.streams() == 303
    for number in range(STREAMS):
        assert share.places_elsewhere(f"address {number}") == 5
        assert share.places_elsewhere(f"identity {number}") == 5
        assert share.times.get(share.hashed(f"publish {number}")) == 56


def test_memory_is_taken_only_where_something_is_counted() -> None:
    limits = make_shared_limits(64, MOST_STREAMS)
    assert layout(64, 10**12) == layout(64, MOST_STREAMS)
    limits.share_of(63).show_places("a", 1)
    assert os.fstat(limits.descriptor).st_blocks * 512 <= 64 * 1024
    os.close(limits.descriptor)
