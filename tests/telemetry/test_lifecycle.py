from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.labels import CloseReason, ErrorType, Source, StreamProtocol
from riptide_telemetry.lifecycle import Lifecycle
from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager

if TYPE_CHECKING:
    from collections.abc import Callable

VERBS: dict[str, Callable[..., Any]] = dict(
    inspect.getmembers(
        Lifecycle,
        # item_sent and item_dropped only call items_sent and items_dropped.
        lambda member: (
            inspect.isfunction(member)
            and member.__name__ not in {"__init__", "item_sent", "item_dropped"}
        ),
    )
)


def test_there_are_verbs() -> None:
    assert len(VERBS) > 10


@pytest.mark.parametrize("verb", VERBS)
def test_the_manager_records_every_verb_in_the_same_words(verb: str) -> None:
    recorded = getattr(StreamLifecycleManager, verb)
    assert recorded is not VERBS[verb]
    assert inspect.signature(recorded) == inspect.signature(VERBS[verb])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_docstring(verb: str) -> None:
    assert inspect.getdoc(VERBS[verb])


def test_telemetry_switched_off_takes_every_call_and_keeps_nothing() -> None:
    off = Lifecycle()
    off.connection_established("c", StreamProtocol.SSE)
    off.stream_started("c", "r", None)
    off.items_sent("c", MessageBatch(1, 10, [0]), Source.LIVE)
    off.stream_error("c", ErrorType.INTERNAL, recoverable=False)
    off.connection_closed("c", CloseReason.COMPLETED)
    assert vars(off) == {}
