"""A lifecycle that remembers what it was told, in order."""

from __future__ import annotations

import copy
import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from riptide_telemetry import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide_telemetry import CloseReason, DropReason


@dataclass(frozen=True)
class Event:
    """One use of a verb; its arguments by name, defaults included."""

    verb: str
    arguments: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Return an argument, or the field of that name of a value among the arguments."""
        if name in self.arguments:
            return self.arguments[name]
        (value,) = (
            getattr(value, name) for value in self.arguments.values() if _has_field(value, name)
        )
        return value


def _has_field(value: Any, name: str) -> bool:
    return any(
        name in inspect.get_annotations(cls) or name in cls.__dict__.get("__slots__", ())
        for cls in type(value).__mro__
    )


class Recorder(Lifecycle):
    """A ``Lifecycle`` for tests of its callers: names and order, no metrics.

    Each verb of ``Lifecycle`` is recorded as it was used, and then does what it does there.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def lifecycle(self) -> Lifecycle:
        """The recorder, as what the service takes."""
        return self

    def names(self) -> list[str]:
        """Return which verbs were used, in order."""
        return [event.verb for event in self.events]

    def of(self, verb: str, *names: str) -> list[tuple[Any, ...]]:
        """Return the named arguments of every use of a verb."""
        assert hasattr(Lifecycle, verb), verb
        return [tuple(event[name] for name in names) for event in self.events if event.verb == verb]

    @property
    def sent(self) -> int:
        """How many messages were reported as sent."""
        one_by_one: int = sum(count for (count,) in self.of("items_sent", "count"))
        fanned_out: int = sum(
            count * len(written)
            for count, written in self.of("items_fanned_out", "count", "written_ns")
        )
        return one_by_one + fanned_out

    @property
    def dropped(self) -> dict[DropReason, int]:
        """How many messages were reported as dropped, by reason."""
        drops: dict[DropReason, int] = {}
        for reason, count in self.of("items_dropped", "reason", "count"):
            drops[reason] = drops.get(reason, 0) + count
        return drops

    @property
    def closed(self) -> list[CloseReason]:
        """The reasons of all closes."""
        return [reason for (reason,) in self.of("connection_closed", "reason")]


def _recorded(verb: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(verb)

    @functools.wraps(verb)
    def record(self: Recorder, *args: Any, **keywords: Any) -> Any:
        bound = signature.bind(self, *args, **keywords)
        bound.apply_defaults()
        _self, *given = bound.arguments
        # As they are now: who gives a list may use it again.
        arguments = {name: copy.deepcopy(bound.arguments[name]) for name in given}
        self.events.append(Event(verb.__name__, arguments))
        return verb(self, *args, **keywords)

    return record


for _name, _verb in inspect.getmembers(Lifecycle, inspect.isfunction):
    if not _name.startswith("_"):
        setattr(Recorder, _name, _recorded(_verb))
