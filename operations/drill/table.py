"""The outcomes of a drill as a table, for people and documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operations.drill.scenario import Outcome

_HEAD = ("alert", "cause", "fired after", "resolved after", "delivered to the webhook")


def render(outcomes: Sequence[Outcome]) -> str:
    """Return a table in Markdown, one row an alert, in the order of their names."""
    rows = [_row(outcome) for outcome in sorted(outcomes)]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    lines = [_HEAD, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    key = outcome.key
    name = f"`{key.name}`" + (f" ({key.window})" if key.window else "")
    delivered_states = [
        state
        for state, delivered in (
            ("firing", outcome.firing_delivered),
            ("resolved", outcome.resolution_delivered),
        )
        if delivered
    ]
    return (
        name,
        outcome.cause,
        _seconds(outcome.fired_after),
        outcome.note or _seconds(outcome.resolved_after),
        ", ".join(delivered_states) or "**nothing**",
    )


def _seconds(duration: float | None) -> str:
    return "**never**" if duration is None else f"{duration:.0f} s"
