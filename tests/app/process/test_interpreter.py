from __future__ import annotations

import gc
import sys

import pytest

from riptide.process.interpreter import COLLECTOR_THRESHOLDS, SWITCH_INTERVAL_S, tuned_for_streams


def test_the_interpreter_is_tuned_within_and_as_before_after() -> None:
    before = sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()
    with tuned_for_streams():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
        assert gc.get_threshold() == COLLECTOR_THRESHOLDS
        assert gc.get_freeze_count() > 1000
        assert gc.isenabled()
    assert (sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()) == before


def test_a_fault_within_leaves_the_interpreter_as_it_was() -> None:
    before = sys.getswitchinterval(), gc.get_threshold()
    with pytest.raises(RuntimeError), tuned_for_streams():
        raise RuntimeError
    assert (sys.getswitchinterval(), gc.get_threshold()) == before
