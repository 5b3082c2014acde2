from __future__ import annotations

import pytest

from riptide.admission.bucket_times import BucketTimes, OwnTimes, SharedTimes
from riptide.workers.shared_limits import make_shared_limits


@pytest.mark.parametrize("shared", [False, True])
def test_a_bucket_is_full_later_the_more_is_taken_from_it(*, shared: bool) -> None:
    share = make_shared_limits(2, 10).share_of(1)
    times: BucketTimes = SharedTimes("kind ", share) if shared else OwnTimes()
    assert times.get("a") is None
    times.add("a", 10.0, 2.0)
    times.add("a", 11.0, 3.0)
    assert times.get("a") == 15
    times.add("a", 100.0, 1.0)
    assert times.get("a") == 101
    assert times.get("b") is None


def test_workers_share_a_bucket_and_limits_of_different_kinds_do_not() -> None:
    limits = make_shared_limits(2, 10)
    one, other = limits.share_of(0), limits.share_of(1)
    SharedTimes("publish ", one).add("a", 10.0, 2.0)
    assert SharedTimes("publish ", other).get("a") == 12
    assert SharedTimes("accept ", other).get("a") is None
